"""
Pictures of a run: what a server accepted beside its true limit, so that a person sees a client learn.

SVG text without scripts, fonts or links, light or dark as the reader's system is. It draws the figures it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import msgspec
from benchmarks.quota.measuring import Trace

SPANS_S = (10, 30, 60)
"""A point of the curve is the rate of so many seconds: the first span in which the limit lets ten units through."""

UNITS_IN_SPAN = 10

AVERAGE_S = 60

HEADROOM = 1.15
MOST_ABOVE_LIMIT = 1.6
"""The axis ends a little above the highest minute and most spans, but no higher than this many limits: a burst at the
start would press the rest flat. What is higher is cut off and marked with its value."""

REFUSED_PART = 0.05
"""A full bar of refusals is at least so much of what the limit lets through, so that single ones look single."""

_WIDTH = 1120
_MARGIN = 24.0
_SHEET_COLUMNS = 3

_COLOURS: tuple[tuple[str, str, str, str], ...] = (
    (".paper", "fill", "#ffffff", "#0d1117"),
    (".ink", "fill", "#1f2328", "#e6edf3"),
    (".soft", "fill", "#59636e", "#9198a1"),
    (".grid", "stroke", "#e7eaee", "#21262d"),
    (".base", "stroke", "#9aa3ad", "#6e7681"),
    (".each", "fill", "#b6d2fb", "#1c3c69"),
    (".average", "stroke", "#1f6feb", "#4c9aff"),
    (".limit", "stroke", "#1f2328", "#e6edf3"),
    (".refused", "fill", "#d1242f", "#ff6a69"),
    (".lane", "fill", "#f6f8fa", "#161b22"),
)
"""Class, property, and its colour on light and on dark: those of the report's pictures."""

_SHAPES = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;font-size:12px}"
    ".title{font-size:20px;font-weight:600}.heading{font-size:12px;font-weight:600}.small{font-size:11px}"
    ".caption{font-size:13px}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid,.base{fill:none;shape-rendering:crispEdges}"
    ".average{fill:none;stroke-width:2;stroke-linejoin:round}"
    ".limit{fill:none;stroke-width:1.5;stroke-dasharray:6 4}"
)


class Drawn(msgspec.Struct, frozen=True):
    """
    One run to draw.

    Args:
        name: The scenario.
        trace: The run second by second.
        used: Part of the limit that was used in the measured minutes.
        refused: Part of all requests that was refused.
        refusals: The number of these.
        seed: The run's seed.
        note: What else to say in the caption, such as what the client knew.
        unit: What is counted.
        client: Whose run it is, where it isn't ours.
    """

    name: str
    trace: Trace
    used: float
    refused: float
    refusals: int
    seed: int
    note: str = ""
    unit: Literal["requests", "tokens"] = "requests"
    client: str = ""

    @property
    def title(self) -> str:
        """What to write above it."""
        return f"{self.name}, {self.client}" if self.client else self.name


