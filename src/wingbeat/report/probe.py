"""What a probe has found, and how it is said; it knows nothing of how it was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from wingbeat.ledgers.hypotheses import Hypothesis
from wingbeat.model.limit import MINUTE_S, LearntLimit
from wingbeat.report.learning import amount_text, enforcement_text, limit_text
from wingbeat.report.svg import shortened
from wingbeat.report.words import count, duration, money

SLOWER = 2.0
"""An answer that takes so much longer under load waits for capacity: chance in its length is less, as each asks the
same."""


class StepFound(msgspec.Struct, frozen=True):
    """
    One step of the ramp, or the burst before it.

    Args:
        start_s: When it began, in seconds from the first request.
        per_minute: Pace that was kept, or None for the burst.
        sent: Requests sent in it.
        refused: Of these, refused for quota.
        in_flight: Most requests in flight.
        p50_s: Half of its answers took no longer; None where there was none.
        p95_s: Nineteen in twenty took no longer.
    """

    start_s: float
    per_minute: float | None
    sent: int
    refused: int
    in_flight: int
    p50_s: float | None
    p95_s: float | None


class RefusalFound(msgspec.Struct, frozen=True):
    """
    The first refusal for quota.

    Args:
        part: ``burst``, when one of the requests sent at once was refused; ``ramp`` for one sent at an even pace.
        at_s: When it was sent, in seconds from the first request.
        after: Requests sent before it.
        per_minute: Pace at that moment, or None in a burst.
        in_flight: Requests in flight with it.
        quota_id: The service's name for the limit, or None.
        stated: Limit that the service has stated, or None.
        retry_after_s: Seconds that it asked to wait, or None.
        detail: Its words.
    """

    part: Literal["burst", "ramp"]
    at_s: float
    after: int
    per_minute: float | None
    in_flight: int
    quota_id: str | None
    stated: LearntLimit | None
    retry_after_s: float | None
    detail: str


class LimitFound(msgspec.Struct, frozen=True):
    """
    What the limit is.

    Args:
        limit: The limit and how it is enforced; ``told`` where the service has stated it and nothing speaks against it.
        low: Least that explains all that was let through, in units of the limit, or None when it is not known.
        high: Greatest that explains all that was refused, or None.
        is_settled: False when the probe ended before the limit was kept to for a while.
        others: Other ways of enforcing one limit that would explain the same, in requests a minute.
    """

    limit: LearntLimit
    low: float | None
    high: float | None
    is_settled: bool
    others: tuple[Hypothesis, ...] = ()

    @property
    def doubts(self) -> tuple[Hypothesis, ...]:
        """Those of the others that come to another value."""
        per_minute = self.limit.limit * MINUTE_S / self.limit.window_s
        return tuple(each for each in self.others if not each.low * 0.95 <= per_minute <= each.high * 1.05)


class ProbeFound(msgspec.Struct, frozen=True):
    """
    What a probe has found.

    Args:
        route: Whom it asked.
        ended: Why it ended: ``learnt``, ``time``, ``requests``, ``cost``, ``overloaded`` or ``stopped``.
        elapsed_s: Seconds that it took.
        requests: Requests sent.
        answered: Of these, answered.
        refused: Refused for quota.
        failed: Failed otherwise.
        cost_usd: What the answers cost, or None when no price is known.
        steps: The burst and the steps up to the first refusal.
        refusal: The first refusal, or None.
        limit: The limit, or None when too little is known of it.
        busiest_minute: Most requests that were let through in one minute.
        at_least: Least limit a minute that lets this through, however it is enforced.
        hints: Limits that the headers of replies tell.
        slower: How many times as long an answer took in the last step as in the first, or None when it can't be told.
        is_kept: Whether the next run will start from it.
    """

    route: str
    ended: str
    elapsed_s: float
    requests: int
    answered: int
    refused: int
    failed: int
    cost_usd: float | None
    steps: tuple[StepFound, ...]
    refusal: RefusalFound | None
    limit: LimitFound | None
    busiest_minute: int
    at_least: float = 0.0
    hints: tuple[LearntLimit, ...] = ()
    slower: float | None = None
    is_kept: bool = False

    @property
    def lacks_capacity(self) -> bool:
        """True when the service seems to be short of capacity rather than to enforce a limit."""
        slows_down = self.slower is not None and self.slower >= SLOWER
        return self.refusal is None and (slows_down or self.ended == "overloaded")

    @property
    def ramp(self) -> tuple[StepFound, ...]:
        """The steps of even pace."""
        return tuple(step for step in self.steps if step.per_minute is not None)


def found_lines(found: ProbeFound) -> list[tuple[str, str]]:
    """Return what was found as (name, text) lines."""
    lines = [("route", _route_text(found.route))]
    lines += [("burst", _burst_text(step)) for step in found.steps if step.per_minute is None]
    if found.refusal is not None:
        lines.append(("refused", _refusal_text(found.refusal)))
        lines.append(("said", _said_text(found.refusal)))
    lines.append(("limit", _limit_text(found)))
    if found.hints:
        lines.append(("headers", ", ".join(limit_text(hint) for hint in found.hints)))
    latency = _latency_text(found)
    if latency:
        lines.append(("latency", latency))
    lines.append(("sent", _sent_text(found)))
    return lines


def _route_text(route: str) -> str:
    return f"{route} (simulated: no service is asked, nothing is billed)" if route.startswith("sim/") else route


def _burst_text(burst: StepFound) -> str:
    if not burst.refused:
        return f"{burst.sent:,} at once: all let through"
    return f"{burst.sent:,} at once: {burst.sent - burst.refused:,} let through, {burst.refused:,} refused"


def _refusal_text(refusal: RefusalFound) -> str:
    if refusal.per_minute is None:
        return "already when so many came at once; no even pace was tried before"
    return (
        f"first at {pace_text(refusal.per_minute)} with {refusal.in_flight:,} in flight, after {refusal.after:,} "
        f"requests in {duration(refusal.at_s)}"
    )


def pace_text(per_minute: float) -> str:
    """Return a pace as ``304 requests/min (5.1/s)``."""
    per_s = per_minute / MINUTE_S
    return f"{count(round(per_minute, 1))} requests/min ({count(round(per_s)) if per_s >= 10 else f'{per_s:.2g}'}/s)"


def _said_text(refusal: RefusalFound) -> str:
    told = []
    if refusal.quota_id is not None:
        told.append(refusal.quota_id)
    if refusal.stated is not None:
        told.append(limit_text(refusal.stated))
    wait_s = refusal.retry_after_s
    told.append("no wait told" if wait_s is None else f"wait {duration(wait_s)}")
    if refusal.quota_id is None and refusal.stated is None:
        told.insert(0, f"neither which limit nor its value: {shortened(refusal.detail.rstrip('.'), 100)}")
    return "; ".join(told)


def _limit_text(found: ProbeFound) -> str:
    limit = found.limit
    if not found.steps:
        return "not known: nothing was sent"
    if found.refusal is None:
        if found.ended == "overloaded":
            return f"none was refused for quota, but the service has no capacity for {_highest_pace(found)}"
        if found.lacks_capacity:
            return "none was refused; answers came later instead, which looks like a limit of capacity"
        if found.at_least < 1:
            return f"none was refused, up to {_highest_pace(found)}; too few were sent to say more"
        passed = f"{found.busiest_minute:,} requests passed in one minute"
        least = f"{count(int(found.at_least))} requests/min at least, however it is enforced"
        return f"none was refused, up to {_highest_pace(found)}; {passed}, so the limit is {least}"
    if limit is None:
        return "not known: the probe ended before it could be measured"
    text = limit_text(limit.limit)
    how = enforcement_text(limit.limit.enforcement)
    remarks = [how] if how else []
    if limit.limit.origin == "told":
        remarks.append("as the service says")
    if limit.low is not None and limit.high is not None:
        remarks.append(_range_text(limit.limit, limit.low, limit.high))
    if not limit.is_settled:
        remarks.append("not settled yet")
    if limit.doubts and limit.limit.origin != "told":
        remarks.append(f"{_other_text(limit.doubts[0])} would explain it too")
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def _highest_pace(found: ProbeFound) -> str:
    last = found.steps[-1]
    if last.per_minute is None:
        return f"{last.sent:,} at once"
    return f"{pace_text(last.per_minute)} with {last.in_flight:,} in flight"


def _range_text(limit: LearntLimit, low: float, high: float) -> str:
    ends = [amount_text(msgspec.structs.replace(limit, limit=end)) for end in (low, high)]
    return f"measured {ends[0]}" if ends[0] == ends[1] else f"measured between {ends[0]} and {ends[1]}"


def _other_text(other: Hypothesis) -> str:
    per_minute = (other.low + other.high) / 2
    kind = "a window" if other.enforcement == "window" else "a bucket"
    return f"{count(per_minute)} requests/min in {kind} of {other.span_s:g} s"


def _latency_text(found: ProbeFound) -> str:
    measured = [step for step in found.ramp if step.p50_s is not None]
    if not measured:
        return ""
    first, last = measured[0], measured[-1]
    said = _step_latency(first)
    if last is not first:
        said += f"; {_step_latency(last)}"
    if found.slower is None:
        return said
    if found.slower >= SLOWER:
        return f"{said}: {found.slower:.1f} times as long under load"
    return f"{said}: load does not slow it down" if found.slower < 1.25 else said


def _step_latency(step: StepFound) -> str:
    assert step.per_minute is not None
    assert step.p50_s is not None
    assert step.p95_s is not None
    return f"p50 {step.p50_s:.2f} s, p95 {step.p95_s:.2f} s at {count(round(step.per_minute))}/min"


def _sent_text(found: ProbeFound) -> str:
    parts = [f"{found.answered:,} answered", f"{found.refused:,} refused"]
    if found.failed:
        parts.append(f"{found.failed:,} failed")
    requests = "1 request" if found.requests == 1 else f"{found.requests:,} requests"
    text = f"{requests} in {duration(found.elapsed_s)}: {', '.join(parts)}"
    if found.cost_usd is None:
        return text
    return f"{text}; {money(found.cost_usd)}{' if it were billed' if found.route.startswith('sim/') else ''}"


def percentile(values: Sequence[float], part: float) -> float | None:
    """Return the value that a part of the sorted values does not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
