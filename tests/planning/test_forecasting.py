"""What virtual runs of a part say of the whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.planning.jobs import job

from wingbeat.forecasting import Depth, Outlook, forecast, look_ahead, quantile
from wingbeat.model.limit import MINUTE_S, REQUESTS, LearntLimit
from wingbeat.report.forecast import Forecast

pytestmark = pytest.mark.slow

SHALLOW = Depth(rows_a_run=600, rows_in_all=1_800)


def planned(rows: int, depth: Depth = SHALLOW, **given: Any) -> Forecast:
    """Forecast a job with little simulated."""
    return forecast(job(rows, **given), depth)[0]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "limits",
    [
        {"rpm": 3_000},
        {"tpm": 400_000, "concurrency": 300},
        {"rpm": 6_000, "tpm": 300_000},
        {"concurrency": 40},
    ],
)
def test_a_part_tells_the_whole(limits: dict[str, float]):
    """What 20,000 rows at most say of 50,000 is within two per cent of playing all 50,000."""
    whole = look_ahead(job(50_000, **limits), Depth(rows_a_run=50_000, rows_in_all=50_000, fewest_runs=1))
    part = look_ahead(job(50_000, **limits), Depth(rows_in_all=30_000))
    assert whole.rehearsals[0].rows == 50_000
    assert part.rehearsals[0].rows <= 20_000
    assert quantile(part.durations_s, 0.5) == pytest.approx(whole.durations_s[0], rel=0.02)
    for counted in ("cost_usd", "input_tokens", "output_tokens"):
        assert _total(part, counted) == pytest.approx(_total(whole, counted), rel=0.02)


def _total(outlook: Outlook, counted: str) -> float:
    return quantile(outlook.total_of(lambda rehearsal: getattr(rehearsal.statistics, counted)), 0.5)


def test_the_quota_decides_how_long():
    """6,000 rows at 600 a minute take ten minutes, and the requests a minute bind."""
    found = planned(6_000, rpm=600, concurrency=50)
    assert found.duration_p50_s == pytest.approx(600, rel=0.02)
    assert found.duration_p50_s <= found.duration_p95_s
    assert found.binding == "requests"
    assert found.rows_simulated == 600
    assert found.reached == found.rows == 6_000


def test_what_would_help_was_simulated():
    """Twice the limit that binds halves the time, and twice as many in flight changes nothing."""
    found = planned(6_000, rpm=600, concurrency=100)
    more, flight = found.what_ifs
    assert (more.changed, more.value) == ("requests", 1_200)
    assert more.duration_s == pytest.approx(found.duration_p50_s / 2, rel=0.03)
    assert flight.changed == "concurrency"
    assert flight.duration_s == pytest.approx(found.duration_p50_s, rel=0.02)


def test_concurrency_binds_where_it_is_low():
    """Where requests in flight bind, twice as many halve the time and more quota does nothing."""
    found = planned(3_000, rpm=5_000, concurrency=5)
    assert found.binding == "concurrency"
    flight, more = found.what_ifs
    assert flight.duration_s == pytest.approx(found.duration_p50_s / 2, rel=0.1)
    assert more.changed == "requests"
    assert more.duration_s == pytest.approx(found.duration_p50_s, rel=0.1)


def test_a_days_quota_spreads_the_run_over_days():
    """2,500 rows at 1,000 a day take three days, the last of them half a one's time."""
    found = planned(2_500, rpd=1_000, rpm=600, concurrency=50)
    assert (found.days, found.rows_a_day, found.binding) == (3, 1_000, "day")
    assert found.duration_p50_s == pytest.approx(2 * 86_400 + found.day_s / 2, rel=0.01)
    assert found.what_ifs[0].days == 2


def test_a_budget_ends_the_run_before_its_rows():
    """Where the money ends first, it says after how many rows, and the sum that reaches all does."""
    found = planned(5_000, max_cost=0.5)
    assert found.binding == "budget"
    assert 300 < found.reached < 600
    assert found.cost_p50_usd == pytest.approx(0.5, rel=0.05)
    assert found.what_ifs[0].rows == 5_000


def test_a_budget_beyond_what_is_simulated_is_reckoned():
    """A budget that ends long after the simulated part still ends the run."""
    found = planned(50_000, max_cost=10.0)
    assert found.binding == "budget"
    assert found.reached == pytest.approx(10.0 / (100 * 0.3e-6 + 400 * 2.5e-6), rel=0.05)


def test_a_budget_that_suffices_is_no_bottleneck():
    """A generous budget changes nothing."""
    found = planned(1_000, max_cost=1_000.0, rpm=300, concurrency=50)
    assert found.binding == "requests"
    assert found.reached == 1_000


def test_a_learnt_limit_binds_like_a_given_one():
    """A run that starts from a limit of earlier runs is held up by that limit, and told what more of it would do."""
    learnt = LearntLimit(REQUESTS, 300.0, MINUTE_S, origin="told")
    given = job(900)
    found, _ = forecast(msgspec.structs.replace(given, setting=msgspec.structs.replace(given.setting, start=(learnt,))))
    assert found.binding == "requests"
    assert found.what_ifs[0].changed == "requests"
    assert found.what_ifs[0].value == 600.0


def test_a_few_rows_take_as_long_as_the_slowest_reply():
    """Nothing binds what fits in the quota at once."""
    found = planned(10, rpm=1_000)
    assert found.binding == "replies"
    assert found.rows_simulated == 10
    assert found.peak_in_flight == 10
    assert found.duration_p50_s < 15


def test_rows_larger_than_a_minutes_tokens_are_said_to_fail():
    """A row that can never fit is counted, not waited for."""
    found = planned(60, mean=800.0, tpm=2_000)
    assert found.too_large > 0


def test_the_most_that_answers_can_cost_is_told_where_they_have_a_limit():
    """Every answer at its limit is the dearest that the run can be."""
    assert planned(300, rpm=6_000, concurrency=50).cost_most_usd is None
    limited = planned(300, rpm=6_000, concurrency=50, most_output=1_000)
    assert limited.cost_most_usd == pytest.approx(300 * (100 * 0.3e-6 + 1_000 * 2.5e-6), rel=0.1)
    assert limited.cost_p95_usd is not None
    assert limited.cost_p95_usd < limited.cost_most_usd


def test_an_unknown_model_borrows_a_latency_and_says_so():
    """A model that the catalogue does not know is planned with another's latency."""
    assert planned(20, model="gemini-9-future", rpm=100).assumptions.latency_of_another
    assert not planned(20, rpm=100).assumptions.latency_of_another
    assert not planned(20, model="gemini-flash-latest", rpm=100).assumptions.latency_of_another


def test_the_course_ends_where_the_forecast_does():
    """The drawn run has the whole run's length and answers, and says which stretch was not simulated."""
    found, course = forecast(job(6_000, rpm=600, concurrency=50), SHALLOW)
    assert course.answered[-1] == 6_000
    assert course.at_s[-1] == pytest.approx(course.duration_s, abs=1.0)
    assert course.duration_s == pytest.approx(found.duration_p50_s, rel=0.02)
    assert course.gap is not None
    assert course.gap[1] - course.gap[0] > 0.8 * course.duration_s
    assert max(course.use["requests/min"]) == pytest.approx(1.0, abs=0.02)


def test_a_whole_run_has_no_gap():
    """What was simulated to its end is drawn as it went."""
    assert forecast(job(300, rpm=600, concurrency=50), SHALLOW)[1].gap is None


def test_quantiles_lie_on_the_line_between_neighbours():
    """The median of an even number is the mean of the middle two."""
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile([5.0], 0.95) == 5.0
