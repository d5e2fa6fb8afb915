"""What a rehearsed run has shown, and how it is said. Whatever stands here was simulated, and says so."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, assert_never

import msgspec

from wingbeat.report.plan import Plan, plan_lines
from wingbeat.report.words import count, duration, money

Binding: TypeAlias = Literal["requests", "tokens", "output", "day", "concurrency", "budget", "service", "replies"]
"""What keeps a run from being faster: a limit a minute, the day's, requests in flight, money, a service that is down,
or nothing but the time that replies take."""

SAME_WITHIN = 0.03
"""A change that shortens a run by less is said to change nothing: two seeds differ by as much."""


class Moment(NamedTuple):
    """How a virtual run stood at one time; ``accepted`` and ``accepted_tokens`` are counted from its start."""

    at_s: float
    in_flight: int
    answered: int
    accepted: int
    accepted_tokens: int
    binding: Binding


class Course(msgspec.Struct, frozen=True):
    """
    A planned run over time, to be drawn.

    Args:
        duration_s: From start to end.
        at_s: Times.
        in_flight: Requests in flight at each.
        answered: Rows answered by each.
        use: For each limit a minute, the part of it that the last minute took, at each time.
        gap: From when to when the run was not simulated but goes on at its pace, or None.
        days: Days that are like this one, this one included.
    """

    duration_s: float
    at_s: tuple[float, ...]
    in_flight: tuple[int, ...]
    answered: tuple[int, ...]
    use: dict[str, tuple[float, ...]]
    gap: tuple[float, float] | None = None
    days: int = 1


class WhatIf(msgspec.Struct, frozen=True):
    """
    The same run with one limit changed, simulated too.

    Args:
        changed: Which limit; ``all`` when all were.
        value: Its new value, or None when several have changed.
        duration_s: How long it would take.
        days: On how many days.
        rows: Rows that it would reach.
        binding: What would bind then.
    """

    changed: Binding | Literal["all"]
    value: float | None
    duration_s: float
    days: int
    rows: int
    binding: Binding


class Assumptions(msgspec.Struct, frozen=True):
    """
    What is taken for true without being known of this run.

    Args:
        latency_model: Whose latency it is.
        latency_basis: What it rests on.
        latency_checked: Date of that.
        latency_of_another: Whether the model asked for is unknown, and another's latency was taken.
        output_tokens: Mean tokens of an answer, before any limit.
        output_given: Whether the user has said so.
    """

    latency_model: str
    latency_basis: str
    latency_checked: str
    latency_of_another: bool
    output_tokens: float
    output_given: bool


class Forecast(msgspec.Struct, frozen=True):
    """
    What a run will take, by virtual runs of it.

    Args:
        duration_p50_s: Time to the last answer, that half of the virtual runs keep within; days without work included.
        duration_p95_s: The same for 19 of 20.
        days: On how many days there are requests to send.
        day_s: How long a day's requests take.
        rows: Rows to ask.
        reached: Rows that will have an outcome; fewer than ``rows`` only where the budget ends before them.
        rows_a_day: Rows asked on each day but the last.
        too_large: Rows that fail without being sent, since they exceed a minute's tokens.
        refused: Requests that the service would refuse for quota.
        input_tokens: Tokens of the prompts.
        output_tokens: Tokens of the answers.
        cost_p50_usd: Cost, or None when no price is known.
        cost_p95_usd: The same for 19 of 20.
        cost_most_usd: Cost if every answer were as long as it may be, or None when nothing limits it.
        peak_in_flight: Most requests at once.
        shares: What bound, by part of the time.
        binding: What bound most.
        what_ifs: Runs with other limits.
        rows_simulated: Rows of each virtual run.
        runs: Virtual runs.
        limits_known: Whether any limit by the minute or the day is known.
        assumptions: What was taken for true.
        simulated: Always true: nothing was sent.
    """

    duration_p50_s: float
    duration_p95_s: float
    days: int
    day_s: float
    rows: int
    reached: int
    rows_a_day: int
    too_large: int
    refused: int
    input_tokens: float
    output_tokens: float
    cost_p50_usd: float | None
    cost_p95_usd: float | None
    cost_most_usd: float | None
    peak_in_flight: int
    shares: dict[Binding, float]
    binding: Binding
    what_ifs: tuple[WhatIf, ...]
    rows_simulated: int
    runs: int
    limits_known: bool
    assumptions: Assumptions
    simulated: bool = True


def forecast_lines(plan: Plan, forecast: Forecast) -> list[tuple[str, str]]:
    """Return plan and forecast as (name, text) lines: what is known first, what was simulated then."""
    lines = [line for line in plan_lines(plan) if line[0] in ("input", "route", "limits")]
    if not forecast.limits_known:
        unknown = _unknown_limits_text(forecast)
        lines = [("limits", unknown) if name == "limits" else (name, text) for name, text in lines]
    lines.append(("tokens", _tokens_text(forecast)))
    lines.append(("time", _time_text(forecast)))
    lines.append(("cost", _cost_text(forecast, plan.price_source)))
    lines.append(("peak", f"{forecast.peak_in_flight:,} in flight, simulated{_refused_text(forecast)}"))
    lines.append(("bound", binding_text(forecast)))
    if forecast.too_large:
        share = f"about {forecast.too_large:,} rows are larger than a minute's tokens"
        lines.append(("fails", f"{share}: they fail without being sent"))
    lines.append(("how", how_text(forecast)))
    lines.append(("assumed", assumptions_text(forecast.assumptions)))
    return lines


def _unknown_limits_text(forecast: Forecast) -> str:
    first = f"no limit is known: planned with the first {forecast.peak_in_flight:,} in flight only"
    return f"{first}; run `wingbeat probe` to find it, or give --rpm and --tpm"


def _tokens_text(forecast: Forecast) -> str:
    assumed = forecast.assumptions
    source = "as you expect" if assumed.output_given else "assumed"
    each = f"{assumed.output_tokens:,.0f} an answer, {source}"
    return f"about {count(forecast.input_tokens)} in, by the texts' size; {count(forecast.output_tokens)} out ({each})"


def _time_text(forecast: Forecast) -> str:
    if forecast.days == 1:
        return f"{spread(duration(forecast.duration_p50_s), duration(forecast.duration_p95_s))}, simulated"
    each = duration(forecast.day_s)
    days = f"{forecast.days:,} days of {each}" if forecast.day_s < 86_400 else f"{forecast.days:,} runs of {each}"
    again = f"the same command on {forecast.days:,} days; the last answer after {duration(forecast.duration_p50_s)}"
    return f"{days} each, simulated: {again}"


def _cost_text(forecast: Forecast, source: str | None) -> str:
    if forecast.cost_p50_usd is None or forecast.cost_p95_usd is None:
        return "no price is known for this model"
    text = f"about {spread(money(forecast.cost_p50_usd), money(forecast.cost_p95_usd))}, simulated"
    if forecast.cost_most_usd is not None:
        text += f"; at most {money(forecast.cost_most_usd)}, were every answer as long as it may be"
    return f"{text} ({source})"


def _refused_text(forecast: Forecast) -> str:
    return f"; about {forecast.refused:,} requests refused for quota" if forecast.refused else "; none refused"


def spread(middle: str, high: str) -> str:
    """Return a median with its 95th percentile, or once what both come to."""
    return middle if middle == high else f"{middle} (p95 {high})"


def binding_text(forecast: Forecast) -> str:
    """Say what binds, and what was found to change that."""
    share = forecast.shares.get(forecast.binding, 0.0)
    if forecast.binding == "budget" and forecast.reached < forecast.rows:
        text = f"the budget ends after about {forecast.reached:,} of {forecast.rows:,} rows"
    elif forecast.binding == "service" and forecast.reached < forecast.rows:
        text = f"the service stops the run after about {forecast.reached:,} of {forecast.rows:,} rows"
    elif forecast.binding == "day":
        text = f"{_NAMES['day']} bind: all of a day's rows are done after {duration(forecast.day_s)}"
    elif forecast.binding == "replies":
        text = (
            "nothing binds but the replies' own time"
            if share > 0.995
            else f"the replies' own time is {share:.0%} of it"
        )
    else:
        binds = "binds" if forecast.binding == "budget" else "bind"
        text = f"{_NAMES[forecast.binding]} {binds} {share:.0%} of the time"
    found = "; ".join(_what_if_text(each, forecast) for each in forecast.what_ifs)
    return f"{text}: {found}" if found else text


_NAMES: dict[Binding, str] = {
    "requests": "requests/min",
    "tokens": "input tokens/min",
    "output": "output tokens/min",
    "day": "the limits of the day",
    "concurrency": "requests in flight",
    "budget": "the budget",
    "service": "a service that is down",
    "replies": "replies",
}


def _what_if_text(what_if: WhatIf, forecast: Forecast) -> str:
    subject = _changed_text(what_if)
    if what_if.days != forecast.days:
        return f"{subject} would take {what_if.days:,} {'day' if what_if.days == 1 else 'days'}"
    if what_if.rows > forecast.reached:
        return f"{subject} would reach {what_if.rows:,} rows, in {duration(what_if.duration_s)}"
    if what_if.duration_s > forecast.duration_p50_s * (1 - SAME_WITHIN):
        return f"{subject} would change nothing"
    then = "" if what_if.binding == what_if.changed else f" (then {_NAMES[what_if.binding]} bind)"
    return f"{subject} would take {duration(what_if.duration_s)}{then}"


def _changed_text(what_if: WhatIf) -> str:
    value = 0.0 if what_if.value is None else what_if.value
    match what_if.changed:
        case "all":
            return "twice all limits"
        case "day":
            return f"{count(value)} requests/day"
        case "requests" | "tokens" | "output":
            return f"{count(value)} {_NAMES[what_if.changed]}"
        case "concurrency":
            return f"{count(value)} in flight"
        case "budget":
            return money(value)
        case "service" | "replies":
            return _NAMES[what_if.changed]
        case never:
            assert_never(never)


def how_text(forecast: Forecast) -> str:
    """Say what was simulated and what was reckoned from it."""
    times = {1: "once", 2: "twice"}.get(forecast.runs, f"{forecast.runs:,} times")
    rows = f"{forecast.rows_simulated:,} {'row' if forecast.rows_simulated == 1 else 'rows'}"
    if forecast.rows_simulated < forecast.rows_a_day:
        of = "all" if forecast.days == 1 else f"a day's {forecast.rows_a_day:,}"
        drawn = f"{rows}, drawn evenly from {of}, simulated {times} in virtual time"
        return f"{drawn}; the rest at their pace; nothing was sent"
    if forecast.days > 1:
        return f"a day's {rows} simulated {times} in virtual time, the other days alike; nothing was sent"
    return f"all {rows} simulated {times} in virtual time; nothing was sent"


def assumptions_text(assumed: Assumptions) -> str:
    """Say what is not known but taken for true."""
    basis = f"{assumed.latency_basis}; checked {assumed.latency_checked}"
    latency = f"latency of {assumed.latency_model} ({basis})"
    if assumed.latency_of_another:
        latency += ", since this model's is unknown"
    lengths = "" if assumed.output_given else "answers' lengths (--expect-output-tokens says better); "
    return f"{latency}; {lengths}a service that allows what the limits say, and never fails"


def picture_title(plan: Plan, forecast: Forecast) -> tuple[str, str]:
    """Return the title of the picture of a planned run, and what stands below it."""
    title = f"{forecast.reached:,} {'row' if forecast.reached == 1 else 'rows'}, planned: "
    title += f"{forecast.days:,} days like this one" if forecast.days > 1 else duration(forecast.duration_p50_s)
    how = how_text(forecast).replace("the rest at their pace", "the rest at their pace (hatched)")
    return title, f"{plan.route}, {plan.limits}; {how}"
