"""
A probe over time: what was sent and what was refused, how much one minute held, and how long answers took.

The picture stands alone as an SVG file, for light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from wingbeat.model.limit import MINUTE_S, REQUESTS
from wingbeat.report.learning import enforcement_text, limit_text
from wingbeat.report.probe import ProbeFound, pace_text
from wingbeat.report.svg import (
    PAGE_COLOURS,
    WORDS,
    caption,
    coordinate,
    document,
    element,
    round_step,
    segment,
    shortened,
    style_of,
    time_unit,
)
from wingbeat.report.words import count, duration

_WIDTH, _LEFT, _RIGHT = 960, 76, 40
_HEIGHT, _GAP = 130.0, 62.0
_BARS = 110
_MOST_DOTS = 700

_COLOURS: tuple[tuple[str, str, str, str], ...] = (
    *PAGE_COLOURS,
    (".passed", "fill", "#1f6feb", "#4c9aff"),
    (".refused", "fill", "#d1242f", "#ff6a69"),
    (".lost", "fill", "#3d444d", "#d1d7e0"),
    (".pace", "stroke", "#1f2328", "#e6edf3"),
    (".sum", "stroke", "#1f6feb", "#4c9aff"),
    (".area", "fill", "#1f6feb", "#4c9aff"),
    (".limit", "stroke", "#bc4c00", "#f0883e"),
    (".limit-ink", "fill", "#a04100", "#ffa657"),
    (".first", "stroke", "#d1242f", "#ff6a69"),
    (".first-ink", "fill", "#b31d28", "#ff8a88"),
)

_SHAPES = (
    WORDS + ".grid{fill:none;shape-rendering:crispEdges}"
    ".pace,.sum,.limit,.first{fill:none;stroke-linejoin:round}.pace{stroke-width:1.6}.sum{stroke-width:2}"
    ".limit{stroke-width:1.6;stroke-dasharray:6 4}.first{stroke-width:1.4;stroke-dasharray:2 3}"
    ".area{fill-opacity:.16}.dot{fill-opacity:.55}"
)


class Sent(msgspec.Struct, frozen=True):
    """
    One request.

    Args:
        at_s: When it was sent, in seconds from the first.
        latency_s: Seconds to its answer, or None.
        end: How it ended, or None for one that was given up.
    """

    at_s: float
    latency_s: float | None
    end: Literal["passed", "refused", "failed"] | None


class _Plot(msgspec.Struct, frozen=True):
    """The time axis that all panels share, and where one panel lies."""

    horizon_s: float
    y: float
    top: float

    def x(self, at_s: float) -> float:
        """Where a moment lies."""
        return _LEFT + min(at_s, self.horizon_s) / self.horizon_s * (_WIDTH - _LEFT - _RIGHT)

    def height(self, value: float) -> float:
        """Where a value lies."""
        return self.y + _HEIGHT * (1 - value / self.top)


def ramp_svg(found: ProbeFound, sent: Sequence[Sent]) -> str:
    """
    Draw a probe as a whole SVG document without scripts, fonts or links; the same probe gives the same bytes.

    Args:
        found: What it has found.
        sent: Its requests, in the order in which they were sent.
    """
    horizon_s = max([1.0, found.elapsed_s, *(each.at_s for each in sent)])
    y = 66.0 + 44
    bars = _bars(found, sent, horizon_s, y)
    y += _HEIGHT + _GAP
    minute = _minute(found, sent, horizon_s, y)
    last = _latencies(sent, horizon_s, y + _HEIGHT + _GAP)
    y += (_HEIGHT + _GAP if last else 0.0) + _HEIGHT
    title = f"Probe of {found.route}"
    parts = [
        element("rect", class_="paper", width=_WIDTH, height=y + 34),
        *_axis(horizon_s, 110.0, y),
        *bars,
        *minute,
        *last,
        *_first_refusal(found, horizon_s, 2 * _HEIGHT + _GAP),
        caption(_LEFT, 38, shortened(title, 70), "title ink"),
        caption(_LEFT, 60, _subtitle(found), "subtitle soft"),
    ]
    return document(
        parts,
        width=_WIDTH,
        height=y + 34,
        title=title,
        description=_subtitle(found),
        style=style_of(_SHAPES, _COLOURS),
        class_="wingbeat-ramp",
    )


def _subtitle(found: ProbeFound) -> str:
    simulated = "simulated answers, " if found.route.startswith("sim/") else ""
    text = f"{simulated}{found.requests:,} requests in {duration(found.elapsed_s)}, {found.refused:,} refused"
    if found.limit is not None:
        how = enforcement_text(found.limit.limit.enforcement)
        return f"{text}; limit {limit_text(found.limit.limit)}{f' ({how})' if how else ''}"
    if found.refusal is None:
        return f"{text}; up to {found.busiest_minute:,} let through in one minute"
    return text


def _bars(found: ProbeFound, sent: Sequence[Sent], horizon_s: float, y: float) -> list[str]:
    """Draw how many were sent in each short span, the refused ones on top, and the pace of the steps as a line."""
    bar_s = max(0.5, round_step(horizon_s / _BARS))
    counts: dict[int, dict[str, int]] = {}
    for each in sent:
        column = counts.setdefault(int(each.at_s / bar_s), {})
        kind = {"passed": "passed", "refused": "refused"}.get(each.end or "", "lost")
        column[kind] = column.get(kind, 0) + 1
    most = max((sum(column.values()) for column in counts.values()), default=1)
    plot = _Plot(horizon_s, y, _round_up(most))
    parts = _scale(plot)
    for place, column in sorted(counts.items()):
        below = 0
        x, to_x = plot.x(place * bar_s), plot.x((place + 1) * bar_s)
        for kind in ("passed", "lost", "refused"):
            number = column.get(kind, 0)
            if number:
                top = plot.height(below + number)
                width = max(1.0, to_x - x - 0.8)
                parts.append(element("rect", class_=kind, x=x, y=top, width=width, height=plot.height(below) - top))
                below += number
    parts += _paces(found, plot, bar_s)
    kinds = {kind for column in counts.values() for kind in column}
    legend = [("passed", "let through"), ("refused", "refused"), ("lost", "failed")]
    chips = [(look, name) for look, name in legend if look in kinds]
    chips += [("pace", "pace of the steps")] if found.ramp else []
    span = "second" if bar_s == 1 else f"{bar_s:g} s"
    return [*parts, *_heading(f"sent in each {span}", y, chips)]


def _paces(found: ProbeFound, plot: _Plot, bar_s: float) -> list[str]:
    """Draw the pace of each step up to the next."""
    steps = found.ramp
    if not steps:
        return []
    ends = [step.start_s for step in steps[1:]]
    ends.append(found.refusal.at_s if found.refusal is not None else _last_end(found))
    path = ""
    for step, end_s in zip(steps, ends, strict=True):
        assert step.per_minute is not None
        level = plot.height(min(plot.top, step.per_minute / MINUTE_S * bar_s))
        path += f"{'L' if path else 'M'}{coordinate(plot.x(step.start_s))} {coordinate(level)}"
        path += f"H{coordinate(plot.x(max(end_s, step.start_s)))}"
    return [element("path", class_="pace", d=path)]


def _last_end(found: ProbeFound) -> float:
    last = found.ramp[-1]
    assert last.per_minute is not None
    return min(found.elapsed_s, last.start_s + last.sent * MINUTE_S / last.per_minute)


def _minute(found: ProbeFound, sent: Sequence[Sent], horizon_s: float, y: float) -> list[str]:
    """Draw how many were let through in the minute before each moment, and the limit that this came up against."""
    points = _sums([each.at_s for each in sent if each.end == "passed"], horizon_s)
    limit = None if found.limit is None else found.limit.limit
    per_minute = limit.limit * MINUTE_S / limit.window_s if limit is not None and limit.resource == REQUESTS else None
    highest = max([1.0, per_minute or 0.0, *(value for _at, value in points)])
    plot = _Plot(horizon_s, y, _round_up(highest))
    parts = _scale(plot)
    line = "".join(
        f"{'L' if place else 'M'}{coordinate(plot.x(at))} {coordinate(plot.height(value))}"
        for place, (at, value) in enumerate(points)
    )
    if line:
        floor = coordinate(plot.height(0))
        parts.append(element("path", class_="area", d=f"{line}V{floor}H{coordinate(plot.x(points[0][0]))}Z"))
        parts.append(element("path", class_="sum", d=line))
    if per_minute is not None and limit is not None:
        level = plot.height(per_minute)
        parts.append(element("path", class_="limit", d=segment(_LEFT, level, _WIDTH - _RIGHT, level)))
        parts.append(caption(_LEFT + 8, level - 6, f"limit: {limit_text(limit)}", "limit-ink halo"))
    return [*parts, *_heading("let through in the last minute", y, [])]


def _sums(passed: Sequence[float], horizon_s: float) -> list[tuple[float, float]]:
    """Return how many lie in the minute before each of some four hundred moments."""
    step_s = horizon_s / 400
    found = []
    first = last = 0
    for place in range(401):
        at = place * step_s
        while last < len(passed) and passed[last] <= at:
            last += 1
        while first < last and passed[first] <= at - MINUTE_S:
            first += 1
        found.append((at, float(last - first)))
    return found


def _latencies(sent: Sequence[Sent], horizon_s: float, y: float) -> list[str]:
    """Draw a dot an answer, at the moment at which its request was sent."""
    answered = [(each.at_s, each.latency_s) for each in sent if each.latency_s is not None]
    if not answered:
        return []
    answered = answered[:: len(answered) // _MOST_DOTS + 1]
    highest = max(latency_s for _at, latency_s in answered)
    size, unit = time_unit(highest)
    plot = _Plot(horizon_s, y, _round_up(highest / size, whole=False))
    parts = _scale(plot, unit=f" {unit}")
    for at, latency_s in answered:
        parts.append(element("circle", class_="passed dot", cx=plot.x(at), cy=plot.height(latency_s / size), r=2.2))
    return [*parts, *_heading("time to each answer", y, [])]


def _first_refusal(found: ProbeFound, horizon_s: float, height: float) -> list[str]:
    """Mark the first refusal, and say what it met; on the side where there is room."""
    refusal = found.refusal
    if refusal is None:
        return []
    y = 110.0
    x = _Plot(horizon_s, y, 1.0).x(refusal.at_s)
    words = f"first refusal: {_circumstances(found)}"
    look = "first-ink halo end" if x > _WIDTH / 2 else "first-ink halo"
    return [
        element("path", class_="first", d=segment(x, y - 8, x, y + height)),
        caption(x - 6 if x > _WIDTH / 2 else x + 6, y + 6, words, look),
    ]


def _circumstances(found: ProbeFound) -> str:
    refusal, first = found.refusal, found.steps[0]
    if refusal is None or refusal.per_minute is None:
        return f"{first.refused:,} of {first.sent:,} sent at once"
    return f"{pace_text(refusal.per_minute)}, {refusal.in_flight:,} in flight"


def _heading(text: str, y: float, chips: Sequence[tuple[str, str]]) -> list[str]:
    parts = [caption(_LEFT, y - 18, text, "heading ink halo")]
    x = _LEFT + 8.2 * len(text) + 14.0
    for look, name in chips:
        if look == "pace":
            parts.append(element("path", class_=look, d=segment(x - 2, y - 22, x + 13, y - 22)))
        else:
            parts.append(element("rect", class_=look, x=x, y=y - 27, width=12, height=10, rx=2))
        parts.append(caption(x + 17, y - 18, name, "soft"))
        x += 17 + 6.4 * len(name) + 18
    return parts


def _scale(plot: _Plot, unit: str = "") -> list[str]:
    step = round_step(plot.top / 4)
    parts = []
    for place in range(int(plot.top / step + 1e-9) + 1):
        level = plot.height(place * step)
        parts.append(element("path", class_="grid", d=segment(_LEFT, level, _WIDTH - _RIGHT, level)))
        said = f"{place * step:,.4g}{unit}" if unit else count(place * step)
        parts.append(caption(_LEFT - 10, level + 4, said if place else "0", "small soft end"))
    return parts


def _axis(horizon_s: float, top: float, bottom: float) -> list[str]:
    size, unit = time_unit(horizon_s)
    step = round_step(horizon_s / size / 11)
    plot = _Plot(horizon_s, top, 1.0)
    parts: list[str] = []
    for place in range(int(horizon_s / size / step + 1e-9) + 1):
        x = plot.x(place * step * size)
        parts.append(element("path", class_="grid", d=segment(x, top, x, bottom)))
        parts.append(caption(x, bottom + 17, f"{place * step:,.10g} {unit}" if place else "0", "soft middle"))
    return parts


def _round_up(most: float, *, whole: bool = True) -> float:
    """Return the end of a scale that holds ``most`` with some room above."""
    step = round_step(max(1.0, most) / 4 if whole else most / 4)
    return step * (int(most * 1.04 / step) + 1)
