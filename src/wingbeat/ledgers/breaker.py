"""Stop sending to a service that is down, and find out gently when it is back."""

from __future__ import annotations

from enum import Enum

OPEN_AFTER = 10
"""Failures in a row that open the breaker. A service that fails every other request has such a row once in a thousand
requests, one that fails four in five once in ten: it stops for what is down, not for what is flaky."""

FIRST_OPEN_S = 5.0
LONGEST_OPEN_S = 60.0

OPEN_PART = 0.25
"""Most of the time that a service has failed for so far that it is left alone for: after a minute's outage it is found
back within a quarter of one, however the tries went."""


class BreakerState(Enum):
    """Closed lets requests through, open lets none, half open lets a few try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """
    Let no request go while the service fails; then 1, 2, 4 … tries, and all once a try succeeds.

    Only failures of the service count (5xx, timeouts, lost connections): a refusal for quota is none.
    """

    __slots__ = ("_allowed", "_failures_in_row", "_open_s", "_trying", "failing_since", "open_until", "state")

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self.open_until = float("-inf")
        self.failing_since: float | None = None
        self._open_s = FIRST_OPEN_S
        self._failures_in_row = 0
        self._allowed = 1
        self._trying = 0

    def __repr__(self) -> str:
        return f"<Breaker {self.state.value}>"

    def ready_at(self, now: float) -> float:
        """Return when the next request may go; infinity while tries under way must end first."""
        if self.state is BreakerState.CLOSED:
            return now
        if self.state is BreakerState.OPEN:
            return max(now, self.open_until)
        return now if self._trying < self._allowed else float("inf")

    def admit(self, now: float) -> bool:
        """Count one request as sent; True when it is a try of a service that was down."""
        if self.state is BreakerState.CLOSED:
            return False
        if self.state is BreakerState.OPEN and now >= self.open_until:
            self.state = BreakerState.HALF_OPEN
            self._allowed = 1
            self._trying = 0
        self._trying += 1
        return True

    def succeeded(self, was_try: bool) -> None:
        """Take an answer (or a refusal that shows the service alive)."""
        self._failures_in_row = 0
        self.failing_since = None
        if was_try and self.state is BreakerState.HALF_OPEN:
            self._end_try()
            self._allowed *= 2
            if self._allowed > 4:
                self._close()

    def failed(self, now: float, was_try: bool) -> None:
        """Take a failure of the service."""
        self._failures_in_row += 1
        if self.failing_since is None:
            self.failing_since = now
        if self.state is BreakerState.HALF_OPEN and was_try:
            # A failure after good tries is no worse news than at the start; one instead of a good try is.
            self._open_s = FIRST_OPEN_S if self._allowed > 1 else min(self._open_s * 2, LONGEST_OPEN_S)
            self._open(now)
        elif self.state is BreakerState.CLOSED and self._failures_in_row >= OPEN_AFTER:
            self._open(now)

    def abandoned(self, was_try: bool) -> None:
        """Take back a request that ended without telling anything (cancelled)."""
        if was_try and self.state is BreakerState.HALF_OPEN:
            self._end_try()

    def _end_try(self) -> None:
        # A try that outlived an earlier opening is not among those that are counted now.
        self._trying = max(0, self._trying - 1)

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        since = now if self.failing_since is None else self.failing_since
        longest_s = max(FIRST_OPEN_S, OPEN_PART * (now - since))
        self._open_s = min(self._open_s, longest_s)
        self.open_until = now + self._open_s

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self._open_s = FIRST_OPEN_S
