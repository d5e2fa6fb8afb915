"""Which ways of enforcing a limit agree with what was let through and what was refused, and between which values."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from math import ceil

import msgspec

from wingbeat.ledgers.learner import BUCKET_S
from wingbeat.ledgers.rate import JITTER_S
from wingbeat.model.limit import MINUTE_S, Enforcement

WINDOWS_S = (60.0, 30.0, 10.0)
SAVED_S = (60.0, 30.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5)
"""Seconds of windows, and seconds of the limit that a bucket saves up, which are tried; a minute is the usual one."""

SLICES_S = (1.0, 12.0, 6.0, 5.0, 4.0, 3.0, 2.0)
"""Seconds of fixed windows so short that they are a rate: a minute's limit may be enforced by the second, and a small
one by one request every few seconds.

Source: "60,000 requests/minute may be enforced as 1,000 requests/second", OpenAI help article 6891753.
"""

PHASES = 120
"""Places in a window at which a fixed one is supposed to begin."""

MOST_A_MINUTE = 1e7
PRECISION = 1e-4


class Seen(msgspec.Struct, frozen=True):
    """
    One request, as far as it tells of the limit.

    Args:
        sent_at: When it was sent; the service counts it a little later.
        passed: True when it was let through, False when it was refused, None when nobody knows.
    """

    sent_at: float
    passed: bool | None


class Hypothesis(msgspec.Struct, frozen=True):
    """
    One way of enforcing a limit that agrees with all that was seen.

    Args:
        enforcement: Which way.
        span_s: Seconds of its window, or of the limit that its bucket saves up.
        low: Least limit, in requests a minute, with which all that was let through would be.
        high: Greatest limit with which all that was refused would be.
    """

    enforcement: Enforcement
    span_s: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """How far apart the bounds are, as a part of the upper one."""
        return 1.0 - self.low / self.high


def hypotheses(seen: Sequence[Seen], jitter_s: float = JITTER_S) -> list[Hypothesis]:
    """
    Return the ways that agree, the most usual first; empty when no single limit explains what was seen.

    Windows that slide and fixed ones are tried, fixed ones at every phase, and buckets of several sizes. Network delay
    is allowed for: it widens the bounds.

    Args:
        seen: All requests, in the order in which they were sent. Unless at least one was refused and one let through,
            there are no bounds.
        jitter_s: Longest time from sending a request to the moment at which the service counts it.
    """
    evidence = _Evidence(seen, jitter_s)
    if not evidence.refused or not evidence.sure:
        return []
    found = (
        *(way(evidence, span_s) for span_s in WINDOWS_S[:1] for way in (_sliding, _fixed, _bucket)),
        _slice(evidence, SLICES_S[0]),
        *(way(evidence, span_s) for span_s in WINDOWS_S[1:] for way in (_sliding, _fixed)),
        *(_bucket(evidence, saved_s) for saved_s in SAVED_S[1:]),
        *(_slice(evidence, span_s) for span_s in SLICES_S[1:]),
    )
    return [each for each in found if each is not None]


def least_a_minute(seen: Sequence[Seen], jitter_s: float = JITTER_S) -> float:
    """
    Return the least limit a minute that lets through what was, whether by windows or by a bucket of a minute's worth.

    A fixed window may have ended in the middle of the busiest minute, and a bucket may have been full before it: so
    this is about half of what the busiest minute held.
    """
    evidence = _Evidence(seen, jitter_s)
    if not evidence.sure:
        return 0.0
    phases_s = [place * MINUTE_S / PHASES for place in range(PHASES)]
    sliding = _sliding_low(evidence, MINUTE_S)
    # A minute touches two windows, so one of them held half of it, whichever took what came at the edge.
    fixed = max(sliding / 2, min(_low_at_phase(evidence, MINUTE_S, phase_s) for phase_s in phases_s))
    bucket = _least(lambda per_minute: _fill(evidence, per_minute / MINUTE_S, MINUTE_S, lenient=True)[0])
    return min(sliding, fixed, bucket)


class _Evidence:
    """Times of what was surely let through, of what may have been, and of what was refused."""

    def __init__(self, seen: Sequence[Seen], jitter_s: float) -> None:
        self.jitter_s = jitter_s
        self.first = min((each.sent_at for each in seen), default=0.0)
        self.last = max((each.sent_at for each in seen), default=0.0)
        # Of requests sent together nobody knows the order of arrival: what was refused came last of them.
        late = [Seen(each.sent_at + jitter_s, passed=False) if each.passed is False else each for each in seen]
        self.by_arrival = sorted(late, key=lambda each: each.sent_at)
        self.sure = [each.sent_at for each in seen if each.passed is True]
        self.possible = [each.sent_at for each in seen if each.passed is not False]
        self.refused = [each.sent_at for each in seen if each.passed is False]

    def surely_between(self, start: float, end: float) -> int:
        """Count what was let through from ``start`` up to ``end``."""
        return bisect_right(self.sure, end) - bisect_left(self.sure, start)

    def possibly_between(self, start: float, end: float) -> int:
        """Count what may have been let through from ``start`` up to ``end``."""
        return bisect_right(self.possible, end) - bisect_left(self.possible, start)


def _sliding(evidence: _Evidence, span_s: float) -> Hypothesis | None:
    """Try a log: it holds as many at each refusal, and never held more."""
    jitter_s = evidence.jitter_s
    low = _sliding_low(evidence, span_s)
    high = min(evidence.possibly_between(at - span_s - jitter_s, at + jitter_s) for at in evidence.refused)
    return _agreed("window", span_s, low * MINUTE_S / span_s, high * MINUTE_S / span_s)


def _sliding_low(evidence: _Evidence, span_s: float) -> int:
    jitter_s = evidence.jitter_s
    return max((evidence.surely_between(at - span_s + jitter_s, at) for at in evidence.sure), default=0)


def _fixed(evidence: _Evidence, span_s: float) -> Hypothesis | None:
    """Try windows at every phase; the bounds hold all phases that agree."""
    phases_s = [place * span_s / PHASES for place in range(PHASES)]
    agreed = [each for phase_s in phases_s if (each := _at_phase(evidence, span_s, phase_s)) is not None]
    if not agreed:
        return None
    return Hypothesis("window", span_s, min(each.low for each in agreed), max(each.high for each in agreed))


def _slice(evidence: _Evidence, span_s: float) -> Hypothesis | None:
    """Try short fixed windows: over a long time no more passes than all of them hold together."""
    found = _fixed(evidence, span_s)
    if found is None:
        return None
    # A span of time touches two windows more than fit into it.
    least = _least(lambda per_minute: _fill(evidence, per_minute / MINUTE_S, 2 * span_s, lenient=True)[0])
    return _agreed("rate", span_s, max(found.low, _whole(least, span_s)), found.high)


def _whole(per_minute: float, span_s: float) -> float:
    """Raise a least limit to one that lets a whole number of requests through in a window."""
    return ceil(per_minute * span_s / MINUTE_S - 2 * PRECISION) * MINUTE_S / span_s


def _at_phase(evidence: _Evidence, span_s: float, phase_s: float) -> Hypothesis | None:
    grain_s, jitter_s = span_s / PHASES / 2, evidence.jitter_s
    low = _low_at_phase(evidence, span_s, phase_s)
    high: float = float("inf")
    for at in evidence.refused:
        start = phase_s + (at - phase_s) // span_s * span_s
        if start + grain_s <= at and at + jitter_s + grain_s < start + span_s:
            high = min(high, evidence.possibly_between(start - jitter_s - grain_s, at + jitter_s))
    if high == float("inf"):
        return None
    return _agreed("window", span_s, low * MINUTE_S / span_s, high * MINUTE_S / span_s)


def _low_at_phase(evidence: _Evidence, span_s: float, phase_s: float) -> int:
    grain_s = span_s / PHASES / 2
    starts = _starts(evidence.first, evidence.last, span_s, phase_s)
    surely_s = span_s - evidence.jitter_s - grain_s
    return max(evidence.surely_between(start + grain_s, start + surely_s) for start in starts)


def _starts(first: float, last: float, span_s: float, phase_s: float) -> Iterator[float]:
    start = phase_s + (first - phase_s) // span_s * span_s
    while start <= last:
        yield start
        start += span_s


def _bucket(evidence: _Evidence, saved_s: float) -> Hypothesis | None:
    """Try a bucket: what is let through finds one request's worth in it, what is refused does not."""
    enforcement: Enforcement = "bucket" if saved_s > BUCKET_S else "rate"
    low = _least(lambda per_minute: _fill(evidence, per_minute / MINUTE_S, saved_s, lenient=True)[0])
    high = _least(lambda per_minute: not _fill(evidence, per_minute / MINUTE_S, saved_s, lenient=False)[1])
    return _agreed(enforcement, saved_s, low, high)


