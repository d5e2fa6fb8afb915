"""What the service's own headers say is used: it sees others who share the quota, and prices that we do not know."""

from __future__ import annotations

ROUNDING = 0.002
"""Part of the limit by which a told remainder may be off: Anthropic's are rounded to the thousand tokens."""

TRUST_IN_LESS = 0.1
"""How much of a difference is taken over when the service says that less is used than we think. That it says more is
believed at once: the mistake would be refused."""


class Mirror:
    """
    Follow the level of a bucket that the service tells of in its replies.

    Between two replies the level is our own account of it: it rises by what is sent, and falls as the limit refills.
    A reply tells what was left when its request was counted, so it is compared with the level noted at that moment.

    Args:
        limit: Units that the bucket holds.
        window_s: Seconds in which it refills.
        now: The time.
        used: Units in use by then.

    Source: headers of nine public replies of OpenAI, 2023 to 2025, fit a bucket that holds one window's quota and is
    refilled evenly; Anthropic documents one.
    """

    __slots__ = ("_corrected", "_level", "_since", "limit", "window_s")

    def __init__(self, limit: float, window_s: float, now: float = 0.0, used: float = 0.0) -> None:
        self.limit = limit
        self.window_s = window_s
        self._level = max(0.0, used)
        self._since = now
        self._corrected = 0.0

    def __repr__(self) -> str:
        return f"<Mirror {self._level:.4g}/{self.limit:g}>"

    def level(self, now: float) -> float:
        """Return the units in use."""
        if now > self._since:
            if self._level:
                self._level = max(0.0, self._level - (now - self._since) * self.limit / self.window_s)
            self._since = now
        return self._level

    def sent(self, now: float, cost: float) -> float:
        """Count a request as sent, and return a mark of the level that it makes, for `told`."""
        self._level = self.level(now) + cost
        return self._level - self._corrected

    def settle(self, difference: float) -> None:
        """Correct what a request was counted as."""
        self._level = max(0.0, self._level + difference)

    def told(self, remaining: float, mark: float) -> None:
        """
        Take what a reply says was left.

        Args:
            remaining: Units left when the request was counted.
            mark: What `sent` returned for that request. Corrections made since then are counted as if they had been
                known by then, so that many replies tell of one difference once.
        """
        more = self.limit - remaining - mark - self._corrected
        if abs(more) <= max(1.0, ROUNDING * self.limit):
            return
        correction = max(-self._level, more if more > 0 else TRUST_IN_LESS * more)
        self._level += correction
        self._corrected += correction

    def ready_at(self, now: float, cost: float) -> float:
        """Return when a request fits: ``now``, or later."""
        excess = self.level(now) + min(cost, self.limit) - self.limit
        # Without the tolerance rounding would leave a remnant to wait for, again and again.
        return now if excess <= 1e-9 * self.limit else now + excess * self.window_s / self.limit
