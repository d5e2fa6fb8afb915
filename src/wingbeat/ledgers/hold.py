"""The pause after a refusal, and the lone requests that ask whether it is over."""

from __future__ import annotations

FIRST_ASK_S = 1.0
LONGEST_FIRST_ASK_S = 8.0
ASK_GROWTH = 1.8
LONGEST_ASK_S = 12.0
"""Waits before a lone request asks, when the service told no wait: a second, or a little more than a request takes at
the pace that was refused; then growing. Asking sooner was tried: what refuses by the second then refuses twice."""

JUDGED_AFTER = 1.5
JUDGED_AFTER_S = 0.1
"""Silence for so many times the slowest refusal, and a little more, after which a lone request counts as let through:
its answer may take long, its refusal would have come."""


class Hold:
    """
    Let nothing go after a refusal but one request at a time, until one passes.

    A wait that the service told is believed, and nobody needs to ask, as long as it has proved true.

    Args:
        now: When the refusal arrived.
        sent_at: When the refused request was sent.
        told_s: Seconds that the service asked to wait, or None.
        request_s: Seconds that a request takes at the pace that was refused; 0 when there was none.
        units: Units of the refused request.
        is_believed: Whether a told wait need not be checked.
    """

    __slots__ = (
        "_asking_since",
        "_asks",
        "_first_s",
        "_is_believed",
        "_last_refused_ask",
        "_until",
        "is_told",
        "refusals",
        "refused_at",
        "units",
    )

    def __init__(
        self,
        now: float,
        sent_at: float,
        told_s: float | None,
        request_s: float,
        *,
        units: float = 1.0,
        is_believed: bool = False,
    ) -> None:
        self.refused_at = sent_at
        self.refusals = 1
        self.units = units
        self.is_told = told_s is not None
        self._is_believed = is_believed and self.is_told
        self._first_s = min(LONGEST_FIRST_ASK_S, max(FIRST_ASK_S, 1.2 * request_s))
        self._asks = 0
        self._asking_since: float | None = None
        self._last_refused_ask: float | None = None
        self._until = now + self._wait_s(told_s)

    def __repr__(self) -> str:
        return f"<Hold until {self._until:.3f}, {self.refusals} refused>"

    @property
    def until(self) -> float:
        """When the next lone request may ask."""
        return self._until

    def _wait_s(self, told_s: float | None) -> float:
        if told_s is not None:
            return told_s
        return min(max(LONGEST_ASK_S, self._first_s), self._first_s * ASK_GROWTH ** min(self._asks, 16))

    def ready_at(self, now: float, refusal_s: float) -> float:
        """Return when the next lone request may go, or when the one under way is judged: ``now``, or later."""
        if self._asking_since is None:
            return max(now, self._until)
        return max(now, self._asking_since + JUDGED_AFTER * refusal_s + JUDGED_AFTER_S)

    def ask(self, now: float) -> None:
        """Count the lone request as sent."""
        self._asking_since = now

    def refused(self, now: float, sent_at: float, told_s: float | None) -> None:
        """Take one more refusal: of the lone request, or of one that was sent before the pause began."""
        self.refusals += 1
        if self._asking_since is not None and sent_at >= self._asking_since:
            self._last_refused_ask, self._asking_since = self._asking_since, None
            self._asks += 1
            self._until = now + self._wait_s(told_s)
        else:
            self.refused_at = min(self.refused_at, sent_at)
            if told_s is not None:
                self._until = max(self._until, now + told_s)

    def passed_at(self, now: float, refusal_s: float) -> float | None:
        """Return when the pause ended: when a lone request was sent that counts as let through by now; or None."""
        if self._asking_since is None:
            return self._until if self._is_believed and now >= self._until else None
        if now < self._asking_since + JUDGED_AFTER * refusal_s + JUDGED_AFTER_S:
            return None
        return self._asking_since

    def answered_at(self, sent_at: float) -> float | None:
        """Return when the lone request was sent if the answer is its own, or None."""
        return self._asking_since if self._asking_since is not None and sent_at >= self._asking_since else None

    def ended_at(self, passed_at: float) -> float:
        """Return when the service let requests through again: without a told wait some time before it was asked."""
        if self._last_refused_ask is None or self.is_told:
            return passed_at
        return (passed_at + self._last_refused_ask) / 2
