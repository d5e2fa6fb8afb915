"""An exact account of what was spent in the last span of seconds."""

from __future__ import annotations

from collections import deque


class Entry:
    """One slice of spending; settling changes its cost while it is still counted."""

    __slots__ = ("cost", "counted", "time")

    def __init__(self, time: float, cost: float) -> None:
        self.time = time
        self.cost = cost
        self.counted = True


class WindowLedger:
    """
    Know exactly what was spent in any span ending now, and when a further cost will fit.

    Spending within ``span_s / 1024`` is kept as one entry that carries the latest of its times, so the
    sum is never too small and at most 1,025 entries are held.

    Args:
        limit: Most units within one span; above zero.
        span_s: Length of the span in seconds. For a server window of ``w`` seconds use ``w`` plus the
            spread of network delay, so that arrivals within ``w`` can't exceed the limit either.
    """

    __slots__ = ("_entries", "_grain_s", "_opened", "limit", "span_s", "total")

    def __init__(self, limit: float, span_s: float) -> None:
        self.limit = limit
        self.span_s = span_s
        self.total = 0.0
        self._grain_s = span_s / 1024
        self._entries: deque[Entry] = deque()
        self._opened = 0.0

    def advance(self, now: float) -> None:
        """Forget what has left the span."""
        entries = self._entries
        horizon = now - self.span_s
        while entries and entries[0].time <= horizon:
            entry = entries.popleft()
            entry.counted = False
            self.total -= entry.cost
        if not entries:
            self.total = 0.0

    def earliest(self, now: float, cost: float) -> float:
        """Return the earliest time, ``now`` or later, at which ``cost`` more units keep within the limit."""
        self.advance(now)
        excess = self.total + cost - self.limit
        if excess <= 1e-9:
            return now
        for entry in self._entries:
            excess -= entry.cost
            if excess <= 1e-9:
                return max(now, entry.time + self.span_s)
        return max(now, self._entries[-1].time + self.span_s) if self._entries else now

    def commit(self, now: float, cost: float) -> Entry:
        """Count ``cost`` units as spent at ``now`` and return the entry that holds them."""
        self.total += cost
        entries = self._entries
        if entries and now - self._opened < self._grain_s:
            entry = entries[-1]
            entry.time = now
            entry.cost += cost
            return entry
        entry = Entry(now, cost)
        self._opened = now
        entries.append(entry)
        return entry

    def close(self) -> None:
        """Forget everything: what settles later must not change an account that has taken this one's place."""
        for entry in self._entries:
            entry.counted = False
        self._entries.clear()
        self.total = 0.0

    def settle(self, entry: Entry, difference: float) -> None:
        """Correct what an earlier `commit` counted by ``difference`` units; too late is harmless."""
        if entry.counted:
            entry.cost += difference
            self.total += difference
