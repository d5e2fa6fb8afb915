"""
A planned run over time: answers, requests in flight, and use of the limits, one above the other on one time axis.

The picture stands alone as an SVG file. What it shows was simulated; where the run merely goes on at the pace of what
was simulated, the ground is hatched.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import msgspec

from wingbeat.report.forecast import Course
from wingbeat.report.svg import (
    PAGE_COLOURS,
    WORDS,
    caption,
    coordinate,
    document,
    element,
    printable,
    round_step,
    segment,
    shortened,
    style_of,
    time_unit,
)
from wingbeat.report.words import count, duration

_WIDTH, _LEFT, _RIGHT = 960, 76, 128
_PANEL_HEIGHT, _PANEL_GAP = 120.0, 44.0

_COLOURS: tuple[tuple[str, str, str, str], ...] = (
    *PAGE_COLOURS,
    (".limit", "stroke", "#59636e", "#9198a1"),
    (".pale", "fill", "#f6f8fa", "#131a23"),
    (".hatch", "stroke", "#e3e8ee", "#202c3a"),
    (".area", "fill", "#1f6feb", "#4c9aff"),
    (".first", "stroke", "#1f6feb", "#4c9aff"),
    (".first-ink", "fill", "#0b57c4", "#79b8ff"),
    (".second", "stroke", "#bc4c00", "#f0883e"),
    (".second-ink", "fill", "#a04100", "#ffa657"),
)

_SHAPES = (
    WORDS + ".grid,.limit{fill:none;shape-rendering:crispEdges}.limit{stroke-dasharray:4 4}"
    ".first,.second{fill:none;stroke-width:2;stroke-linejoin:round}.second{stroke-dasharray:7 3}"
    ".area{fill-opacity:.16}.gap{fill:url(#wingbeat-gap)}"
)

_LOOKS = ("first", "second")


class _Line(msgspec.Struct, frozen=True):
    """One quantity over time: its name at the line's end, and its values."""

    name: str
    values: tuple[float, ...]


class _Panel(msgspec.Struct, frozen=True):
    """One diagram: what it shows, its lines, its scale's end, and how its numbers are said."""

    heading: str
    lines: tuple[_Line, ...]
    top: float
    said: Callable[[float], str]
    limit: float | None = None
    filled: bool = False


