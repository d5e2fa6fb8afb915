"""How a forecast is said."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from wingbeat.report.forecast import (
    Assumptions,
    Forecast,
    WhatIf,
    binding_text,
    forecast_lines,
    how_text,
    picture_title,
    spread,
)
from wingbeat.report.plan import Plan

PLAN = Plan(
    source="in.jsonl",
    route="gemini/gemini-2.5-flash",
    rows=1_000,
    answered=0,
    failed=0,
    to_ask=1_000,
    faulty=0,
    input_tokens=100_000.0,
    output_tokens=None,
    output_basis="",
    cost_usd=1.0,
    price_source="genai-prices, as of today",
    shortest_s=100.0,
    limits="600 requests/min, 600 in flight",
)

FORECAST = Forecast(
    duration_p50_s=100.0,
    duration_p95_s=110.0,
    days=1,
    day_s=100.0,
    rows=1_000,
    reached=1_000,
    rows_a_day=1_000,
    too_large=0,
    refused=0,
    input_tokens=100_000.0,
    output_tokens=400_000.0,
    cost_p50_usd=1.03,
    cost_p95_usd=1.05,
    cost_most_usd=None,
    peak_in_flight=40,
    shares={"requests": 0.93, "replies": 0.07},
    binding="requests",
    what_ifs=(
        WhatIf("requests", 1_200.0, 52.0, 1, 1_000, "requests"),
        WhatIf("concurrency", 1_200.0, 99.0, 1, 1_000, "requests"),
    ),
    rows_simulated=1_000,
    runs=20,
    limits_known=True,
    assumptions=Assumptions("gemini-2.5-flash", "recorded", "2026-11-22", False, 400.0, False),
)


def changed(**values: Any) -> Forecast:
    """Return the forecast with other values."""
    return msgspec.structs.replace(FORECAST, **values)


def test_the_lines_tell_time_cost_peak_and_what_binds():
    """Each fact has its line, and what was simulated is called so."""
    lines = dict(forecast_lines(PLAN, FORECAST))
    assert list(lines) == ["input", "route", "limits", "tokens", "time", "cost", "peak", "bound", "how", "assumed"]
    assert lines["time"] == "1 min 40 s (p95 1 min 50 s), simulated"
    assert lines["cost"] == "about $1.03 (p95 $1.05), simulated (genai-prices, as of today)"
    assert lines["peak"] == "40 in flight, simulated; none refused"
    assert "400 an answer, assumed" in lines["tokens"]
    assert "nothing was sent" in lines["how"]
    assert "checked 2026-11-22" in lines["assumed"]


def test_the_sentence_says_what_would_help_and_what_would_not():
    """A change that shortens the run is told with its time; one that does not, as nothing."""
    assert binding_text(FORECAST) == (
        "requests/min bind 93% of the time: 1,200 requests/min would take 52 s; 1,200 in flight would change nothing"
    )


def test_what_binds_next_is_told():
    """A change after which something else binds says what."""
    then = changed(what_ifs=(WhatIf("requests", 1_200.0, 80.0, 1, 1_000, "tokens"),))
    assert "would take 1 min 20 s (then input tokens/min bind)" in binding_text(then)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"binding": "replies", "shares": {"replies": 1.0}, "what_ifs": ()}, "nothing binds but the replies' own time"),
        ({"binding": "replies", "shares": {"replies": 0.6}, "what_ifs": ()}, "the replies' own time is 60% of it"),
        ({"binding": "budget", "reached": 400, "what_ifs": ()}, "the budget ends after about 400 of 1,000 rows"),
        (
            {"binding": "service", "reached": 20, "what_ifs": ()},
            "the service stops the run after about 20 of 1,000 rows",
        ),
        (
            {"binding": "budget", "reached": 400, "what_ifs": (WhatIf("budget", 2.5, 99.0, 1, 1_000, "requests"),)},
            "$2.50 would reach 1,000 rows",
        ),
        (
            {"binding": "day", "days": 4, "what_ifs": (WhatIf("day", 500.0, 99.0, 2, 1_000, "day"),)},
            "500 requests/day would take 2 days",
        ),
    ],
)
def test_every_bottleneck_has_its_sentence(values: dict[str, Any], told: str):
    """Money, days, a service that stops and plain latency are each said in their own words."""
    assert told in binding_text(changed(**values))


def test_days_are_told_with_the_time_of_each():
    """A run over days says how long each takes and when the last answer comes."""
    over_days = changed(days=3, day_s=600.0, duration_p50_s=2 * 86_400.0 + 300.0, rows_a_day=400, rows_simulated=400)
    lines = dict(forecast_lines(PLAN, over_days))
    assert lines["time"].startswith("3 days of 10 min 00 s each, simulated")
    assert "the last answer after 2 d 0 h" in lines["time"]
    assert how_text(over_days).startswith("a day's 400 rows simulated 20 times")


def test_what_was_not_simulated_is_said():
    """A part that stands for the whole is never silently taken for it."""
    part = changed(rows_simulated=100, runs=2)
    assert how_text(part) == (
        "100 rows, drawn evenly from all, simulated twice in virtual time; the rest at their pace; nothing was sent"
    )
    assert "(hatched)" in picture_title(PLAN, part)[1]
    assert "(hatched)" not in picture_title(PLAN, FORECAST)[1]


def test_an_unknown_limit_is_no_limit_that_is_kept():
    """Without any limit the plan says how many in flight it rests on, and what finds the limit."""
    lines = dict(forecast_lines(PLAN, changed(limits_known=False)))
    assert lines["limits"].startswith("no limit is known: planned with the first 40 in flight only")
    assert "wingbeat probe" in lines["limits"]


def test_a_borrowed_latency_is_called_so():
    """A latency of another model is not passed off as this one's."""
    borrowed = msgspec.structs.replace(FORECAST.assumptions, latency_of_another=True)
    assert "since this model's is unknown" in dict(forecast_lines(PLAN, changed(assumptions=borrowed)))["assumed"]


def test_an_expected_length_is_no_assumption():
    """What the user said of the answers' length is told as theirs."""
    lines = dict(
        forecast_lines(PLAN, changed(assumptions=msgspec.structs.replace(FORECAST.assumptions, output_given=True)))
    )
    assert "as you expect" in lines["tokens"]
    assert "--expect-output-tokens" not in lines["assumed"]


def test_rows_that_can_never_fit_and_refusals_are_told():
    """What will fail or be refused stands among the facts."""
    lines = dict(forecast_lines(PLAN, changed(too_large=3, refused=7, cost_most_usd=9.0)))
    assert lines["fails"].startswith("about 3 rows are larger than a minute's tokens")
    assert "about 7 requests refused" in lines["peak"]
    assert "at most $9.00" in lines["cost"]


def test_no_price_gives_no_cost():
    """A model without a price has no cost, not one of zero."""
    unpriced = changed(cost_p50_usd=None, cost_p95_usd=None)
    assert dict(forecast_lines(PLAN, unpriced))["cost"] == "no price is known for this model"


def test_a_spread_that_does_not_show_is_said_once():
    """Median and 95th percentile that read alike are one."""
    assert spread("5 s", "5 s") == "5 s"
    assert spread("5 s", "6 s") == "5 s (p95 6 s)"
