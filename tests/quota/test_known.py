"""The engine with known limits against servers of every kind: a short version of rows 1 to 7 and 11 of the bench."""

from __future__ import annotations

import pytest
from benchmarks.quota import fairness
from benchmarks.quota.measuring import measure
from benchmarks.quota.scenario import Scenario
from benchmarks.quota.scenarios import named
from benchmarks.quota.table import missed_bars

pytestmark = pytest.mark.slow


def short(name: str, minutes: float = 6.0) -> Scenario:
    """Return a scenario of the bench, as short as it can be."""
    return named(name).shortened(minutes)


@pytest.mark.parametrize(
    "name",
    [
        "bucket, 10 rpm",
        "bucket, 1,000 rpm",
        "fixed 60 s, 60 rpm",
        "fixed 60 s, 1,000 rpm",
        "sliding log, 60 rpm, bad",
        "sliding log, 1,000 rpm, lan",
        "sliding log, 1,000 rpm, bad",
        "sliding counter, 1,000 rpm",
        "bucket n/60, 1,000 rpm",
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_known_limit_is_used_up_and_never_passed(name: str, seed: int) -> None:
    """All but the spread of delays is used, nothing is refused, and no minute holds more than the limit."""
    measured = measure(short(name), seed)
    assert measured.used >= 0.99
    assert measured.refusals == 0
    assert measured.violations == 0
    assert measured.lost == 0


@pytest.mark.parametrize(
    "name",
    [
        "600 rpm and 1.2 M tpm, bucket",
        "600 rpm and 1.61 M tpm, sliding log",
        "prompts to 30 % of 1 M tpm, fixed 60 s",
        "output tokens counted as produced, across a shift",
        "told to wait for 30 s, 6,000 rpm",
    ],
)
def test_bars_are_met(name: str) -> None:
    """Two limits at once, large prompts, answers of unknown length and a told pause keep to the bars of the bench."""
    scenario = short(name, 12.0 if "shift" in name else 7.0)
    assert missed_bars(scenario.bar, [measure(scenario, 1)]) == []


def test_a_brown_out_costs_little_and_loses_nothing() -> None:
    """A minute of failures takes a tenth of the usual requests at most, and half a minute after it all is as before."""
    measured = measure(short("brown-out of a minute, 1,000 rpm", 14.0), 1)
    assert measured.lost == 0
    assert measured.wasted is not None
    assert measured.wasted <= 0.1
    assert measured.recoveries[0].seconds is not None
    assert measured.recoveries[0].seconds <= 30.0


def test_flows_get_their_weights() -> None:
    """Three flows of different sizes get 1:2:4 of the quota, within half a point, and none is refused."""
    parts, refusals = fairness.shares(1)
    whole = sum(weight for weight, _ in fairness.SIZES.values())
    assert refusals == 0
    for name, (weight, _tokens) in fairness.SIZES.items():
        assert parts[name] == pytest.approx(weight / whole, abs=fairness.MOST_OFF)


def test_whoever_waits_for_an_answer_is_served_beside_a_backlog() -> None:
    """Of an interactive caller's requests 99 of 100 go within seconds beside a backlog that never ends."""
    waits = fairness.interactive_waits(1)
    assert len(waits) > 300
    assert waits[int(len(waits) * 0.99)] <= 2 * fairness.MOST_WAIT_S
