"""
How services count: each meter is one way of enforcing a limit, written down from its definition.

Nothing here knows of the client's ledgers; a meter is the witness that they are measured against. Times are seconds of
one clock, which never goes back; limits are units a minute and may change over time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

Limit = Callable[[float], float]
"""Units a minute at a time."""

FUZZ = 1e-6
"""Room for rounding, in units."""


class Meter(Protocol):
    """Counts units against one limit. Ask `wait_s` first; `take` what fits."""

    def wait_s(self, now: float, cost: float) -> float:
        """Return 0 when ``cost`` units fit now, else the seconds until they would if nobody took any."""
        ...

    def take(self, now: float, cost: float) -> None:
        """Count ``cost`` units."""
        ...

    def remaining(self, now: float) -> float:
        """Return the units that could be taken at once."""
        ...

    def reset_s(self, now: float) -> float:
        """Return the seconds until all units are free again, if nobody took any."""
        ...

    def limit_at(self, now: float) -> float:
        """Return the units a minute that can be sustained."""
        ...


def constant(limit: float) -> Limit:
    """Return a limit that stays."""
    return lambda _now: limit


def stepped(limit: float, *steps: tuple[float, float]) -> Limit:
    """Return a limit that takes a new value at each of ``(seconds, value)``, in order."""

    def at(now: float) -> float:
        value = limit
        for begins, new in steps:
            if now < begins:
                break
            value = new
        return value

    return at


class Bucket:
    """
    Hold at most ``window_s`` seconds' worth of the limit, refilled evenly (a token bucket, a leaky bucket as meter).

    Args:
        limit: Units a minute.
        window_s: Seconds' worth that a full bucket holds: 60 for one of n, 10 for n/6, 1 for n/60.
        least: The bucket holds at least so many units, else a request would never fit.
    """

    def __init__(self, limit: Limit, window_s: float = 60.0, least: float = 1.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._least = least
        self._level = self._capacity(0.0)
        self._at = 0.0

    def _capacity(self, now: float) -> float:
        return max(self._least, self._limit(now) * self._window_s / 60.0)

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._level += (now - self._at) * self._limit(now) / 60.0
            self._at = now
        self._level = min(self._capacity(now), self._level)

    def wait_s(self, now: float, cost: float) -> float:
        """Return the seconds until the bucket holds ``cost`` units."""
        self._refill(now)
        lacking = cost - self._level
        if lacking <= FUZZ:
            return 0.0
        return math.inf if cost > self._capacity(now) + FUZZ else lacking * 60.0 / self._limit(now)

    def take(self, now: float, cost: float) -> None:
        """Take units out; a negative cost puts them back."""
        self._refill(now)
        self._level = min(self._capacity(now), self._level - cost)

    def remaining(self, now: float) -> float:
        """Return the level."""
        self._refill(now)
        return max(0.0, self._level)

    def reset_s(self, now: float) -> float:
        """Return the seconds until the bucket is full."""
        self._refill(now)
        return (self._capacity(now) - self._level) * 60.0 / self._limit(now)

    def limit_at(self, now: float) -> float:
        """Return the refill of a minute."""
        return self._limit(now)


class FixedWindow:
    """
    Admit so many units in each window of a clock that nobody else knows the phase of.

    Args:
        limit: Units a minute.
        window_s: Length of the window.
        phase_s: Seconds by which the windows are shifted.
        whole: Whether the limit of a window is rounded down to whole units, which loses the rest.
    """

    def __init__(self, limit: Limit, window_s: float = 60.0, phase_s: float = 0.0, *, whole: bool = False) -> None:
        self._limit = limit
        self._window_s = window_s
        self._phase_s = phase_s
        self._whole = whole
        self._window = -1
        self._count = 0.0

    def _capacity(self, now: float) -> float:
        capacity = self._limit(now) * self._window_s / 60.0
        return math.floor(capacity + FUZZ) if self._whole else capacity

    def _turn(self, now: float) -> None:
        window = math.floor((now + self._phase_s) / self._window_s)
        if window != self._window:
            self._window = window
            self._count = 0.0

    def _edge_s(self, now: float) -> float:
        return (self._window + 1) * self._window_s - self._phase_s - now

    def wait_s(self, now: float, cost: float) -> float:
        """Return the seconds until the next window when this one is full."""
        self._turn(now)
        capacity = self._capacity(now)
        if self._count + cost <= capacity + FUZZ:
            return 0.0
        return math.inf if cost > capacity + FUZZ else self._edge_s(now)

    def take(self, now: float, cost: float) -> None:
        """Count units in the current window."""
        self._turn(now)
        self._count += cost

    def remaining(self, now: float) -> float:
        """Return what the current window still admits."""
        self._turn(now)
        return max(0.0, self._capacity(now) - self._count)

    def reset_s(self, now: float) -> float:
        """Return the seconds until the next window."""
        self._turn(now)
        return self._edge_s(now)

    def limit_at(self, now: float) -> float:
        """Return what the windows of a minute admit."""
        return self._capacity(now) * 60.0 / self._window_s


class SlidingLog:
    """Admit so many units in *every* span of ``window_s`` seconds, by a log of all that was admitted."""

    def __init__(self, limit: Limit, window_s: float = 60.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._log: deque[tuple[float, float]] = deque()
        self._total = 0.0

    def _capacity(self, now: float) -> float:
        return self._limit(now) * self._window_s / 60.0

    def _forget(self, now: float) -> None:
        log, horizon = self._log, now - self._window_s
        while log and log[0][0] <= horizon:
            self._total -= log.popleft()[1]
        if not log:
            self._total = 0.0

    def wait_s(self, now: float, cost: float) -> float:
        """Return the seconds until enough of the log has passed out of the span."""
        self._forget(now)
        excess = self._total + cost - self._capacity(now)
        if excess <= FUZZ:
            return 0.0
        for then, units in self._log:
            excess -= units
            if excess <= FUZZ:
                return then + self._window_s - now
        return math.inf

    def take(self, now: float, cost: float) -> None:
        """Log units."""
        self._forget(now)
        self._log.append((now, cost))
        self._total += cost

    def remaining(self, now: float) -> float:
        """Return what the span still admits."""
        self._forget(now)
        return max(0.0, self._capacity(now) - self._total)

    def reset_s(self, now: float) -> float:
        """Return the seconds until the log is empty."""
        self._forget(now)
        return self._log[-1][0] + self._window_s - now if self._log else 0.0

    def limit_at(self, now: float) -> float:
        """Return the units of a minute."""
        return self._limit(now)


class SlidingCounter:
    """
    Estimate the last ``window_s`` seconds from two counters: this window's, and the unexpired part of the last one's.

    A client at exactly the limit is refused now and then, since the estimate is rounded up by the request itself.
    """

    def __init__(self, limit: Limit, window_s: float = 60.0, phase_s: float = 0.0) -> None:
        self._limit = limit
        self._window_s = window_s
        self._phase_s = phase_s
        self._window = -1
        self._count = 0.0
        self._before = 0.0

    def _capacity(self, now: float) -> float:
        return self._limit(now) * self._window_s / 60.0

    def _turn(self, now: float) -> float:
        """Move on to the window of ``now``; return the part of it that has passed."""
        turns = (now + self._phase_s) / self._window_s
        window = math.floor(turns)
        if window != self._window:
            self._before = self._count if window == self._window + 1 else 0.0
            self._count = 0.0
            self._window = window
        return turns - window

    def wait_s(self, now: float, cost: float) -> float:
        """Return the seconds until the estimate has room for ``cost`` units."""
        passed = self._turn(now)
        capacity = self._capacity(now)
        if cost > capacity + FUZZ:
            return math.inf
        if self._before * (1.0 - passed) + self._count + cost <= capacity + FUZZ:
            return 0.0
        room = capacity - self._count - cost
        if room >= 0.0:
            return (1.0 - room / self._before - passed) * self._window_s
        later = max(0.0, 1.0 - (capacity - cost) / self._count)
        return (1.0 - passed + later) * self._window_s

    def take(self, now: float, cost: float) -> None:
        """Count units in the current window."""
        self._turn(now)
        self._count += cost

    def remaining(self, now: float) -> float:
        """Return what the estimate leaves."""
        passed = self._turn(now)
        return max(0.0, self._capacity(now) - self._before * (1.0 - passed) - self._count)

    def reset_s(self, now: float) -> float:
        """Return the seconds until both counters are empty."""
        passed = self._turn(now)
        return ((2.0 if self._count else 1.0) - passed) * self._window_s

    def limit_at(self, now: float) -> float:
        """Return the units of a minute."""
        return self._limit(now)


class Gcra:
    """
    Keep requests at their even distance, with a tolerance: the generic cell rate algorithm.

    Args:
        limit: Units a minute.
        tolerance_s: Seconds by which a request may come before its time.
    """

    def __init__(self, limit: Limit, tolerance_s: float) -> None:
        self._limit = limit
        self._tolerance_s = tolerance_s
        self._arrival = 0.0

    def wait_s(self, now: float, cost: float) -> float:
        """Return the seconds until the theoretical arrival, less the tolerance."""
        del cost
        wait_s = self._arrival - self._tolerance_s - now
        return wait_s if wait_s > 1e-9 else 0.0

    def take(self, now: float, cost: float) -> None:
        """Move the theoretical arrival on."""
        self._arrival = max(self._arrival, now) + cost * 60.0 / self._limit(now)

    def remaining(self, now: float) -> float:
        """Return how many single units would be let through at once."""
        spare_s = self._tolerance_s - max(0.0, self._arrival - now)
        return 0.0 if spare_s < 0 else math.floor(spare_s * self._limit(now) / 60.0) + 1.0

    def reset_s(self, now: float) -> float:
        """Return the seconds until the theoretical arrival."""
        return max(0.0, self._arrival - now)

    def limit_at(self, now: float) -> float:
        """Return the units of a minute."""
        return self._limit(now)


class OnePerRequest:
    """Count requests with a meter, whatever units they cost elsewhere."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def wait_s(self, now: float, cost: float) -> float:
        """Ask for one unit."""
        del cost
        return self._meter.wait_s(now, 1.0)

    def take(self, now: float, cost: float) -> None:
        """Count one unit."""
        del cost
        self._meter.take(now, 1.0)

    def remaining(self, now: float) -> float:
        """Return the requests left."""
        return self._meter.remaining(now)

    def reset_s(self, now: float) -> float:
        """Return the seconds until no request counts any more."""
        return self._meter.reset_s(now)

    def limit_at(self, now: float) -> float:
        """Return the requests of a minute."""
        return self._meter.limit_at(now)
