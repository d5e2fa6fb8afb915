"""What the service let through, by time: the evidence from which an unknown limit is learnt."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

GRAIN_S = 0.05
"""Requests sent this close together are kept as one entry: finer than the spread of network delay."""

KEPT_S = 400.0
"""Seconds that are remembered: several windows of a minute, and the whole of a slow climb."""

_FORGET_EACH = 2048


class History:
    """
    Units sent and not refused, in memory that does not grow with the rate.

    A request counts from the moment it is sent, and is taken out again if its refusal arrives. What is still under way
    counts as let through. Adding takes constant time, correcting the logarithm of what is kept.
    """

    __slots__ = ("_first", "_times", "_units")

    def __init__(self) -> None:
        self._times: list[float] = []
        self._units: list[float] = []
        self._first = 0

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """Iterate over (time, units), oldest first."""
        return iter(list(zip(self._times, self._units, strict=True))[self._first :])

    def add(self, now: float, units: float) -> None:
        """Count units as sent."""
        times = self._times
        if len(times) > self._first and now - times[-1] < GRAIN_S:
            self._units[-1] += units
            return
        times.append(now)
        self._units.append(units)
        while times[self._first] < now - KEPT_S:
            self._first += 1
        if self._first > _FORGET_EACH:
            del times[: self._first], self._units[: self._first]
            self._first = 0

    def remove(self, sent_at: float, units: float) -> None:
        """Take out units of a request that was refused."""
        position = bisect_right(self._times, sent_at, self._first) - 1
        if position >= self._first:
            self._units[position] -= units

    def between(self, start: float, end: float) -> float:
        """Return the units sent after ``start`` and not after ``end``."""
        first = bisect_right(self._times, start, self._first)
        return sum(self._units[first : bisect_right(self._times, end, first)])
