"""Hedging as a run says it: in its plan, and at its end."""

from __future__ import annotations

import msgspec
import pytest

from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.limits import Limits
from wingbeat.report.plan import Plan, make_plan, plan_lines
from wingbeat.report.summary import Summary, summary_lines


def planned(*, hedge: bool) -> Plan:
    """Return the plan of a run."""
    return make_plan(
        source="in.jsonl",
        route="gemini/gemini-2.5-flash",
        rows=10,
        answered=0,
        failed=0,
        to_ask=10,
        faulty=0,
        input_tokens=100.0,
        max_output_tokens=None,
        limits=Limits(hedge=hedge),
        prices=None,
    )


def test_the_plan_says_what_hedging_may_cost() -> None:
    """A plan names the most that hedges cost, and says nothing where there are none."""
    assert ("hedging", "on, at most 5 % more cost") in plan_lines(planned(hedge=True))
    assert "hedging" not in dict(plan_lines(planned(hedge=False)))


def test_the_summary_says_what_hedges_did_and_cost() -> None:
    """Hedges, those that won, and their share of the cost are in the summary and in its event."""
    total = Statistics()
    statistics = Statistics(1000, total=total)
    for number in range(12):
        statistics.count_hedge()
        statistics.count_race(1.0, 0.15, hedge_won=number < 9)
    statistics.count_race(88.0, 0.0, hedge_won=False)
    summary = Summary.of(statistics, 10.0, "gemini/gemini-2.5-flash", None)
    assert ("hedged", "12 (9 won), +1.8 % cost") in summary_lines(summary)
    event = msgspec.to_builtins(summary)
    assert (event["hedged"], event["hedges_won"], event["hedges_share"]) == (12, 9, pytest.approx(0.018))
    assert (total.hedged, total.hedges_won, total.hedges_share) == (12, 9, pytest.approx(0.018))


def test_a_run_without_hedges_does_not_speak_of_them() -> None:
    """Where nothing was hedged the summary has no such line."""
    summary = Summary.of(Statistics(10), 1.0, "gemini/gemini-2.5-flash", None)
    assert "hedged" not in dict(summary_lines(summary))
    assert Statistics().hedges_share == 0.0
