"""What follows a failed attempt: again and when, give the record up, or stop the run."""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

from wingbeat.ledgers.recent import RecentCount
from wingbeat.model.answer import Failure, FailureKind

DEFAULT_MAX_ATTEMPTS = 5

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0

LONGEST_TOLD_WAIT_S = 3600.0
"""A longer wait than this is no per-minute quota; the run stops and says when to come back."""

MODEL_FAULT_ATTEMPTS = 3
"""Most attempts for a model that answers nothing; it is billed each time."""


class Again(msgspec.Struct, frozen=True):
    """Try again once ``after_s`` seconds have passed."""

    after_s: float


class WaitForQuota(msgspec.Struct, frozen=True):
    """Everybody waits as long as the service told; then again. It uses no attempt up."""


class GiveUp(msgspec.Struct, frozen=True):
    """The record ends with this failure."""


class StopRun(msgspec.Struct, frozen=True):
    """Nothing else can succeed either: stop the run, leaving this record unanswered."""

    cause: Literal["day_quota", "access", "spending"]


Verdict = Again | WaitForQuota | GiveUp | StopRun

SERVICE_FAILURES = frozenset(
    {FailureKind.OVERLOADED, FailureKind.SERVER_ERROR, FailureKind.TIMEOUT, FailureKind.CONNECTION}
)
"""Failures that say something about the service's health: they feed the breaker and the retry budget."""

OVERLOADS = frozenset({FailureKind.OVERLOADED, FailureKind.TIMEOUT, FailureKind.CONNECTION})
"""Failures that fewer requests in flight may prevent."""

_RETRIED = SERVICE_FAILURES | {FailureKind.MALFORMED_REPLY}

_STOPS: dict[FailureKind, Literal["day_quota", "access", "spending"]] = {
    FailureKind.DAY_QUOTA: "day_quota",
    FailureKind.NO_QUOTA: "access",
    FailureKind.INVALID_KEY: "access",
    FailureKind.PERMISSION: "access",
    FailureKind.NOT_FOUND: "access",
    FailureKind.SPENDING_LIMIT: "spending",
}


def backoff_s(attempt: int, random: Random) -> float:
    """
    Return full-jitter backoff before the next try.

    Args:
        attempt: Attempts made so far, from 1.
        random: Source of the jitter.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
    """
    doublings = min(attempt, 16)  # more would overflow in the end, and the longest backoff is reached long before
    return random.uniform(0.0, min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0**doublings))


def verdict(failure: Failure, attempts: int, max_attempts: int, random: Random) -> Verdict:
    """
    Decide what follows a failed attempt.

    Args:
        failure: What the attempt ended with.
        attempts: Attempts of this record that count so far, this one included; refusals for quota do not count.
        max_attempts: Most attempts a record gets.
        random: Source of the jitter.

    The cases, in order:
        1. Quota of the minute: everybody waits; the run stops only if told to wait for hours.
        2. Key, permission, model, money, day: the run stops.
        3. Service or wire at fault: again with backoff until the attempts are used up.
        4. Model answered nothing: again at once, a few times.
        5. All else is the record's own fault: it is given up.
    """
    kind = failure.kind
    if kind is FailureKind.RATE_LIMITED:
        if failure.retry_after_s is not None and failure.retry_after_s > LONGEST_TOLD_WAIT_S:
            return StopRun("day_quota")
        return WaitForQuota()
    if kind in _STOPS:
        return StopRun(_STOPS[kind])
    if kind in _RETRIED:
        if attempts >= max_attempts:
            return GiveUp()
        return Again(max(backoff_s(attempts, random), failure.retry_after_s or 0.0))
    if kind is FailureKind.EMPTY_ANSWER and attempts < min(MODEL_FAULT_ATTEMPTS, max_attempts):
        return Again(0.0)
    return GiveUp()


class RetryBudget:
    """
    Keep retries from burying a service that is in trouble: of the last two minutes' requests at most as many
    may be retries as were answered, plus ten.

    A retry is put off, never denied: the one per second that always remains lets a run end.

    Source: client-side throttling with K = 2, Site Reliability Engineering, chapter 21 (O'Reilly, 2016).
    """

    SPAN_S = 120.0
    RESERVE = 10

    def __init__(self) -> None:
        self._answered = RecentCount(self.SPAN_S)
        self._retried = RecentCount(self.SPAN_S)
        self._next_s = float("-inf")

    def answered(self, now: float) -> None:
        """Count one answered request."""
        self._answered.add(now)

    def retry_at(self, now: float) -> float:
        """Count one retry and return when it may go: ``now`` while the budget lasts, later when it is spent."""
        if self._retried.at(now) < self._answered.at(now) + self.RESERVE:
            self._retried.add(now)
            return now
        self._next_s = max(self._next_s + 1.0, now)
        return self._next_s
