"""Spend at most so much: money is set aside before a request goes and settled when its answer is priced."""

from __future__ import annotations


class Budget:
    """
    Never commit more than ``limit_usd``: what is spent plus what is set aside stays within it.

    Args:
        limit_usd: Most US dollars, or None for no limit.
        spent_usd: Already spent, as when a run is resumed.
    """

    __slots__ = ("limit_usd", "open_reservations", "reserved_usd", "spent_usd")

    def __init__(self, limit_usd: float | None = None, spent_usd: float = 0.0) -> None:
        if limit_usd is not None and not limit_usd > 0:
            raise ValueError(f"the most to spend must be above zero, not {limit_usd!r}")
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0
        self.open_reservations = 0

    def __repr__(self) -> str:
        limit = "∞" if self.limit_usd is None else f"{self.limit_usd:g}"
        return f"<Budget {self.spent_usd:.4f} + {self.reserved_usd:.4f} of {limit} USD>"

    def reserve(self, amount_usd: float) -> bool:
        """Set money aside for one request; False, and nothing set aside, when it could overshoot."""
        if self.limit_usd is not None and self.spent_usd + self.reserved_usd + amount_usd > self.limit_usd + 1e-12:
            return False
        self.reserved_usd += amount_usd
        self.open_reservations += amount_usd > 0
        return True

    def settle(self, reserved_usd: float, spent_usd: float) -> None:
        """Turn what was set aside into what was really spent."""
        self.open_reservations -= reserved_usd > 0
        # Sums of fractions leave a residue, and money that nobody holds would be waited for.
        self.reserved_usd = max(0.0, self.reserved_usd - reserved_usd) if self.open_reservations else 0.0
        self.spent_usd += spent_usd
