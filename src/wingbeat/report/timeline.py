"""
Ways of sending the same requests, drawn as bars on one shared time axis: a picture that stands alone as an SVG file.

It draws the times it is given; whether they were measured or simulated is for the caller to say in the subtitle.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape

import msgspec

from wingbeat.report.svg import (
    PAGE_COLOURS,
    WORDS,
    caption,
    document,
    element,
    printable,
    round_step,
    segment,
    shortened,
    style_of,
    time_unit,
)

End: TypeAlias = Literal["answered", "refused", "failed"]


class Span(msgspec.Struct, frozen=True):
    """
    One attempt of one request, in seconds from its mode's start.

    Args:
        waited_from: When it began to wait for its turn.
        sent_at: When it went out; waiting ends and flight begins.
        ended_at: When its answer, refusal or failure was known.
        end: How it ended; ``refused`` is a 429 reply.
    """

    waited_from: float
    sent_at: float
    ended_at: float
    end: End


class Track(msgspec.Struct, frozen=True):
    """
    One request: its attempts in order.

    Args:
        index: Its position in the input, from 0; the picture counts from 1.
        spans: Its attempts; empty for a request that was never sent.
    """

    index: int
    spans: tuple[Span, ...]


class Mode(msgspec.Struct, frozen=True):
    """
    One way of sending the requests, and what became of each.

    Args:
        name: Its heading, such as ``one at a time``.
        wall_s: From its start until its last request was done with.
        tracks: Its requests, drawn from top to bottom.
        note: A remark beside the heading, such as ``10 of 20 lost to 429``.
    """

    name: str
    wall_s: float
    tracks: tuple[Track, ...]
    note: str = ""


MOST_TRACKS = 300
"""Most requests drawn of one mode; more rows than this are thinner than a pixel on most screens."""

_MOST_SPANS = 600
"""Most attempts drawn of one mode that is sampled anyway; at some 200 bytes each, three modes stay under 400 kB."""

_WIDTH, _LEFT, _RIGHT = 960, 56, 80
_PANEL_HEIGHT = 260
_THICKEST_ROW, _THINNEST_ROW = 22.0, 1.5
_MARK_GRID = 12
"""Side in pixels of the squares that hold one ✕ at most, so that the marks of neighbouring thin rows stay legible."""

_COLOURS: tuple[tuple[str, str, str, str], ...] = (
    *PAGE_COLOURS,
    (".clear", "stroke", "#ffffff", "#0d1117"),
    (".wall", "stroke", "#1f2328", "#e6edf3"),
    (".pale", "fill", "#edf1f6", "#182230"),
    (".hatch", "stroke", "#c0cbd9", "#3f546d"),
    (".answered", "fill", "#1f6feb", "#4c9aff"),
    (".refused", "fill", "#d1242f", "#ff6a69"),
    (".cross", "stroke", "#d1242f", "#ff6a69"),
    (".dark", "fill", "#3d444d", "#d1d7e0"),
    (".stripe", "stroke", "#9aa3ad", "#6e7681"),
)
"""Class, property, and its colour on light and on dark; plain colours, since not every viewer knows CSS variables."""

_SHAPES = (
    WORDS + ".note{font-weight:400;font-size:13px}"
    ".grid,.wall{fill:none;shape-rendering:crispEdges}"
    ".clear,.cross{fill:none;stroke-linecap:round}.clear{stroke-width:4.6}.cross{stroke-width:1.8}"
    ".waiting{fill:url(#wingbeat-waiting)}.failed{fill:url(#wingbeat-failed)}"
)

_LEGEND: tuple[tuple[str, str], ...] = (
    ("waiting", "waiting"),
    ("answered", "in flight, then answered"),
    ("refused", "refused (429)"),
    ("failed", "failed"),
)


class _Plot(msgspec.Struct, frozen=True):
    """The scale that all modes share: seconds to the right, one row a request downwards."""

    horizon_s: float
    row: float

    @property
    def bar(self) -> float:
        """Height of a bar; thin rows touch, since gaps of less than a pixel would only blur them."""
        return self.row * 0.7 if self.row >= 4 else self.row

    def x(self, at_s: float) -> float:
        """Where a moment lies."""
        return _LEFT + at_s / self.horizon_s * (_WIDTH - _LEFT - _RIGHT)

    def landing(self, span: Span) -> float:
        """Where a flight's bar ends; a reply of milliseconds on an axis of minutes is widened until it shows."""
        return max(self.x(span.ended_at), self.x(span.sent_at) + 1.5)


