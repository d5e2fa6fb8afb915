"""How many requests may be in flight at once."""

from __future__ import annotations


class Slots:
    """
    Let at most ``limit`` requests be in flight.

    Args:
        limit: Most requests at once; at least 1.
    """

    __slots__ = ("in_flight", "limit", "peak")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"the concurrency must be at least 1, not {limit!r}")
        self.limit = limit
        self.in_flight = 0
        self.peak = 0

    def __repr__(self) -> str:
        return f"<Slots {self.in_flight}/{self.limit}>"

    @property
    def is_free(self) -> bool:
        """True when one more request may start."""
        return self.in_flight < self.limit

    def take(self) -> None:
        """Count one more request in flight."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def give_back(self) -> None:
        """Count one request less in flight."""
        self.in_flight -= 1