class _Plot(msgspec.Struct, frozen=True):
    """The time axis that all panels share, and where one panel lies."""

    course: Course
    y: float
    top: float

    def x(self, at_s: float) -> float:
        """Where a moment lies."""
        return _LEFT + at_s / (self.course.duration_s or 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def height(self, value: float) -> float:
        """Where a value lies."""
        return self.y + _PANEL_HEIGHT * (1 - value / self.top)


def course_svg(course: Course, *, title: str, subtitle: str = "") -> str:
    """
    Draw a planned run as a whole SVG document without scripts, fonts or links, for light and dark.

    Args:
        course: The run.
        title: The picture's heading; shortened to one line.
        subtitle: What was simulated and how; wrapped.
    """
    parts, y = _head(title, subtitle)
    first = y
    grounds: list[str] = []
    for panel in _panels(course):
        plot = _Plot(course, y + 30, panel.top)
        grounds += _ground(plot)
        parts += _diagram(panel, plot)
        y += 30 + _PANEL_HEIGHT + _PANEL_GAP - 30
    bottom = y - _PANEL_GAP + 30
    height = bottom + 34
    axis = _axis(_Plot(course, first + 30, 1.0), first + 30, bottom)
    hatching = element(
        "pattern",
        element("rect", class_="pale", width=6, height=6),
        element("path", class_="hatch", d="M0 0V6", stroke_width=3),
        id="wingbeat-gap",
        width=6,
        height=6,
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    return document(
        [hatching, element("rect", class_="paper", width=_WIDTH, height=height), *grounds, *axis, *parts],
        width=_WIDTH,
        height=height,
        title=title,
        description=_description(course),
        style=style_of(_SHAPES, _COLOURS),
        class_="wingbeat-course",
    )


def _panels(course: Course) -> list[_Panel]:
    answered, in_flight = max(course.answered, default=0), max(course.in_flight, default=0)
    found = [
        _Panel("rows answered", (_Line(count(answered), course.answered),), _round_up(answered), count),
        _Panel(
            "requests in flight", (_Line(f"up to {in_flight:,}", course.in_flight),), _round_up(in_flight), count,
            filled=True,
        ),
    ]  # fmt: skip
    if course.use:
        lines = tuple(_Line(name, values) for name, values in course.use.items())
        highest = max((value for line in lines for value in line.values), default=0.0)
        heading = "use of the limits, over the last minute"
        found.append(_Panel(heading, lines, max(1.1, highest * 1.05), lambda part: f"{part:.0%}", limit=1.0))
    return found


def _round_up(most: float) -> float:
    """Return the end of a scale that holds ``most`` with some room above."""
    step = round_step(max(1.0, most) / 4)
    return step * (int(most * 1.04 / step) + 1)


def _head(title: str, subtitle: str) -> tuple[list[str], float]:
    parts = [caption(_LEFT, 38, shortened(title, 70), "title ink")]
    y = 40.0
    for line in textwrap.wrap(printable(subtitle), 116):
        y += 20
        parts.append(caption(_LEFT, y, line, "subtitle soft"))
    return parts, y + 20


def _ground(plot: _Plot) -> list[str]:
    """Hatch the time that was not simulated."""
    gap = plot.course.gap
    if gap is None:
        return []
    x, to_x = plot.x(gap[0]), plot.x(gap[1])
    return [element("rect", class_="gap", x=x, y=plot.y, width=to_x - x, height=_PANEL_HEIGHT)]


def _diagram(panel: _Panel, plot: _Plot) -> list[str]:
    """Draw one panel, from back to front: the scale, the lines, their names."""
    parts = _scale(panel, plot)
    for look, line in zip(_LOOKS, panel.lines, strict=False):
        points = _thinned([(plot.x(at), plot.height(value)) for at, value in _points(plot.course, line)])
        if not points:
            continue
        path = "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
        if panel.filled:
            floor = coordinate(plot.height(0))
            closed = f"{path}V{floor}H{coordinate(points[0][0])}Z"
            parts.append(element("path", class_="area", d=closed))
        parts.append(element("path", class_=look, d=path))
    parts += _names(panel, plot)
    parts.append(caption(_LEFT, plot.y - 9, panel.heading, "heading halo ink"))
    return parts


def _points(course: Course, line: _Line) -> Sequence[tuple[float, float]]:
    return [(at, value) for at, value in zip(course.at_s, line.values, strict=True) if at <= course.duration_s]


def _scale(panel: _Panel, plot: _Plot) -> list[str]:
    if panel.limit is not None:
        values = [0.0, panel.limit / 2]
        y = plot.height(panel.limit)
        parts = [
            element("path", class_="limit", d=segment(_LEFT, y, _WIDTH - _RIGHT, y)),
            caption(_LEFT - 10, y + 4, panel.said(panel.limit), "small soft end"),
        ]
    else:
        step = max(1.0, round_step(panel.top / 4))
        values = [place * step for place in range(int(panel.top / step + 1e-9) + 1)]
        parts = []
    for value in values:
        y = plot.height(value)
        parts.append(element("path", class_="grid", d=segment(_LEFT, y, _WIDTH - _RIGHT, y)))
        parts.append(caption(_LEFT - 10, y + 4, panel.said(value), "small soft end"))
    return parts


def _names(panel: _Panel, plot: _Plot) -> list[str]:
    """Name the lines beside the panel: where the largest value lies, and below each other where there are several."""
    if len(panel.lines) == 1 and panel.limit is None:
        line = panel.lines[0]
        return [caption(_WIDTH - _RIGHT + 10, plot.height(max(line.values, default=0)) + 4, line.name, "ink")]
    return [
        caption(_WIDTH - _RIGHT + 10, plot.height(1.0) + 4 + 18 * place, line.name, f"{look}-ink")
        for place, (look, line) in enumerate(zip(_LOOKS, panel.lines, strict=False))
    ]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the highest and the lowest point of each pixel's width, and the very last: more would not show."""
    found: list[tuple[float, float]] = []
    column: list[tuple[float, float]] = []
    for point in points:
        if column and int(point[0]) != int(column[0][0]):
            found += _extremes(column)
            column = []
        column.append(point)
    found += _extremes(column)
    return found if not points or found[-1] == points[-1] else [*found, points[-1]]


def _extremes(column: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if not column:
        return []
    ends = {min(column, key=lambda point: point[1]), max(column, key=lambda point: point[1])}
    return [point for point in dict.fromkeys(column) if point in ends]


def _axis(plot: _Plot, top: float, bottom: float) -> list[str]:
    duration_s = plot.course.duration_s or 1.0
    size, unit = time_unit(duration_s)
    step = round_step(duration_s / size / 11)
    parts: list[str] = []
    for place in range(int(duration_s / size / step + 1e-9) + 1):
        x = plot.x(place * step * size)
        parts.append(element("path", class_="grid", d=segment(x, top, x, bottom)))
        parts.append(caption(x, bottom + 17, f"{place * step:,.10g} {unit}" if place else "0", "soft middle"))
    return parts


def _description(course: Course) -> str:
    """Say what a reader who can't see the picture should know."""
    answered, in_flight = max(course.answered, default=0), max(course.in_flight, default=0)
    took = duration(course.duration_s)
    said = f"A planned run, simulated: {answered:,} rows in {took}, at most {in_flight:,} in flight."
    used = ", ".join(f"{max(values, default=0.0):.0%} of {name}" for name, values in course.use.items())
    return f"{said} Highest use of the limits: {used}." if used else said