def timeline_svg(modes: Sequence[Mode], *, title: str, subtitle: str = "") -> str:
    """
    Draw every mode's requests as bars on one time axis, one mode under the other.

    The text is a whole SVG document without scripts, fonts or links; it follows the reader's light or dark scheme. The
    same modes give the same bytes. Of more than `MOST_TRACKS` requests it draws a sample, evenly spread, and says so.

    Args:
        modes: What to compare, from top to bottom.
        title: The picture's heading; shortened to one line.
        subtitle: What was run, and whether the times were measured or simulated; wrapped.
    """
    drawn = [_sample(mode.tracks) for mode in modes]
    plot = _plot(modes, max((len(tracks) for tracks in drawn), default=0))
    parts, y = _head(title, subtitle)
    parts += _legend(drawn, y)
    top = y + 16.0
    panels: list[str] = []
    y = top
    for mode, tracks in zip(modes, drawn, strict=True):
        panels += _panel(mode, tracks, plot, y + 34)
        y += 46 + plot.row * len(tracks)
    height = y + 32
    patterns = [_pattern("wingbeat-waiting", "pale", "hatch", 45), _pattern("wingbeat-failed", "dark", "stripe", -45)]
    paper = element("rect", class_="paper", width=_WIDTH, height=height)
    return document(
        [*patterns, paper, *parts, *_axis(plot, top + 14, y), *panels],
        width=_WIDTH,
        height=height,
        title=title,
        description=_description(modes),
        style=style_of(_SHAPES, _COLOURS),
    )


def duration_text(seconds: float) -> str:
    """Say a duration to about a tenth of its unit, so that modes compare: ``850 ms``, ``12.3 s``, ``4.5 min``."""
    if not seconds:
        return "0 s"
    size, unit = time_unit(seconds)
    amount = seconds / size
    return f"{amount:,.0f} {unit}" if unit == "ms" or amount >= 100 else f"{amount:,.1f} {unit}"


