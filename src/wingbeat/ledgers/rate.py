"""One rate limit: when may the next request go, so that the service never has to refuse it?"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wingbeat.ledgers.window import Entry, WindowLedger

JITTER_S = 0.25
"""Spread of the delay between sending and being counted that the account allows for. It costs
``JITTER_S / window_s`` of the quota: 0.42 % of a minute."""

JITTER_PART = 0.05
"""The most of a short window that is left for it: of a window of a second, a quarter would be too dear."""

BANK_S = 10.0
"""Seconds of unused pace that may be saved up while another limit, or nothing, was in the way. Long
enough that two limits and prompts of very different sizes use the quota (`benchmarks/quota.py`)."""

TOKEN_EAGERNESS = 1.05
"""How much faster than the quota tokens are paced. A large prompt that waits for room in the account loses pace, which
is made good afterwards; the account alone is then the limit. With prompts of 20 to 20,000 tokens and a million a minute
this uses 99.7 % instead of 99.3 % of the quota, without a refusal (``tests/engine/test_known_limits.py``)."""

START_RATIO = 0.5
"""Part of a window's quota that a client that was idle may send at once."""


class Pace(msgspec.Struct, frozen=True):
    """How closely a limit is approached: seconds of saved-up pace, and the part of the rate left unused."""

    bank_s: float
    margin: float


STRICTER_PACES: Sequence[Pace] = (Pace(0.1, 0.0), Pace(0.02, 0.02), Pace(0.005, 0.05), Pace(0.0, 0.08))
"""Paces to fall back to, in turn, when a service refuses what its stated window allows: it enforces
the limit over shorter spans than it says."""


class RateLimit:
    """
    Keep within ``limit`` units in any ``window_s`` seconds, as the service counts them, first come first served.

    Two rules hold together. The *account* (`WindowLedger`) is the guarantee: never more than ``limit`` in any
    span of ``window_s + JITTER_S``. That keeps within a fixed window of any phase, a sliding window and a token
    bucket of that size. The *pace* spreads requests evenly: a request may go once the debt of those before it
    is repaid, whatever its own size, so a large one is never starved by small ones behind it.

    Args:
        name: What is limited: ``requests`` or ``input_tokens``.
        limit: Most units in a window; above zero.
        window_s: Length of the window in seconds.
        eagerness: Pace relative to the quota, 1 or above; above 1 the account alone bounds what is sent.
    """

    __slots__ = (
        "_account",
        "_base_bank_s",
        "_debt_until",
        "_pace_rate",
        "_paused_until",
        "_rung",
        "_span_s",
        "_start_s",
        "bank_s",
        "limit",
        "name",
        "window_s",
    )

    def __init__(self, name: str, limit: float, window_s: float = 60.0, *, eagerness: float = 1.0) -> None:
        if limit <= 0:
            raise ValueError(f"the limit of {name} must be above zero, not {limit!r}")
        self.name = name
        self.limit = limit
        self.window_s = window_s
        self._span_s = window_s + min(JITTER_S, JITTER_PART * window_s)
        self._account = WindowLedger(limit, self._span_s)
        self._base_bank_s = min(BANK_S, window_s / 6)
        self._start_s = self._span_s * START_RATIO
        self._rung = 0
        self._debt_until = float("-inf")
        self._paused_until = float("-inf")
        self.bank_s = self._base_bank_s
        self._pace_rate = eagerness * limit / self._span_s

    def __repr__(self) -> str:
        return (
            f"<RateLimit {self.name} {self._account.total:g}/{self.limit:g} in {self.window_s:g} s, "
            f"bank {self.bank_s:g} s>"
        )

    @property
    def used(self) -> float:
        """Units counted in the current span, as of the last decision."""
        return self._account.total

    @property
    def rung(self) -> int:
        """How many stricter paces have been taken."""
        return self._rung

    @property
    def is_strict(self) -> bool:
        """True once the service has refused what its stated window allows."""
        return self._rung > 0

    def restart(self, now: float) -> None:
        """Forget saved-up pace, so that a long job starts evenly instead of with a burst."""
        self._debt_until = max(self._debt_until, now)

    def ready_at(self, now: float, cost: float) -> float:
        """Return when a request of ``cost`` units may go: ``now``, or later."""
        due = self._account.earliest(now, cost)
        return max(due, self._debt_until, self._paused_until)

    def commit(self, now: float, cost: float, *, burst: bool) -> Entry:
        """
        Count a request as sent at ``now``.

        Args:
            now: The time at which it goes.
            cost: Its units.
            burst: Whether it belongs to a small job, for which up to half a window may be saved up.
        """
        bank_s = self._start_s if burst and not self._rung else self.bank_s
        self._debt_until = max(self._debt_until, self._paused_until, now - bank_s) + cost / self._pace_rate
        return self._account.commit(now, cost)

    def close(self) -> None:
        """Forget what was sent: another limit takes this one's place."""
        self._account.close()

    def recall(self, then: float, cost: float) -> None:
        """Count units that were spent at an earlier time without this ledger's leave."""
        self._account.commit(then, cost)

    def settle(self, entry: Entry, difference: float) -> None:
        """Correct the units of an earlier `commit` once the true ones are known."""
        self._account.settle(entry, difference)
        self._debt_until += difference / self._pace_rate

    def has_headroom(self, now: float) -> bool:
        """
        True when a tenth of the window is unused, so that a refusal can't be explained by our own account.

        An empty account explains nothing: the limit has become known only after what it refused was sent.
        """
        self._account.advance(now)
        return 0 < self._account.total <= 0.9 * self.limit

    def pause(self, until: float) -> None:
        """
        Let nothing go before ``until``, and start evenly then: nothing is saved up while refused.

        Kept apart from the debt, which replies that took fewer tokens than estimated may reduce meanwhile.
        """
        self._paused_until = max(self._paused_until, until)

    def tighten(self) -> bool:
        """Take the next stricter pace after refusals that the stated window does not explain."""
        if self._rung == len(STRICTER_PACES):
            return False
        pace = STRICTER_PACES[self._rung]
        self._rung += 1
        self.bank_s = min(self.bank_s, pace.bank_s)
        self._pace_rate = self.limit / self._span_s * (1 - pace.margin)
        return True

    def resize(self, limit: float) -> None:
        """Take a new limit that the service has stated."""
        self._pace_rate *= limit / self.limit
        self.limit = limit
        self._account.limit = limit
