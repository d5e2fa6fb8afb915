"""What follows a failed attempt."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.retry import Again, GiveUp, RetryBudget, StopRun, WaitForQuota, backoff_s, verdict
from wingbeat.model.answer import Failure, FailureKind

K = FailureKind
FIRST_OF_FIVE = {
    K.RATE_LIMITED: WaitForQuota,
    K.DAY_QUOTA: StopRun,
    K.NO_QUOTA: StopRun,
    K.SPENDING_LIMIT: StopRun,
    K.INVALID_KEY: StopRun,
    K.PERMISSION: StopRun,
    K.NOT_FOUND: StopRun,
    K.INVALID_REQUEST: GiveUp,
    K.TOO_LARGE: GiveUp,
    K.OVERLOADED: Again,
    K.SERVER_ERROR: Again,
    K.TIMEOUT: Again,
    K.CONNECTION: Again,
    K.MALFORMED_REPLY: Again,
    K.EMPTY_ANSWER: Again,
    K.INVALID_INPUT: GiveUp,
    K.DEADLINE: GiveUp,
    K.CALL_ERROR: GiveUp,
}


@pytest.mark.parametrize("kind", list(FailureKind))
def test_the_first_failure_of_each_kind(kind: FailureKind) -> None:
    """Every kind of failure has its verdict; a new kind must be entered here."""
    assert type(verdict(Failure(kind, "x"), 1, 5, Random(1))) is FIRST_OF_FIVE[kind]


@pytest.mark.parametrize("kind", [kind for kind, what in FIRST_OF_FIVE.items() if what is Again])
def test_the_last_attempt_ends_the_record(kind: FailureKind) -> None:
    """With all attempts used up the record is given up."""
    assert verdict(Failure(kind, "x"), 5, 5, Random(1)) == GiveUp()


@pytest.mark.parametrize(("attempts", "expected"), [(1, Again(0.0)), (2, Again(0.0)), (3, GiveUp())])
def test_a_model_that_says_nothing_is_asked_three_times(attempts: int, expected: Again | GiveUp) -> None:
    """An empty answer is billed, so it is asked for again at once, twice at most."""
    assert verdict(Failure(K.EMPTY_ANSWER, "x"), attempts, 100, Random(1)) == expected


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (K.DAY_QUOTA, "day_quota"),
        (K.SPENDING_LIMIT, "spending"),
        (K.INVALID_KEY, "access"),
        (K.NO_QUOTA, "access"),
    ],
)
def test_why_a_run_stops(kind: FailureKind, cause: str) -> None:
    """What stops a run says whether it is the day, the money or the access."""
    assert verdict(Failure(kind, "x"), 1, 5, Random(1)) == StopRun(cause)  # type: ignore[arg-type]


def test_a_wait_of_hours_stops_the_run() -> None:
    """A refusal that asks to wait for more than an hour is no quota of a minute."""
    assert verdict(Failure(K.RATE_LIMITED, "x", retry_after_s=3601), 1, 5, Random(1)) == StopRun("day_quota")
    assert verdict(Failure(K.RATE_LIMITED, "x", retry_after_s=3600), 1, 5, Random(1)) == WaitForQuota()


def test_a_told_wait_is_kept() -> None:
    """A retry never goes before the time that the service named."""
    again = verdict(Failure(K.OVERLOADED, "x", retry_after_s=20.0), 1, 5, Random(1))
    assert isinstance(again, Again)
    assert again.after_s >= 20.0


@given(st.integers(0, 10**6), st.integers(0, 2**32))
def test_backoff_stays_in_its_bounds(attempt: int, seed: int) -> None:
    """Backoff lies between nothing and the doubled start, never above thirty seconds, at any attempt."""
    assert 0 <= backoff_s(attempt, Random(seed)) <= min(30.0, 0.5 * 2.0 ** min(attempt, 10))


def test_the_first_retries_go_at_once() -> None:
    """Ten retries are free when nothing has been answered yet."""
    budget = RetryBudget()
    assert [budget.retry_at(0.0) for _ in range(10)] == [0.0] * 10


def test_beyond_the_budget_one_a_second_goes() -> None:
    """A spent budget puts retries off by a second each, and denies none."""
    budget = RetryBudget()
    for _ in range(10):
        budget.retry_at(0.0)
    assert [budget.retry_at(0.0) for _ in range(4)] == [0.0, 1.0, 2.0, 3.0]


def test_the_budget_comes_back() -> None:
    """Retries older than two minutes are forgotten."""
    budget = RetryBudget()
    for _ in range(30):
        budget.retry_at(0.0)
    assert budget.retry_at(121.5) == 121.5


def test_a_busy_service_can_not_be_buried() -> None:
    """Retries stay within answers and ten however many there are."""
    budget = RetryBudget()
    for _ in range(5000):
        budget.answered(0.0)
    at_once = sum(budget.retry_at(1.0) <= 1.0 for _ in range(8000))
    assert 5010 <= at_once <= 5011


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 50)), max_size=200))
def test_no_retry_is_put_off_for_ever(moves: list[tuple[bool, float]]) -> None:
    """A retry waits for no more seconds than there were retries before it."""
    budget, now, retries = RetryBudget(), 0.0, 0
    for is_retry, gap in moves:
        now += gap
        if is_retry:
            assert now <= budget.retry_at(now) <= now + retries
            retries += 1
        else:
            budget.answered(now)
