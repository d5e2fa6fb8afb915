"""Small versions of the capacity bench: the production engine finds out how much a server without a quota bears."""

from __future__ import annotations

import pytest
from benchmarks.quota.batching import MODELS, keep_in_flight
from benchmarks.quota.capacity import run_capacity, table


@pytest.mark.slow
@pytest.mark.parametrize(("model", "used"), [("B", 0.93), ("C", 0.85)])
def test_a_server_is_used_well(model: str, used: float) -> None:
    """Told nothing, the engine uses nearly all of what the best fixed number would, and nothing times out."""
    result = run_capacity(model, 1, 10.0)
    assert result.used >= used
    assert result.timeouts == 0


@pytest.mark.slow
def test_a_lost_pod_is_noticed() -> None:
    """When half the capacity goes, fewer are soon in flight, and nothing times out."""
    result = run_capacity("B", 2, 7.0, lose_pod_at_s=300.0)
    assert result.limits[-1] <= 1.3 * result.best.in_flight < result.limits[59]
    assert result.timeouts == 0


@pytest.mark.slow
def test_a_run_repeats() -> None:
    """The same seed gives the same run."""
    assert run_capacity("C", 3, 5.0) == run_capacity("C", 3, 5.0)


@pytest.mark.parametrize("in_flight", [16, 64])
def test_the_server_works_in_proportion_below_its_edge(in_flight: int) -> None:
    """On a server whose step is nearly all weights, twice as many in flight give nearly twice as much."""
    model = MODELS["B"]
    once = keep_in_flight(model, in_flight, seconds=60.0).tokens_per_s
    assert keep_in_flight(model, 2 * in_flight, seconds=60.0).tokens_per_s > 1.5 * once


def test_results_are_told_in_a_table() -> None:
    """Each result is one line under the headings."""
    result = run_capacity("C", 1, 4.5)
    assert len(table([result, result]).splitlines()) == 3
