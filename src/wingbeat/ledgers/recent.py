"""How often something has happened lately."""

from __future__ import annotations

from collections import deque


class RecentCount:
    """How often something happened in the last ``span_s`` seconds, counted by the second so that memory is bounded."""

    __slots__ = ("_seconds", "_span_s", "_total")

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._seconds: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, now: float) -> None:
        """Count one more."""
        self._total += 1
        seconds = self._seconds
        if seconds and now - seconds[-1][0] < 1.0:
            seconds[-1] = (seconds[-1][0], seconds[-1][1] + 1)
        else:
            self.at(now)
            seconds.append((now, 1))

    def at(self, now: float) -> int:
        """Return the number in the span that ends now."""
        seconds = self._seconds
        while seconds and seconds[0][0] < now - self._span_s:
            self._total -= seconds.popleft()[1]
        return self._total

    def moments(self, now: float) -> int:
        """Return in how many moments of about a second it happened: many together are one."""
        self.at(now)
        return len(self._seconds)
