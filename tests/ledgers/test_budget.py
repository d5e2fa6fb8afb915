"""Money set aside, settled, and never passed."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.ledgers.budget import Budget


@pytest.mark.parametrize("limit", [0.0, -1.0, nan])
def test_a_limit_must_be_above_zero(limit: float) -> None:
    """Nothing, less than nothing and not a number are no limits."""
    with pytest.raises(ValueError, match="above zero"):
        Budget(limit)


def test_without_a_limit_everything_is_granted() -> None:
    """No limit refuses nothing and still counts."""
    budget = Budget()
    assert budget.reserve(1e9)
    budget.settle(1e9, 3.0)
    assert (budget.spent_usd, budget.reserved_usd) == (3.0, 0.0)


def test_the_whole_limit_can_be_used() -> None:
    """Ten dimes fit into a dollar in spite of rounding, and an eleventh does not."""
    budget = Budget(1.0)
    assert all(budget.reserve(0.1) for _ in range(10))
    assert not budget.reserve(0.1)


def test_what_an_earlier_run_spent_counts() -> None:
    """A resumed run starts with what is left."""
    assert not Budget(1.0, spent_usd=0.95).reserve(0.1)


def test_an_infinite_request_is_refused() -> None:
    """A request of unbounded price fits no budget."""
    assert not Budget(1.0).reserve(inf)


@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 1), st.booleans()), max_size=100))
def test_spent_and_set_aside_never_pass_the_limit(moves: list[tuple[float, float, bool]]) -> None:
    """As long as no answer costs more than was set aside for it, the limit holds at every moment."""
    budget, out = Budget(2.0), []
    for amount, share, settle in moves:
        if budget.reserve(amount):
            out.append((amount, share))
        if settle and out:
            reserved, part = out.pop()
            budget.settle(reserved, reserved * part)
        assert budget.spent_usd + budget.reserved_usd <= 2.0 + 1e-9
        assert budget.reserved_usd == pytest.approx(sum(each for each, _ in out), abs=1e-9)
