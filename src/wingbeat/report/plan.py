"""What a run will take, said before it spends anything."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wingbeat.ledgers.concurrency import START
from wingbeat.ledgers.estimate import OUTPUT_START_TOKENS
from wingbeat.ledgers.hedge import COST_SHARE
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.prices import Prices
from wingbeat.ledgers.quota import SMALL_JOB_WINDOWS
from wingbeat.ledgers.rate import JITTER_S, START_RATIO
from wingbeat.model.limit import INPUT_TOKENS, MINUTE_S, REQUESTS
from wingbeat.report.learning import Basis, basis_text
from wingbeat.report.words import count, duration, money

WINDOW_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    """
    What a run will take.

    Args:
        source: The input's name.
        route: Route and model.
        rows: Rows of the input, or None when it can be read only once.
        answered: Rows answered already.
        failed: Rows that failed already and are not asked again.
        to_ask: Rows that will be asked, or None when unknown.
        faulty: Rows that can't be asked.
        input_tokens: Estimated input tokens, or None when unknown.
        output_tokens: Output tokens that the cost is reckoned with, or None when unknown.
        output_basis: Where ``output_tokens`` comes from.
        cost_usd: Estimated cost, or None when there is no price or nothing is known.
        price_source: Where the prices come from, or None.
        shortest_s: The shortest time that the limits allow, or None when no limit is known.
        limits: What may be used, in words.
        known: What is known of the service's limits although it was not given, and from where, in words.
        hedge: Whether late requests get a second one.
        budget: How surely the most to spend is kept to, in words; empty without one.
    """

    source: str
    route: str
    rows: int | None
    answered: int
    failed: int
    to_ask: int | None
    faulty: int
    input_tokens: float | None
    output_tokens: float | None
    output_basis: str
    cost_usd: float | None
    price_source: str | None
    shortest_s: float | None
    limits: str
    known: str = ""
    hedge: bool = False
    budget: str = ""


def make_plan(
    *,
    source: str,
    route: str,
    rows: int | None,
    answered: int,
    failed: int,
    to_ask: int | None,
    faulty: int,
    input_tokens: float | None,
    max_output_tokens: int | None,
    limits: Limits,
    prices: Prices | None,
    known: Sequence[Basis] = (),
) -> Plan:
    """Reckon what a run will take; see `Plan` for what the arguments mean."""
    output_tokens = basis = None
    if to_ask is not None:
        each = OUTPUT_START_TOKENS if max_output_tokens is None else float(max_output_tokens)
        output_tokens = each * (to_ask - faulty)
        basis = (
            f"assuming {each:,.0f} output tokens an answer"
            if max_output_tokens is None
            else f"at most: {each:,.0f} output tokens an answer"
        )
    cost = None
    if prices is not None and input_tokens is not None and output_tokens is not None:
        cost = prices.input.of(input_tokens, 0) + prices.output.of(output_tokens, 0)
    return Plan(
        source=source,
        route=route,
        rows=rows,
        answered=answered,
        failed=failed,
        to_ask=to_ask,
        faulty=faulty,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        output_basis=basis or "",
        cost_usd=cost,
        price_source=None if prices is None else prices.source,
        shortest_s=(
            None if to_ask is None else shortest_s(_completed(limits, known), to_ask - faulty, input_tokens or 0.0)
        ),
        limits=limits_in_words(limits),
        known=basis_text(known),
        hedge=limits.hedge,
        budget=budget_text(limits, max_output_tokens),
    )


def budget_text(limits: Limits, max_output_tokens: int | None) -> str:
    """Say by how much the most to spend may be passed; empty when there is none."""
    if limits.max_cost is None:
        return ""
    kept = f"{money(limits.max_cost)}, set aside before each request goes; may be passed by"
    if max_output_tokens is None:
        return f"{kept} what an answer is longer than all before it (--max-output-tokens bounds that)"
    return f"{kept} the error of the input estimates in flight"


def _completed(limits: Limits, known: Sequence[Basis]) -> Limits:
    """Take what is known of the service for what the user has not said."""
    found = {(each.limit.resource, each.limit.window_s): each.limit.limit for each in known}
    rpm = limits.rpm or found.get((REQUESTS, MINUTE_S))
    return msgspec.structs.replace(limits, rpm=rpm, tpm=limits.tpm or found.get((INPUT_TOKENS, MINUTE_S)))


def shortest_s(limits: Limits, requests: float, input_tokens: float) -> float | None:
    """
    Return the shortest time in seconds that the limits allow, one latency not counted; None when none is known.

    A small job begins with half a window's quota at once; the rest is spread at ``limit / (window + jitter)``.
    """
    times = []
    for limit, wanted in ((limits.rpm, requests), (limits.tpm, input_tokens)):
        if limit is not None:
            at_once = limit * START_RATIO if wanted <= SMALL_JOB_WINDOWS * limit else 0.0
            times.append(max(0.0, wanted - at_once - 1) * (WINDOW_S + JITTER_S) / limit)
    return max(times) if times else None


def limits_in_words(limits: Limits) -> str:
    """Return the limits as a person would say them."""
    said = []
    if limits.rpm is not None:
        said.append(f"{count(limits.rpm)} requests/min")
    if limits.tpm is not None:
        said.append(f"{count(limits.tpm)} input tokens/min")
    if limits.otpm is not None:
        said.append(f"{count(limits.otpm)} output tokens/min")
    if limits.rpd is not None:
        said.append(f"{count(limits.rpd)} requests/day")
    if limits.tpd is not None:
        said.append(f"{count(limits.tpd)} input tokens/day")
    fixed = limits.fixed_in_flight
    said.append(f"{START} in flight, and more as it turns out well" if fixed is None else f"{fixed:,} in flight")
    if limits.max_cost is not None:
        said.append(f"{money(limits.max_cost)} in all")
    return ", ".join(said)


def plan_lines(plan: Plan) -> list[tuple[str, str]]:
    """Return the plan as (name, text) lines."""
    lines = [("input", _input_text(plan)), ("route", plan.route)]
    if plan.route.startswith("sim/"):
        lines[-1] = ("route", f"{plan.route} (simulated: no service is asked, no answer is real)")
    lines.append(("limits", f"{plan.limits}; {plan.known}" if plan.known else plan.limits))
    if plan.budget:
        lines.append(("budget", plan.budget))
    if plan.input_tokens is not None:
        lines.append(("tokens", f"about {count(plan.input_tokens)} input tokens, from the texts' size"))
    if plan.cost_usd is not None:
        lines.append(("cost", f"about {money(plan.cost_usd)}, {plan.output_basis} ({plan.price_source})"))
    elif plan.price_source is None:
        lines.append(("cost", "no price is known for this model"))
    if plan.hedge:
        lines.append(("hedging", f"on, at most {COST_SHARE:.0%} more cost".replace("%", " %")))
    if plan.to_ask is not None:
        if plan.shortest_s is None:
            lines.append(("time", "not known: the limits are found out on the way, unless --rpm and --tpm say them"))
        elif plan.shortest_s == 0:
            lines.append(("time", "fits in the quota at once: as long as the slowest reply"))
        else:
            how = "about" if plan.known else "at least"  # what was learnt may turn out to be more, or less
            lines.append(("time", f"{how} {duration(plan.shortest_s)} within the limits"))
    return lines


def _input_text(plan: Plan) -> str:
    if plan.rows is None:
        return f"{plan.source}: read as it comes"
    text = f"{plan.source}: {plan.rows:,} {'row' if plan.rows == 1 else 'rows'}"
    if plan.answered or plan.failed:
        text += f", {plan.answered:,} answered already"
        if plan.failed:
            text += f", {plan.failed:,} failed (--retry-failed asks them again)"
        text += f", {plan.to_ask:,} to ask"
    if plan.faulty:
        text += f", {plan.faulty:,} can't be asked"
    return text
