"""What the plan says before anything is sent."""

from __future__ import annotations

import pytest

from wingbeat.ledgers.limits import Limits
from wingbeat.report.plan import budget_text


@pytest.mark.parametrize(
    ("most_output_tokens", "said"), [(None, "an answer is longer than all before it"), (100, "error of the input")]
)
def test_the_plan_says_how_surely_a_budget_is_kept(most_output_tokens: int | None, said: str) -> None:
    """Money is set aside before each request; what may be passed all the same is the request's own uncertainty."""
    assert said in budget_text(Limits(max_cost=2.0), most_output_tokens)


def test_without_a_budget_nothing_is_said_of_one() -> None:
    """No budget, no line."""
    assert budget_text(Limits(), None) == ""
