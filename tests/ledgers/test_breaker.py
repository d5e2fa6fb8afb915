"""The breaker: closed, open, half open, and what moves it."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.breaker import Breaker, BreakerState


def opened(now: float = 0.0) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(now, was_try=breaker.admit(now))
    return breaker


def test_nine_failures_leave_it_closed() -> None:
    """Fewer than ten failures in a row are borne."""
    breaker = Breaker()
    for _ in range(9):
        breaker.failed(0.0, was_try=breaker.admit(0.0))
    assert breaker.ready_at(0.0) == 0.0


def test_ten_failures_in_a_row_open_it() -> None:
    """The tenth failure in a row lets nothing go for five seconds."""
    assert opened(10.0).ready_at(11.0) == 15.0


def test_a_flaky_service_is_not_down() -> None:
    """Failures with an answer among each nine of them do not open it, however many they are."""
    breaker = Breaker()
    for number in range(1000):
        if number % 10 == 9:
            breaker.succeeded(was_try=False)
        else:
            breaker.failed(0.0, was_try=False)
    assert breaker.state is BreakerState.CLOSED


def test_one_try_goes_when_the_time_has_come() -> None:
    """After the pause exactly one request goes, as a try, and the next waits for its end."""
    breaker = opened()
    assert breaker.ready_at(5.0) == 5.0
    assert breaker.admit(5.0)
    assert breaker.ready_at(5.0) == inf


def test_tries_double_until_it_closes() -> None:
    """One good try allows two, then four, then all."""
    breaker = opened()
    allowed = []
    for _ in range(3):
        tries = 0
        while breaker.ready_at(6.0) <= 6.0 and tries < 10:
            breaker.admit(6.0)
            tries += 1
        allowed.append(tries)
        breaker.succeeded(was_try=True)
        for _ in range(tries - 1):
            breaker.abandoned(was_try=True)
    assert allowed == [1, 2, 4]
    assert breaker.state is BreakerState.CLOSED


def test_failed_tries_open_it_for_longer_and_longer() -> None:
    """Each failed try makes the pause longer: at most a quarter of the outage, twice the last one, or a minute."""
    breaker, now, waits = opened(), 5.0, []
    for _ in range(25):
        breaker.admit(now)
        breaker.failed(now, was_try=True)
        waits.append(breaker.ready_at(now) - now)
        assert waits[-1] <= max(5.0, now / 4)
        now = breaker.ready_at(now)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (5.0, 60.0)


def test_a_failure_after_good_tries_starts_over() -> None:
    """A service that answers some tries and fails others is tried again after five seconds, not after a minute."""
    breaker, now, waits = opened(), 5.0, []
    for _ in range(4):
        breaker.succeeded(was_try=breaker.admit(now))
        breaker.failed(now, was_try=breaker.admit(now))
        waits.append(breaker.ready_at(now) - now)
        now = breaker.ready_at(now)
    assert waits == [5, 5, 5, 5]


def test_a_try_that_told_nothing_leaves_its_place() -> None:
    """A cancelled try makes room for another."""
    breaker = opened()
    breaker.admit(5.0)
    breaker.abandoned(was_try=True)
    assert breaker.ready_at(5.0) == 5.0


def test_a_try_that_outlived_an_opening_makes_no_second_place() -> None:
    """A late end of an earlier try does not let more tries go than are allowed."""
    breaker = opened()
    breaker.admit(5.0)
    breaker.succeeded(was_try=True)
    breaker.admit(5.0)
    breaker.admit(5.0)
    breaker.failed(5.0, was_try=True)
    breaker.admit(20.0)
    breaker.abandoned(was_try=True)
    breaker.abandoned(was_try=True)
    breaker.admit(20.0)
    assert breaker.ready_at(20.0) == inf


def test_it_knows_since_when_nothing_was_good() -> None:
    """The time of the first failure is kept until anything is answered."""
    breaker = opened(3.0)
    assert breaker.failing_since == 3.0
    breaker.succeeded(was_try=False)
    assert breaker.failing_since is None


@given(st.lists(st.tuples(st.sampled_from(["go", "good", "bad", "gone"]), st.floats(0, 30)), max_size=80))
def test_it_never_locks_for_ever(moves: list[tuple[str, float]]) -> None:
    """Once every request has ended, one may go within a minute."""
    breaker, now, out = Breaker(), 0.0, []
    for move, gap in moves:
        now += gap
        if move == "go":
            if breaker.ready_at(now) <= now:
                out.append(breaker.admit(now))
        elif out and move == "good":
            breaker.succeeded(out.pop())
        elif out and move == "bad":
            breaker.failed(now, out.pop())
        elif out:
            breaker.abandoned(out.pop())
    for was_try in out:
        breaker.abandoned(was_try)
    assert breaker.ready_at(now) <= now + 60.0


@pytest.mark.parametrize("state", list(BreakerState))
def test_it_shows_its_state(state: BreakerState) -> None:
    """Its representation names the state."""
    breaker = Breaker()
    breaker.state = state
    assert state.value in repr(breaker)
