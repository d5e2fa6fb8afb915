"""What the service let through, by time: the evidence from which an unknown limit is learnt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

GRAIN_S = 0.05
"""Requests sent this close together are kept as one entry: finer than the spread of network delay."""

KEPT_S = 400.0
"""Seconds that are remembered: several windows of a minute, and the whole of a slow climb."""


class History:
    """
    Units sent and not refused, in memory that does not grow with the rate.

    A request counts from the moment it is sent, and is taken out again if its refusal arrives. What is still under way
    counts as let through.
    """

    __slots__ = ("_times", "_units")

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._units: deque[float] = deque()

    def __iter__(self) -> Iterator[tuple[float, float]]:
        """Iterate over (time, units), oldest first."""
        return iter(zip(self._times, self._units, strict=True))

    def add(self, now: float, units: float) -> None:
        """Count units as sent."""
        times = self._times
        if times and now - times[-1] < GRAIN_S:
            self._units[-1] += units
            return
        times.append(now)
        self._units.append(units)
        while times[0] < now - KEPT_S:
            times.popleft()
            self._units.popleft()

    def remove(self, sent_at: float, units: float) -> None:
        """Take out units of a request that was refused."""
        times = self._times
        for position in range(len(times) - 1, -1, -1):
            if times[position] <= sent_at:
                self._units[position] -= units
                return

    def between(self, start: float, end: float) -> float:
        """Return the units sent after ``start`` and not after ``end``."""
        total = 0.0
        times, units = self._times, self._units
        for position in range(len(times) - 1, -1, -1):
            if times[position] <= start:
                break
            if times[position] <= end:
                total += units[position]
        return total
