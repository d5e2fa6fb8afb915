"""When the parts of one answer came. Whoever receives them tells the time."""

from __future__ import annotations

from wingbeat.model.answer import Usage


class Watch:
    """
    The times of one answer's parts, and the tokens that the service has told with them.

    An answer that comes whole has one part, at its end.

    Args:
        sent_at: When the request was sent; all times are by the same clock.
    """

    __slots__ = ("first_at", "last_at", "parts", "sent_at", "usage")

    def __init__(self, sent_at: float) -> None:
        self.sent_at = sent_at
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.parts = 0
        self.usage: Usage | None = None

    def __repr__(self) -> str:
        return f"<Watch {self.parts} parts>"

    def came(self, now: float, parts: int, usage: Usage | None = None) -> None:
        """Take some parts that came together, and the tokens told so far."""
        if parts > 0:
            if self.first_at is None:
                self.first_at = now
            self.last_at = now
            self.parts += parts
        self.usage = usage or self.usage

    @property
    def first_token_s(self) -> float | None:
        """Seconds from sending to the first part, or None before it."""
        return None if self.first_at is None else self.first_at - self.sent_at

    @property
    def last_token_s(self) -> float | None:
        """Seconds from sending to the last part so far, or None before the first."""
        return None if self.last_at is None else self.last_at - self.sent_at

    @property
    def gap_s(self) -> float | None:
        """Mean seconds between parts, or None with fewer than two."""
        if self.first_at is None or self.last_at is None or self.parts < 2:
            return None
        return (self.last_at - self.first_at) / (self.parts - 1)
