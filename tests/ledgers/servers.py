"""Servers that count what arrives, written apart from both the ledgers and the simulator."""

from __future__ import annotations

from fractions import Fraction
from math import floor


class Bucket:
    """Hold one window of units, refilled all the time; start full."""

    def __init__(self, limit: float, window_s: float, phase: float) -> None:
        self.limit, self.rate, self.level, self.at = limit, limit / window_s, limit, 0.0

    def admits(self, time: float, cost: float) -> bool:
        """Take the units if they are there."""
        self.level = min(self.limit, self.level + (time - self.at) * self.rate)
        self.at = time
        if cost > self.level + 1e-6:
            return False
        self.level -= cost
        return True


class Fixed:
    """Count within aligned windows of some phase."""

    def __init__(self, limit: float, window_s: float, phase: float) -> None:
        self.limit, self.window_s, self.phase = limit, window_s, phase
        self.counts: dict[int, float] = {}

    def admits(self, time: float, cost: float) -> bool:
        """Count the units if the window of this time has room."""
        window = floor((time - self.phase) / self.window_s)
        if self.counts.get(window, 0.0) + cost > self.limit + 1e-6:
            return False
        self.counts[window] = self.counts.get(window, 0.0) + cost
        return True


class Sliding:
    """Count within the span that ends with each arrival."""

    def __init__(self, limit: float, window_s: float, phase: float) -> None:
        self.limit, self.window_s = limit, window_s
        self.log: list[tuple[float, float]] = []

    def admits(self, time: float, cost: float) -> bool:
        """Log the units if the span has room."""
        self.log = [(at, units) for at, units in self.log if at > time - self.window_s]
        if sum(units for _, units in self.log) + cost > self.limit + 1e-6:
            return False
        self.log.append((time, cost))
        return True


SERVERS = (Bucket, Fixed, Sliding)


def most_in_a_span(arrivals: list[tuple[float, float]], span_s: float) -> float:
    """Return the most units in any half-open span, by trying every one that ends with an arrival."""
    ordered = sorted(arrivals)
    return max(
        (
            sum(cost for time, cost in ordered[: last + 1] if Fraction(time) > Fraction(end) - Fraction(span_s))
            for last, (end, _) in enumerate(ordered)
        ),
        default=0.0,
    )
