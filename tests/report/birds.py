"""Modes to draw and to count: requests sent one at a time, all at once, and through lanes."""

from __future__ import annotations

from collections.abc import Iterable

from wingbeat.report.timeline import Mode, Span, Track

LATENCY_S = 1.5
REFUSAL_S = 0.05


def one_at_a_time(count: int) -> Mode:
    """Each request waits until the one before it is answered."""
    turns = (Span(0.0, n * LATENCY_S, (n + 1) * LATENCY_S, "answered") for n in range(count))
    return Mode("one at a time", count * LATENCY_S, _tracks(turns))


def all_at_once(count: int, quota: int) -> Mode:
    """Requests beyond the quota are refused and lost."""
    answered, refused = Span(0.0, 0.0, LATENCY_S, "answered"), Span(0.0, 0.0, REFUSAL_S, "refused")
    spans = (answered if n < quota else refused for n in range(count))
    lost = max(0, count - quota)
    return Mode("all at once (gather)", LATENCY_S, _tracks(spans), f"{lost} of {count} lost to 429" if lost else "")


def wingbeat(count: int, *, burst: int, every_s: float) -> Mode:
    """A burst at once, then one request every so often."""
    due = [max(0, n - burst + 1) * every_s for n in range(count)]
    spans = (Span(0.0, at, at + LATENCY_S, "answered") for at in due)
    return Mode("wingbeat", due[-1] + LATENCY_S, _tracks(spans))


def refused_once(index: int) -> Track:
    """A request refused at 12 s and answered at its second attempt."""
    return Track(index, (Span(0.0, 12.0, 12.05, "refused"), Span(12.05, 18.05, 19.45, "answered")))


def comparison(count: int, quota: int) -> list[Mode]:
    """All three, from slow to fast."""
    return [one_at_a_time(count), all_at_once(count, quota), wingbeat(count, burst=min(count, 5), every_s=6.0)]


def _tracks(spans: Iterable[Span]) -> tuple[Track, ...]:
    return tuple(Track(index, (span,)) for index, span in enumerate(spans))
