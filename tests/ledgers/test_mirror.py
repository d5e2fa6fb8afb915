"""The level of a bucket as replies tell it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.mirror import Mirror


def test_the_level_falls_as_the_limit_refills() -> None:
    """A bucket of sixty a minute gives one back each second."""
    mirror = Mirror(60.0, 60.0)
    mirror.sent(0.0, 10.0)
    assert mirror.level(4.0) == pytest.approx(6.0)
    assert mirror.level(100.0) == 0.0


def test_a_full_bucket_makes_wait() -> None:
    """A request goes once its units have been given back."""
    mirror = Mirror(60.0, 60.0)
    mirror.sent(0.0, 60.0)
    assert mirror.ready_at(0.0, 5.0) == pytest.approx(5.0)
    assert mirror.ready_at(5.0, 5.0) == pytest.approx(5.0)


def test_another_user_is_seen_at_once() -> None:
    """When the service says that more is used than we sent, the level rises by all of it."""
    mirror = Mirror(1000.0, 60.0)
    then = mirror.sent(0.0, 1.0)
    mirror.told(699.0, then)
    assert mirror.level(0.0) == pytest.approx(301.0)


def test_many_replies_tell_of_another_user_once() -> None:
    """Replies to requests that were under way together do not add up what each of them tells."""
    mirror = Mirror(1000.0, 60.0)
    marks = [mirror.sent(0.0, 1.0) for _ in range(50)]
    for number, mark in enumerate(marks):
        mirror.told(1000.0 - 300.0 - (number + 1), mark)
    assert mirror.level(0.0) == pytest.approx(350.0)


def test_less_use_is_believed_slowly() -> None:
    """When the service says that less is used, a tenth of the difference is taken over."""
    mirror = Mirror(1000.0, 60.0)
    then = mirror.sent(0.0, 500.0)
    mirror.told(1000.0, then)
    assert mirror.level(0.0) == pytest.approx(450.0)


def test_rounded_remainders_change_nothing() -> None:
    """A difference below the rounding of the service is none."""
    mirror = Mirror(1_000_000.0, 60.0)
    then = mirror.sent(0.0, 1234.0)
    mirror.told(999_000.0, then)
    assert mirror.level(0.0) == 1234.0


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(0.1, 50.0), st.floats(-100.0, 200.0)), max_size=40))
def test_the_level_is_never_negative_and_waits_are_enough(steps: list[tuple[float, float, float]]) -> None:
    """Whatever replies tell, the level stays at zero or above, and after the wait a request fits."""
    mirror, now = Mirror(100.0, 60.0), 0.0
    for pause, cost, remaining in steps:
        now += pause
        due = mirror.ready_at(now, cost)
        assert due >= now
        assert mirror.ready_at(due + 1e-6, cost) <= due + 1e-6
        mirror.told(remaining, mirror.sent(due, cost))
        now = due
        assert mirror.level(now) >= 0.0
