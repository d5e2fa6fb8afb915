"""
The ways a provider may enforce a limit: aligned windows, an exact log, a bucket, or small slices.

Pure arithmetic: time is given, nothing waits. Every meter tells the true wait: the same cost asked again that much
later, with nothing admitted in between, is admitted.
"""

import math
from collections import deque
from typing import Protocol

ROUNDING_S = 1e-6
"""Added to every wait, so that `now + wait` never falls short of the moment by a floating-point rounding."""


class Meter(Protocol):
    """One limit: says how long a cost must wait, and takes note of what was let in."""

    def wait_s(self, now: float, cost: int) -> float:
        """Return 0 when `cost` fits at `now`, else the seconds until it does; infinite when it never will."""

    def debit(self, now: float, cost: int) -> None:
        """Charge `cost` at `now`, whether or not it fits."""


def admit(meter: Meter, now: float, cost: int) -> float | None:
    """Charge `cost` and return None if it fits at `now`, else change nothing and return the seconds to wait."""
    wait = meter.wait_s(now, cost)
    if wait > 0:
        return wait
    meter.debit(now, cost)
    return None


class FixedWindow:
    """
    Admit at most `limit` units in each window [phase + k*window, phase + (k+1)*window).

    Across an edge, twice the limit may pass in a moment.
    """

    __slots__ = ("_index", "_used", "limit", "phase_s", "window_s")

    def __init__(self, limit: int, window_s: float, phase_s: float = 0.0) -> None:
        self.limit = limit
        self.window_s = window_s
        self.phase_s = phase_s
        self._index = -math.inf
        self._used = 0

    def wait_s(self, now: float, cost: int) -> float:
        """Return 0 or the time to the next edge."""
        if cost > self.limit:
            return math.inf
        index = self._roll(now)
        if self._used + cost <= self.limit:
            return 0.0
        return self.phase_s + (index + 1) * self.window_s - now + ROUNDING_S

    def debit(self, now: float, cost: int) -> None:
        """Charge the window that `now` lies in."""
        self._roll(now)
        self._used += cost

    def _roll(self, now: float) -> float:
        index = math.floor((now - self.phase_s) / self.window_s)
        if index > self._index:
            self._index = index
            self._used = 0
        return index


class SlidingLog:
    """
    Admit at most `limit` units in *every* span of `window_s` seconds.

    Keeps one entry for each charge of the last window.
    """

    __slots__ = ("_log", "_used", "limit", "window_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self.window_s = window_s
        self._log: deque[tuple[float, int]] = deque()
        self._used = 0

    def wait_s(self, now: float, cost: int) -> float:
        """Return 0 or the time until enough old charges have left the window."""
        if cost > self.limit:
            return math.inf
        self._forget(now)
        excess = self._used + cost - self.limit
        if excess <= 0:
            return 0.0
        for charged_at, charged in self._log:
            excess -= charged
            if excess <= 0:
                return charged_at + self.window_s - now + ROUNDING_S
        return math.inf

    def debit(self, now: float, cost: int) -> None:
        """Log the charge."""
        self._forget(now)
        self._log.append((now, cost))
        self._used += cost

    def _forget(self, now: float) -> None:
        log = self._log
        while log and log[0][0] + self.window_s <= now:
            self._used -= log.popleft()[1]


class TokenBucket:
    """
    Admit at most `limit + t * limit / window_s` units in any span of `t` seconds.

    The bucket starts full, holds one window's worth and refills all the time. A charge beyond the level empties it.
    """

    __slots__ = ("_level", "_updated", "limit", "rate_per_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self.limit = limit
        self.rate_per_s = limit / window_s
        self._level = float(limit)
        self._updated = -math.inf

    def wait_s(self, now: float, cost: int) -> float:
        """Return 0 or the time until the level reaches `cost`."""
        if cost > self.limit:
            return math.inf
        missing = cost - self._refill(now)
        return missing / self.rate_per_s + ROUNDING_S if missing > 0 else 0.0

    def debit(self, now: float, cost: int) -> None:
        """Take `cost` out, down to empty."""
        self._level = max(0.0, self._refill(now) - cost)

    def _refill(self, now: float) -> float:
        if now > self._updated:
            if self._updated > -math.inf:
                self._level = min(float(self.limit), self._level + (now - self._updated) * self.rate_per_s)
            self._updated = now
        return self._level


class Subsecond:
    """
    Admit a sixtieth of the limit, rounded down, in each sixtieth of the window; a minute is cut into seconds.

    A limit below 60 admits one unit in each `window_s / limit` seconds. A cost above one slice, such as the tokens of
    a long prompt, is let in when the slice is untouched, and uses up the slices after it. The rounding loses quota:
    1,000 a minute becomes 16 a second, which is 960 a minute.

    Source: "60,000 requests/minute may be enforced as 1,000 requests/second", OpenAI help article 6891753.
    """

    __slots__ = ("_index", "_used", "limit", "per_slice", "phase_s", "slice_s")

    def __init__(self, limit: int, window_s: float, phase_s: float = 0.0) -> None:
        self.limit = limit
        self.phase_s = phase_s
        self.per_slice = max(1, limit // 60)
        self.slice_s = window_s / 60 if limit >= 60 else window_s / max(1, limit)
        self._index = -math.inf
        self._used = 0

    def wait_s(self, now: float, cost: int) -> float:
        """Return 0 or the time to the edge of the first slice with room."""
        if cost > self.limit:
            return math.inf
        index = self._roll(now)
        if self._fits(self._used, cost):
            return 0.0
        room = max(0, self.per_slice - cost)
        slices = math.ceil((self._used - room) / self.per_slice)
        return self.phase_s + (index + slices) * self.slice_s - now + ROUNDING_S

    def debit(self, now: float, cost: int) -> None:
        """Charge the slice that `now` lies in."""
        self._roll(now)
        self._used += cost

    def _fits(self, used: int, cost: int) -> bool:
        return used == 0 or used + cost <= self.per_slice

    def _roll(self, now: float) -> float:
        index = math.floor((now - self.phase_s) / self.slice_s)
        if index > self._index:
            passed = index - self._index
            self._used = 0 if passed == math.inf else max(0, self._used - int(passed) * self.per_slice)
            self._index = index
        return index