class Spans(msgspec.Struct, frozen=True):
    """A trace in spans: rates a minute, limits and refusals of each; and averages of a minute, with their ends."""

    length_s: int
    rates: tuple[float, ...]
    averages: tuple[tuple[int, float], ...]
    limits: tuple[float, ...]
    refused: tuple[float, ...]

    @property
    def highest(self) -> float:
        """Where the axis ends."""
        limit = max(self.limits, default=0.0)
        usual = sorted(self.rates)[len(self.rates) * 19 // 20] if self.rates else 0.0
        most = max([usual, *(rate for _, rate in self.averages)])
        return max(1.0, limit * HEADROOM, min(most * HEADROOM, limit * MOST_ABOVE_LIMIT))

    @property
    def refused_scale(self) -> float:
        """Refusals of a full bar."""
        limit = max(self.limits, default=0.0)
        return max(1.0, *self.refused, REFUSED_PART * limit * self.length_s / 60.0)


def spans_of(trace: Trace) -> Spans:
    """Add a trace up, in spans long enough that single requests do not show as noise."""
    seconds = len(trace.accepted)
    mean_limit = sum(trace.limit) / max(1, seconds)
    length_s = next((span for span in SPANS_S if mean_limit * span / 60.0 >= UNITS_IN_SPAN), SPANS_S[-1])
    begins = range(0, seconds, length_s)

    def rate(values: Sequence[float], begin: int, end: int) -> float:
        return sum(values[begin:end]) * 60.0 / max(1, min(end, seconds) - begin)

    ends = [min(begin + length_s, seconds) for begin in begins if begin + length_s >= AVERAGE_S]
    return Spans(
        length_s,
        rates=tuple(rate(trace.accepted, begin, begin + length_s) for begin in begins),
        averages=tuple((end, rate(trace.accepted, max(0, end - AVERAGE_S), end)) for end in ends),
        limits=tuple(trace.limit[begin] for begin in begins),
        refused=tuple(sum(trace.refused[begin : begin + length_s]) for begin in begins),
    )


class _Frame(msgspec.Struct, frozen=True):
    """Where a panel lies: the curve's rectangle, and below it the refusals' lane."""

    left: float
    top: float
    width: float
    height: float
    gap: float
    lane: float
    seconds: int
    highest: float

    def x(self, at_s: float) -> float:
        return self.left + at_s / max(1, self.seconds) * self.width

    def y(self, rate: float) -> float:
        return self.top + self.height * (1.0 - min(rate, self.highest) / self.highest)

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def floor(self) -> float:
        """Where the refusals' lane ends."""
        return self.bottom + self.gap + self.lane


def run_svg(run: Drawn) -> str:
    """Draw one run as a whole SVG document; the same run gives the same bytes."""
    spans = spans_of(run.trace)
    frame = _Frame(96.0, 124.0, _WIDTH - 96.0 - 104.0, 300.0, 22.0, 56.0, len(run.trace.accepted), spans.highest)
    parts = [
        _text(_MARGIN, 38, run.title, "title ink"),
        _text(_MARGIN, 61, caption(run), "caption soft"),
        *_legend(_MARGIN, 90, f"each {spans.length_s} s"),
        *_panel(spans, frame, ticks=5),
        _text(frame.left - 8, frame.top - 2, f"{run.unit}/min", "small soft end"),
        _text(frame.left + frame.width, frame.floor + 34, "minutes", "small soft end"),
        *_refusals_scale(run, spans, frame),
    ]
    return _document(parts, frame.floor + 50, run.title, caption(run))


def sheet_svg(runs: Sequence[Drawn], *, title: str) -> str:
    """Draw all runs on one page, three in a row, each on its own scale."""
    gutter, cell_height, top = 24.0, 220.0, 108.0
    cell = (_WIDTH - 2 * _MARGIN - (_SHEET_COLUMNS - 1) * gutter) / _SHEET_COLUMNS
    seeds = " ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    subtitle = (
        f"{len(runs)} simulated {_plural(len(runs), 'run')}, seed {seeds}; each panel has its own scales: "
        "minutes to the right, requests or tokens a minute upwards"
    )
    parts = [
        _text(_MARGIN, 38, title, "title ink"),
        _text(_MARGIN, 61, subtitle, "caption soft"),
        *_legend(_MARGIN, 86, f"each {SPANS_S[0]} to {SPANS_S[-1]} s"),
    ]
    for place, run in enumerate(runs):
        row, column = divmod(place, _SHEET_COLUMNS)
        parts += _cell(run, _MARGIN + column * (cell + gutter), top + row * cell_height, cell)
    rows = -(-len(runs) // _SHEET_COLUMNS)
    return _document(parts, top + rows * cell_height + 4, title, subtitle)


def caption(run: Drawn) -> str:
    """Say what the picture can't: the figures of the run, and that it was simulated."""
    said = [
        f"{_percent(run.used)} of the limit used",
        f"{_percent(run.refused)} refused ({run.refusals:,} {_plural(run.refusals, 'request')})",
        *([run.note] if run.note else []),
        f"seed {run.seed}",
        "simulated",
    ]
    return " · ".join(said)


def _cell(run: Drawn, left: float, top: float, width: float) -> list[str]:
    spans = spans_of(run.trace)
    frame = _Frame(left + 42, top + 53, width - 42, 108.0, 6.0, 18.0, len(run.trace.accepted), spans.highest)
    said = f"used {_percent(run.used)} · refused {_percent(run.refused)}"
    said = f"{run.client} · {said}" if run.client else said
    return [
        _text(left, top + 14, _shortened(run.name, 48), "heading ink"),
        _text(left, top + 31, said, "small soft"),
        *_panel(spans, frame, ticks=2),
    ]


def _panel(spans: Spans, frame: _Frame, *, ticks: int) -> list[str]:
    return [
        *_rates_axis(frame, ticks),
        *_minutes_axis(frame),
        _each_span(spans, frame),
        _path("average", _curve(spans, frame)),
        _path("limit", _steps(spans.limits, spans.length_s, frame, frame.y)),
        *_beyond(spans, frame),
        *_refusals(spans, frame),
    ]


def _rates_axis(frame: _Frame, ticks: int) -> list[str]:
    step = _round_step(frame.highest / ticks)
    parts: list[str] = []
    for count in range(int(frame.highest / step + 1e-9) + 1):
        y = frame.y(count * step)
        parts.append(_path("grid" if count else "base", f"M{_n(frame.left)} {_n(y)}h{_n(frame.width)}"))
        parts.append(_text(frame.left - 8, y + 4, _amount(count * step), "small soft end"))
    return parts


def _minutes_axis(frame: _Frame) -> list[str]:
    step = _round_step(frame.seconds / 60.0 / max(4.8, frame.width / 90.0))
    lane = frame.floor - frame.lane
    parts = [_element("rect", class_="lane", x=frame.left, y=lane, width=frame.width, height=frame.lane)]
    for count in range(int(frame.seconds / 60.0 / step + 1e-9) + 1):
        x = frame.x(count * step * 60.0)
        down = f"M{_n(x)} {_n(frame.top)}V{_n(frame.bottom)}M{_n(x)} {_n(lane)}V{_n(frame.floor)}"
        parts.append(_path("grid", down))
        parts.append(_text(x, frame.floor + 15, f"{count * step:,.10g}", "small soft middle"))
    return parts


def _each_span(spans: Spans, frame: _Frame) -> str:
    """Fill below the rate of each span."""
    closed = f"V{_n(frame.bottom)}H{_n(frame.left)}Z"
    return _path("each", _steps(spans.rates, spans.length_s, frame, frame.y) + closed)


def _steps(values: Iterable[float], length_s: int, frame: _Frame, y: Callable[[float], float]) -> str:
    """Draw values as steps; a step that doesn't change needs no point of its own."""
    drawn: list[str] = []
    last = ""
    for place, value in enumerate(values):
        height = _n(y(value))
        if height != last:
            x = _n(frame.x(place * length_s))
            drawn.append(f"M{x} {height}" if not drawn else f"H{x}V{height}")
            last = height
    return "".join(drawn) + f"H{_n(frame.x(frame.seconds))}"


def _curve(spans: Spans, frame: _Frame) -> str:
    """Join the averages, each at the end of its minute; empty for a run of less than one."""
    points = (f"{_n(frame.x(end))} {_n(frame.y(rate))}" for end, rate in spans.averages)
    return "M" + "L".join(points) if spans.averages else ""


def _beyond(spans: Spans, frame: _Frame) -> list[str]:
    """Mark the highest span when it is cut off, with its value."""
    highest = max(spans.rates, default=0.0)
    if highest <= frame.highest:
        return []
    x = frame.x((spans.rates.index(highest) + 0.5) * spans.length_s)
    triangle = f"M{_n(x - 4)} {_n(frame.top + 1)}h8l-4 -7z"
    at_right = x > frame.left + frame.width * 0.75
    words = _text(x + (-8 if at_right else 8), frame.top - 1, f"{_amount(highest)}", "small soft" + " end" * at_right)
    return [_element("path", class_="soft", d=triangle), words]


def _refusals(spans: Spans, frame: _Frame) -> list[str]:
    """Draw a bar for every span with refusals; one refusal among thousands still shows."""
    width = max(1.6, spans.length_s / max(1, frame.seconds) * frame.width)
    bars = []
    for place, refused in enumerate(spans.refused):
        if refused:
            height = max(3.0, refused / spans.refused_scale * frame.lane)
            x, y = frame.x(place * spans.length_s), frame.floor - height
            tooltip = _element("title", f"minute {place * spans.length_s / 60:.1f}: {refused:,.0f} refused")
            bars.append(_element("rect", tooltip, class_="refused", x=x, y=y, width=width, height=height))
    return bars


def _refusals_scale(run: Drawn, spans: Spans, frame: _Frame) -> list[str]:
    top, right = frame.floor - frame.lane, frame.left + frame.width + 8
    middle = top + frame.lane / 2 + 4
    return [
        _text(frame.left - 8, middle, "refused", "small soft end"),
        _text(right, top + 9, f"{spans.refused_scale:,.0f} in {spans.length_s} s", "small soft"),
        _text(right, middle + 6, f"{run.refusals:,} in all", "small ink"),
    ]


def _legend(x: float, y: float, each: str) -> list[str]:
    parts: list[str] = []
    kinds = (
        ("each", f"accepted, {each}"),
        ("average", f"accepted, last {AVERAGE_S} s"),
        ("limit", "true limit"),
        ("refused", "refused"),
    )
    for kind, label in kinds:
        if kind in ("each", "refused"):
            parts.append(_element("rect", class_=kind, x=x, y=y - 10, width=22, height=11))
        else:
            parts.append(_path(kind, f"M{_n(x)} {_n(y - 4.5)}h22"))
        parts.append(_text(x + 29, y, label, "soft"))
        x += 29 + 6.3 * len(label) + 24
    return parts


def _document(parts: Iterable[str], height: float, title: str, description: str) -> str:
    return _element(
        "svg",
        _element("title", escape(title)),
        _element("desc", escape(description)),
        _element("style", _style()),
        _element("rect", class_="paper", width=_WIDTH, height=height),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        class_="quota-run",
        viewBox=f"0 0 {_WIDTH} {_n(height)}",
        width=_WIDTH,
        height=height,
        role="img",
    )


def _style() -> str:
    light = "".join(f"{name}{{{what}:{colour}}}" for name, what, colour, _ in _COLOURS)
    dark = "".join(f"{name}{{{what}:{colour}}}" for name, what, _, colour in _COLOURS)
    return f"{_bound(_SHAPES + light)}@media (prefers-color-scheme:dark){{{_bound(dark)}}}"


def _bound(rules: str) -> str:
    """Bind every rule to this picture, since a page may hold several inline."""
    selectors = (rule.split("{", 1) for rule in rules.split("}") if rule)
    return "".join(
        f"{','.join('.quota-run ' + one for one in names.split(','))}{{{body}}}" for names, body in selectors
    )


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, 50 … (and 0.5, 0.2, 0.1 …) that is at least ``least``."""
    power = 1e-3
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least * (1 - 1e-9):
                return float(f"{digit * power:.3g}")
        power *= 10


def _percent(part: float) -> str:
    """Say a part so that a rare refusal isn't rounded away."""
    percent = part * 100
    return f"{percent:.1f} %" if percent >= 1 or percent == 0 else f"{percent:.2g} %"


def _amount(value: float) -> str:
    """Say a rate briefly: 950, 1,500, 30k, 1.2M."""
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    return f"{value / 1e3:.3g}k" if value >= 10_000 else f"{value:,.4g}"


def _plural(number: int, word: str) -> str:
    return word if number == 1 else word + "s"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _path(look: str, drawn: str) -> str:
    """Draw a path; nothing where there is nothing to draw."""
    if not drawn:
        return ""
    return _element("path", class_=look, d=drawn)


def _text(x: float, y: float, words: str, look: str) -> str:
    return _element("text", escape(words), class_=look, x=x, y=y)


def _element(tag: str, *inside: str, **attributes: str | float) -> str:
    """Write one element; ``inside`` is markup already, attributes are values yet to be quoted."""
    named = "".join(
        f" {name.rstrip('_').replace('_', '-')}={quoteattr(value if isinstance(value, str) else _n(value))}"
        for name, value in attributes.items()
    )
    return f"<{tag}{named}>{''.join(inside)}</{tag}>" if inside else f"<{tag}{named}/>"


def _n(value: float) -> str:
    """Round to a tenth of a pixel, the finest that shows."""
    return f"{round(value, 1) + 0.0:.10g}"