def _sample(tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """Take requests evenly spread from the first to the last, so few that the file stays small."""
    if len(tracks) <= MOST_TRACKS:
        return tracks
    attempts_each = max(1.0, sum(len(track.spans) for track in tracks) / len(tracks))
    count = max(2, min(MOST_TRACKS, int(_MOST_SPANS / attempts_each)))
    return tuple(tracks[place * (len(tracks) - 1) // (count - 1)] for place in range(count))


def _plot(modes: Sequence[Mode], rows: int) -> _Plot:
    latest = max((span.ended_at for mode in modes for track in mode.tracks for span in track.spans), default=0.0)
    horizon_s = max([latest, *(mode.wall_s for mode in modes)])
    return _Plot(horizon_s or 1.0, min(_THICKEST_ROW, max(_THINNEST_ROW, _PANEL_HEIGHT / max(1, rows))))


def _head(title: str, subtitle: str) -> tuple[list[str], float]:
    """Draw title and subtitle; also return where the legend goes."""
    parts = [caption(_LEFT, 38, shortened(title, 62), "title ink")]
    y = 40.0
    for line in textwrap.wrap(printable(subtitle), 116):
        y += 20
        parts.append(caption(_LEFT, y, line, "subtitle soft"))
    return parts, y + 28


def _legend(drawn: Sequence[Sequence[Track]], y: float) -> list[str]:
    """Explain the kinds of bar that occur in this picture, and no others."""
    spans = [span for tracks in drawn for track in tracks for span in track.spans]
    present = {span.end for span in spans} | {"waiting" for span in spans if span.sent_at > span.waited_from}
    parts: list[str] = []
    x = float(_LEFT)
    for kind, label in _LEGEND:
        if kind in present:
            parts.append(element("rect", class_=kind, x=x, y=y - 10, width=22, height=11, rx=2))
            parts.append(_cross(x + 11, y - 4.5) if kind == "refused" else "")
            parts.append(caption(x + 29, y, label, "soft"))
            x += 29 + 6.1 * len(label) + 22
    parts.append(element("path", class_="wall", d=segment(x + 4, y - 12, x + 4, y + 3)))
    parts.append(caption(x + 12, y, "wall time", "soft"))
    return parts


def _panel(mode: Mode, tracks: Sequence[Track], plot: _Plot, y: float) -> list[str]:
    """Draw one mode below its heading; ``y`` is the top of its first row."""
    parts = [_heading(mode, len(tracks), y - 10)]
    height = plot.row * len(tracks)
    parts += _row_numbers(tracks, plot, y)
    parts += _attempts(tracks, plot, y)
    x = plot.x(mode.wall_s)
    parts.append(element("path", class_="wall", d=segment(x, y - 3, x, y + height + 3)))
    parts.append(caption(x + 7, y + height / 2 + 4, duration_text(mode.wall_s), "halo ink"))
    return parts


def _heading(mode: Mode, drawn: int, y: float) -> str:
    sampled = f"{drawn:,} of {len(mode.tracks):,} requests drawn" if drawn < len(mode.tracks) else ""
    note = " · ".join(remark for remark in (shortened(mode.note, 60), sampled) if remark)
    beside = element("tspan", escape(note), class_="note soft", dx=10) if note else ""
    return element("text", escape(shortened(mode.name, 40)), beside, class_="heading halo ink", x=_LEFT, y=y)


def _row_numbers(tracks: Sequence[Track], plot: _Plot, y: float) -> list[str]:
    """Number every row where there is room, else every second, fifth, tenth …; of a sample the first and last."""
    every = 1 if plot.row >= 12 else round_step(24 / plot.row)
    shown = [place for place, track in enumerate(tracks) if (track.index + 1) % every == 0]
    if tracks and tracks[-1].index - tracks[0].index >= len(tracks):
        shown = [0, len(tracks) - 1]
    return [
        caption(_LEFT - 12, y + (place + 0.5) * plot.row + 4, f"{tracks[place].index + 1}", "small soft end")
        for place in shown
    ]


def _attempts(tracks: Sequence[Track], plot: _Plot, y: float) -> list[str]:
    """Draw every attempt; the refused ones last, so that no bar of a neighbouring thin row hides a ✕."""
    bars: list[str] = []
    refusals: list[str] = []
    marked: set[tuple[int, int]] = set()
    for place, track in enumerate(tracks):
        top = y + place * plot.row + (plot.row - plot.bar) / 2
        for number, span in enumerate(track.spans, 1):
            drawn = _flight(span, plot, top)
            if span.end == "refused":
                drawn += _mark(span, plot, top, marked)
            tooltip = element("title", escape(_tooltip(track, number)))
            (refusals if span.end == "refused" else bars).append(element("g", tooltip, *drawn))
    return bars + refusals


def _flight(span: Span, plot: _Plot, top: float) -> list[str]:
    """Draw one attempt's waiting, if there was any, and its flight."""
    begin, sent = plot.x(span.waited_from), plot.x(span.sent_at)
    waiting = [_bar("waiting", begin, sent, top, plot)] if sent - begin >= 0.05 else []
    return [*waiting, _bar(span.end, sent, plot.landing(span), top, plot)]


def _mark(span: Span, plot: _Plot, top: float, marked: set[tuple[int, int]]) -> list[str]:
    """Draw a refusal's ✕ unless its square, kept in ``marked``, holds one already."""
    x, y = (plot.x(span.sent_at) + plot.landing(span)) / 2, top + plot.bar / 2
    square = (int(x // _MARK_GRID), int(y // _MARK_GRID))
    if square in marked:
        return []
    marked.add(square)
    return [_cross(x, y)]


def _tooltip(track: Track, number: int) -> str:
    span = track.spans[number - 1]
    waited, flight = duration_text(span.sent_at - span.waited_from), duration_text(span.ended_at - span.sent_at)
    return f"request {track.index + 1}: waited {waited}, {span.end} after {flight}, attempt {number}"


def _bar(kind: str, begin: float, end: float, top: float, plot: _Plot) -> str:
    return element("rect", class_=kind, x=begin, y=top, width=end - begin, height=plot.bar)


def _axis(plot: _Plot, top: float, bottom: float) -> list[str]:
    size, unit = time_unit(plot.horizon_s)
    step = round_step(plot.horizon_s / size / 11)
    parts: list[str] = []
    for count in range(int(plot.horizon_s / size / step + 1e-9) + 1):
        x = plot.x(count * step * size)
        parts.append(element("path", class_="grid", d=segment(x, top, x, bottom)))
        parts.append(caption(x, bottom + 17, f"{count * step:,.10g} {unit}" if count else "0", "soft middle"))
    return parts


def _description(modes: Sequence[Mode]) -> str:
    said = (f"{mode.name}: {len(mode.tracks):,} requests in {duration_text(mode.wall_s)}" for mode in modes)
    noted = (f"{text} ({mode.note})" if mode.note else text for text, mode in zip(said, modes, strict=True))
    return "Each request is a bar on one time axis. " + "; ".join(noted) + "."


def _pattern(identifier: str, ground: str, stroke: str, turned: int) -> str:
    return element(
        "pattern",
        element("rect", class_=ground, width=5, height=5),
        element("path", class_=stroke, d="M0 0V5", stroke_width=3),
        id=identifier,
        width=5,
        height=5,
        patternUnits="userSpaceOnUse",
        patternTransform=f"rotate({turned})",
    )


def _cross(x: float, y: float) -> str:
    """Draw a red ✕ with a clear rim, so that it shows on a red bar too and without colour."""
    reach = 3.5
    strokes = segment(x - reach, y - reach, x + reach, y + reach) + segment(x - reach, y + reach, x + reach, y - reach)
    return element("path", class_="clear", d=strokes) + element("path", class_="cross", d=strokes)