def _fill(evidence: _Evidence, rate: float, saved_s: float, *, lenient: bool) -> tuple[bool, bool]:
    """Play a bucket; return whether it lets through all that was, and whether it refuses all that was refused."""
    most = max(1.0, rate * saved_s)
    slack = rate * evidence.jitter_s + 1e-9
    level, at = most, evidence.first
    ready_at = float("-inf")
    lets_through = refuses = True
    for each in evidence.by_arrival:
        level = min(most, level + (each.sent_at - at) * rate)
        at = each.sent_at
        if each.passed is False:
            # Both this request and the one before it may have arrived late; a full bucket has no such excuse.
            refuses = refuses and at - ready_at < 2 * evidence.jitter_s
        elif each.passed or not lenient:
            lets_through = lets_through and level >= 1.0 - slack
            level -= 1.0
            if level < 1.0:
                ready_at = at + (1.0 - level) / rate
    return lets_through, refuses


def _least(is_enough: Callable[[float], bool]) -> float:
    """Return the least limit a minute that is enough, to `PRECISION`."""
    low, high = 0.0, MOST_A_MINUTE
    while high - low > PRECISION * high + 1e-6:
        middle = (low * high) ** 0.5 if low > 0 else high / 1000
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high


def _agreed(enforcement: Enforcement, span_s: float, low: float, high: float) -> Hypothesis | None:
    return Hypothesis(enforcement, span_s, low, high) if low <= high * (1 + 2 * PRECISION) and high > 0 else None
