"""What is late, and that hedges never cost more than their share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.hedge import COST_SHARE, ENOUGH_ANSWERS, REMEMBERED_ANSWERS, SHORTEST_STALL_S, Hedging
from wingbeat.ledgers.watch import Watch


def watched(first_s: float, gap_s: float = 0.1, parts: int = 3) -> Watch:
    """Return the watch of an answer sent at 0."""
    watch = Watch(0.0)
    for number in range(parts):
        watch.came(first_s + number * gap_s, 1)
    return watch


def taught(first_tokens_s: list[float], gap_s: float = 0.1) -> Hedging:
    """Return a ledger that has seen so many answers."""
    hedging = Hedging()
    for first_s in first_tokens_s:
        hedging.observe(watched(first_s, gap_s), now=1000.0)
    return hedging


def test_nothing_is_late_before_enough_answers() -> None:
    """The first answers only teach."""
    hedging = taught([1.0] * (ENOUGH_ANSWERS - 1))
    assert hedging.late_at(Watch(5.0)) == float("inf")
    assert hedging.late_first_token_s is None
    hedging.observe(watched(1.0), 2.0)
    assert hedging.late_at(Watch(5.0)) == pytest.approx(6.0)


def test_a_first_token_later_than_98_in_100_is_late() -> None:
    """The threshold is the 98th percentile of the recent first tokens."""
    hedging = taught([number / 10 for number in range(1, 201)])
    assert hedging.late_first_token_s == pytest.approx(19.6)


def test_only_recent_answers_count() -> None:
    """After a slow hour the threshold comes down again."""
    hedging = taught([60.0] * 300 + [1.0] * REMEMBERED_ANSWERS)
    assert hedging.late_first_token_s == 1.0


@pytest.mark.parametrize(("gap_s", "stall_s"), [(0.1, SHORTEST_STALL_S), (0.5, 10.0)])
def test_an_answer_stalls_after_twenty_usual_gaps_and_three_seconds_at_least(gap_s: float, stall_s: float) -> None:
    """Once tokens flow, the time since the last one tells."""
    hedging = taught([1.0] * ENOUGH_ANSWERS, gap_s)
    watch = Watch(10.0)
    watch.came(11.0, 1)
    watch.came(14.0, 2)
    assert hedging.late_at(watch) == pytest.approx(14.0 + stall_s)


def test_one_stalled_answer_does_not_move_the_usual_gap() -> None:
    """The usual gap is a median over answers."""
    hedging = taught([1.0] * ENOUGH_ANSWERS, 0.5)
    hedging.observe(watched(1.0, gap_s=600.0), 2000.0)
    assert hedging.stall_s == pytest.approx(10.0)


def test_a_request_given_up_for_its_hedge_counts_as_late() -> None:
    """Without the ones that were cut off, the late would be missing from what tells late."""
    hedging = taught([1.0] * 95)
    for _ in range(5):
        hedging.observe(Watch(0.0), now=30.0)
    assert hedging.late_first_token_s == 30.0


def test_there_is_nothing_to_spend_before_answers() -> None:
    """There is no start reserve: the first hedge is paid for by answers before it."""
    hedging = Hedging()
    assert not hedging.reserve(1e-9)
    hedging.answered(100.0)
    assert hedging.available == pytest.approx(5.0)
    assert hedging.reserve(4.0)
    assert not hedging.reserve(1.5)


def test_a_hedge_of_unknown_cost_is_not_begun() -> None:
    """What costs nothing by our count can't be kept within a share of nothing."""
    hedging = Hedging()
    hedging.answered(100.0)
    assert not hedging.reserve(0.0)


def test_what_a_hedge_leaves_over_can_be_spent_again() -> None:
    """A hedge that was taken back, or cost less, gives the rest back."""
    hedging = Hedging()
    hedging.answered(100.0)
    assert hedging.reserve(5.0)
    hedging.settle(5.0, 0.0)
    assert hedging.reserve(5.0)
    hedging.settle(5.0, 2.0)
    assert hedging.available == pytest.approx(3.0)


@given(st.lists(st.tuples(st.sampled_from("ahs"), st.floats(0.001, 1e6), st.floats(0, 1)), max_size=80))
def test_hedges_stay_within_their_share_at_every_moment(steps: list[tuple[str, float, float]]) -> None:
    """However answers and hedges follow each other, what hedges cost and may still cost is at most the share."""
    hedging = Hedging()
    open_hedges: list[float] = []
    for step, amount, part in steps:
        if step == "a":
            hedging.answered(amount)
        elif step == "h":
            if hedging.reserve(amount):
                open_hedges.append(amount)
        elif open_hedges:
            reserved = open_hedges.pop()
            hedging.settle(reserved, reserved * part)
        most = hedging.hedges_cost + sum(open_hedges)
        assert most <= COST_SHARE * hedging.answers_cost * (1 + 1e-9) + 1e-9


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=40), st.integers(ENOUGH_ANSWERS, REMEMBERED_ANSWERS + 50))
def test_the_percentile_is_exact(some: list[float], count: int) -> None:
    """The threshold is what sorting the remembered values gives."""
    values = (some * count)[:count]
    recent = sorted(values[-REMEMBERED_ANSWERS:])
    late_s = taught(values).late_first_token_s
    assert late_s is not None
    assert sum(value <= late_s for value in recent) >= 0.98 * len(recent)
    assert sum(value < late_s for value in recent) < 0.98 * len(recent)


def test_a_watch_tells_times_from_sending() -> None:
    """First, last and mean gap are told once they are known."""
    watch = Watch(10.0)
    assert (watch.first_token_s, watch.last_token_s, watch.gap_s) == (None, None, None)
    watch.came(12.0, 1)
    watch.came(12.5, 0)
    assert (watch.first_token_s, watch.last_token_s, watch.gap_s) == (2.0, 2.0, None)
    watch.came(15.0, 3)
    assert (watch.first_token_s, watch.last_token_s, watch.gap_s) == (2.0, 5.0, 1.0)
