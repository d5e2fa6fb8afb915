"""A small request may pass a large one only if the large one goes no later for it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from wingbeat.ledgers.backfill import SPARE, delays, ready_beside_spare
from wingbeat.ledgers.quota import Cost, Quota

GRAIN_S = 60.25 / 1024
"""What is sent within so short a time is counted as one, at the latest of its times."""


def used(*sent: tuple[float, float], requests: float | None = None, tokens: float = 1000.0) -> Quota:
    """Return a quota of which some was used: times and tokens."""
    quota = Quota(requests, tokens)
    for at, cost in sent:
        quota.commit(at, Cost(cost))
    return quota


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [(50.0, False), (100.0, False), (100.1, True), (150.0, True), (600.0, True)],
)
def test_what_the_head_leaves_unused_may_be_taken(candidate: float, expected: bool) -> None:
    """When 600 units are given back at once and the head needs 500 of them, those behind it may take 100."""
    quota = used((0.0, 600.0), (30.0, 200.0))
    head = Cost(700.0)
    due = quota.ready_at(45.0, head)
    assert due == pytest.approx(60.25)
    assert delays(quota.guards, head, Cost(candidate), due, 45.0) is expected


def test_a_head_that_needs_everything_is_not_passed() -> None:
    """Beside a request as large as the whole quota nothing has room."""
    quota = used((0.0, 600.0))
    head = Cost(1000.0)
    due = quota.ready_at(45.0, head)
    assert delays(quota.guards, head, Cost(1.0), due, 45.0)


@pytest.mark.parametrize(("requests", "expected"), [(10, False), (2, True)])
def test_every_limit_counts(requests: float, expected: bool) -> None:
    """A request that leaves the head its tokens does not pass when it would take the head's last request."""
    quota = used((0.0, 600.0), (35.0, 200.0), requests=requests)
    head = Cost(700.0)
    assert delays(quota.guards, head, Cost(50.0), 60.25, 45.0) is expected


def test_the_candidates_debt_is_paid_when_the_head_is_due() -> None:
    """A request whose pace is not paid for by then would hold the head up, and does not pass."""
    quota = used((0.0, 600.0), (30.0, 200.0))
    head = Cost(700.0)
    due = quota.ready_at(60.0, head)
    assert delays(quota.guards, head, Cost(90.0), due, 60.0)
    assert not delays(quota.guards, head, Cost(1.0), due, 60.0)


def test_light_flows_leave_a_little_to_heavy_ones() -> None:
    """A request that must leave some of every limit waits once only that much is left."""
    quota = used(*((0.0, 1.0) for _ in range(994)), requests=1000, tokens=2000.0)
    small = Cost(1.0)
    assert ready_beside_spare(quota.guards, small, 50.0) == 50.0
    quota.commit(50.0, small)
    assert ready_beside_spare(quota.guards, small, 55.0) == pytest.approx(60.25)
    assert quota.ready_at(55.0, small) == 55.0


def test_of_a_few_requests_none_is_spared() -> None:
    """Of ten requests a minute a light flow may use all."""
    quota = used(*((0.0, 1.0) for _ in range(9)), requests=10, tokens=2000.0)
    assert ready_beside_spare(quota.guards, Cost(1.0), 59.0) == 59.0


def test_a_request_as_large_as_the_limit_goes_all_the_same() -> None:
    """A request that can't leave anything goes once everything is free."""
    quota = used((0.0, 5.0))
    assert 1000.0 * (1 - SPARE) < 999.0
    assert ready_beside_spare(quota.guards, Cost(999.0), 50.0) == pytest.approx(60.25)


def test_without_limits_nothing_is_spared() -> None:
    """Where no limit is known a request goes now."""
    assert ready_beside_spare((), Cost(1.0), 3.0) == 3.0


sent = st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(1.0, 300.0)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(sent, st.floats(100.0, 900.0), st.lists(st.floats(1.0, 200.0), min_size=1, max_size=5), st.booleans())
def test_the_head_goes_when_it_would_have_gone(
    history: list[tuple[float, float]], large: float, small: list[float], with_requests: bool
) -> None:
    """Whatever was sent before, those that are let pass leave the head's moment where it was."""
    quota = Quota(40 if with_requests else None, 1000)
    now = 0.0
    for pause_s, cost in history:
        now = max(now + pause_s, quota.ready_at(now, Cost(cost)))
        quota.commit(now, Cost(cost))
    head = Cost(large)
    now = max(now + 1.0, quota.ready_at(now, Cost(0.0)))
    due = quota.ready_at(now, head)
    assume(due > now)
    for cost in small:
        now = max(now, quota.ready_at(now, Cost(cost)))
        if now < due and not delays(quota.guards, head, Cost(cost), due, now):
            quota.commit(now, Cost(cost))
            assert quota.ready_at(now, head) <= due + GRAIN_S
