"""The account of one span, against a list of everything that was ever spent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.ledgers.window import WindowLedger

SPAN_S = 60.25
GRAIN_S = SPAN_S / 1024


def test_what_fits_goes_at_once() -> None:
    """Units within the limit are due now."""
    assert WindowLedger(10, 60).earliest(5.0, 10) == 5.0


def test_room_comes_when_old_spending_leaves_the_span() -> None:
    """The earliest time is that at which enough of the oldest spending is one span old."""
    ledger = WindowLedger(10, 60)
    ledger.commit(0.0, 4)
    ledger.commit(10.0, 6)
    assert (ledger.earliest(20.0, 4), ledger.earliest(20.0, 5)) == (60.0, 70.0)


def test_more_than_the_limit_waits_for_an_empty_span() -> None:
    """A cost above the limit is due once nothing else is counted, and never blocks for ever."""
    ledger = WindowLedger(10, 60)
    ledger.commit(3.0, 1)
    assert ledger.earliest(4.0, 50) == 63.0
    assert ledger.earliest(63.0, 50) == 63.0


def test_settling_down_makes_room() -> None:
    """Units that were not needed are free again at once."""
    ledger = WindowLedger(10, 60)
    entry = ledger.commit(0.0, 10)
    ledger.settle(entry, -7)
    assert ledger.earliest(1.0, 7) == 1.0


def test_settling_up_takes_room() -> None:
    """Units that were needed beyond the estimate are counted."""
    ledger = WindowLedger(10, 60)
    ledger.settle(ledger.commit(0.0, 1), 9)
    assert ledger.earliest(1.0, 1) == 60.0


def test_settling_what_has_left_changes_nothing() -> None:
    """A reply that comes after its request has left the span leaves the sum alone."""
    ledger = WindowLedger(10, 60)
    entry = ledger.commit(0.0, 5)
    ledger.commit(59.0, 5)
    ledger.advance(61.0)
    ledger.settle(entry, 100)
    assert ledger.total == 5


def test_memory_is_bounded() -> None:
    """However much is spent, the sum is that of one span, within the grain."""
    ledger = WindowLedger(1e9, 10)
    for step in range(20_000):
        ledger.advance(step / 1000)
        ledger.commit(step / 1000, 1)
    assert 10_000 <= ledger.total <= 10_000 + 2 * 10_000 / 1024


steps = st.lists(
    st.tuples(
        st.sampled_from(["spend", "spend", "spend", "settle", "idle"]),
        st.floats(0, 40),
        st.floats(0.1, 30),
        st.integers(0, 200),
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(steps)
def test_the_account_is_that_of_a_list_of_all_spending(sequence: list[tuple[str, float, float, int]]) -> None:
    """Obeyed, the sum in no span passes the limit; nothing is due too early, nor later than the grain allows."""
    limit = 50.0
    ledger = WindowLedger(limit, SPAN_S)
    spent: list[list[float]] = []
    entries = []
    now = 0.0

    def used(at: float) -> float:
        return sum(cost for time, cost in spent if time > at - SPAN_S + 1e-9)

    for kind, gap, cost, which in sequence:
        now += gap / 10 if kind == "spend" else gap
        if kind == "spend":
            due = ledger.earliest(now, cost)
            assert due >= now
            assert used(due) + cost <= limit + 1e-6, "too early"
            if due - 2 * GRAIN_S > now:
                assert used(due - 2 * GRAIN_S) + cost > limit - 1e-6, "too late"
            now = due
            ledger.advance(now)
            entries.append((len(spent), ledger.commit(now, cost)))
            spent.append([now, cost])
        elif kind == "settle" and entries:
            index, entry = entries[which % len(entries)]
            # Down only: what turns out dearer than estimated may rightly pass the limit.
            change = -spent[index][1] * 0.5
            if spent[index][0] > now - SPAN_S + 2 * GRAIN_S:
                ledger.advance(now)
                ledger.settle(entry, change)
                spent[index][1] += change
        ledger.advance(now)
        exact = used(now)
        assert exact - 1e-6 <= ledger.total
        assert ledger.total <= sum(c for t, c in spent if t > now - SPAN_S - 2 * GRAIN_S) + 1e-6


@pytest.mark.parametrize("settled", [False, True])
def test_nothing_is_lost_or_invented(settled: bool) -> None:
    """After everything has left the span, the sum is exactly nothing."""
    ledger = WindowLedger(10, 60)
    for step in range(100):
        entry = ledger.commit(step * 0.1, 0.1)
        if settled:
            ledger.settle(entry, 0.2)
    ledger.advance(1000.0)
    assert ledger.total == 0.0
