"""From the requests of a probe to what they tell: of the limit, of the first refusal, and of load. No time, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wingbeat.ledgers.hypotheses import Hypothesis, Seen, hypotheses, least_a_minute
from wingbeat.ledgers.lesson import Phase
from wingbeat.ledgers.ramp import Part, Ramp, Trial
from wingbeat.ledgers.rate import JITTER_S
from wingbeat.model.answer import Failure
from wingbeat.model.limit import MINUTE_S, REQUESTS, Enforcement, LearntLimit, LimitHint
from wingbeat.report.probe import LimitFound, ProbeFound, RefusalFound, StepFound, percentile

LEAST_JITTER_S = 0.05
JITTER_MARGIN = 1.5
"""Requests may take somewhat longer on their way than the slowest refusal took there and back."""

TOLD_ROUNDING_S = 1.0
TOLD_LONG_S = 3.0
"""A told wait may be rounded up to a second; one longer than this says that nothing would have passed before."""

CLOSE = 0.03
"""Two values of one limit that lie this close to each other (relative) are the same."""

EXACT = 0.05
"""Bounds this close to each other say more than a pace that was found to be good."""

LEAST_ANSWERS = 5
"""Fewer answers than this say little of how long they take."""


def conclude(
    ramp: Ramp,
    *,
    route: str,
    refusal: Failure | None,
    hints: Sequence[LimitHint],
    units: dict[str, float],
    told_s: dict[int, float],
    cost_usd: float | None,
    elapsed_s: float,
) -> ProbeFound:
    """
    Say what the requests of a probe tell.

    Args:
        ramp: The probe, ended or not.
        route: Whom it asked.
        refusal: What the service said at the first refusal, or None.
        hints: What the headers of the latest reply told of limits.
        units: Mean units that one answered request took, by resource.
        told_s: Position of a refused request to the seconds that the service asked to wait.
        cost_usd: What the answers cost, or None when no price is known.
        elapsed_s: Seconds that the probe took.
    """
    trials = ramp.trials
    started_at = trials[0].sent_at if trials else 0.0
    stated = None if refusal is None else _stated(refusal)
    steps = _steps(ramp, started_at)
    return ProbeFound(
        route=route,
        ended=ramp.cause or "stopped",
        elapsed_s=elapsed_s,
        requests=len(trials),
        answered=sum(trial.end == "passed" for trial in trials),
        refused=sum(trial.end == "refused" for trial in trials),
        failed=sum(trial.end == "failed" for trial in trials),
        cost_usd=cost_usd,
        steps=steps,
        refusal=_first_refusal(ramp, refusal, stated, started_at),
        limit=None if refusal is None else _limit(ramp, stated, units, told_s),
        busiest_minute=_busiest_minute(trials),
        at_least=least_a_minute(_seen(trials)),
        hints=tuple(LearntLimit(hint.resource, hint.limit, origin="headers") for hint in hints if hint.limit),
        slower=_slower(steps),
    )


def learnt_from(found: ProbeFound) -> tuple[LearntLimit, ...]:
    """Return what is worth keeping: the limit, unless another value would explain what was seen as well."""
    limit = found.limit
    if limit is None:
        return ()
    return (limit.limit,) if limit.limit.origin == "told" or not limit.doubts else ()


def _stated(refusal: Failure) -> LearntLimit | None:
    for violation in refusal.violations:
        if violation.resource is not None and violation.limit and violation.window_s in (None, MINUTE_S):
            return LearntLimit(violation.resource, violation.limit, MINUTE_S, origin="told")
    return None


def _first_refusal(
    ramp: Ramp, refusal: Failure | None, stated: LearntLimit | None, started_at: float
) -> RefusalFound | None:
    first = next((trial for trial in ramp.trials if trial.end == "refused"), None)
    if first is None or refusal is None:
        return None
    in_burst = first.part is Part.BURST
    return RefusalFound(
        part="burst" if in_burst else "ramp",
        at_s=round(first.sent_at - started_at, 3),
        after=ramp.trials.index(first),
        per_minute=None if in_burst else ramp.settings.pace(first.step) * MINUTE_S,
        in_flight=first.in_flight,
        quota_id=next((each.quota_id for each in refusal.violations if each.quota_id), None),
        stated=stated,
        retry_after_s=refusal.retry_after_s,
        detail=refusal.detail,
    )


def _steps(ramp: Ramp, started_at: float) -> tuple[StepFound, ...]:
    groups: dict[int | None, list[Trial]] = {}
    for trial in ramp.trials:
        if trial.part is not Part.LEARN:
            groups.setdefault(None if trial.part is Part.BURST else trial.step, []).append(trial)
    found = []
    for step, group in groups.items():
        latencies = [trial.latency_s for trial in group if trial.latency_s is not None]
        found.append(
            StepFound(
                start_s=round(group[0].sent_at - started_at, 3),
                per_minute=None if step is None else ramp.settings.pace(step) * MINUTE_S,
                sent=len(group),
                refused=sum(trial.end == "refused" for trial in group),
                in_flight=max(trial.in_flight for trial in group),
                p50_s=percentile(latencies, 0.5) if len(latencies) >= LEAST_ANSWERS else None,
                p95_s=percentile(latencies, 0.95) if len(latencies) >= LEAST_ANSWERS else None,
            )
        )
    return tuple(found)


def _slower(steps: Sequence[StepFound]) -> float | None:
    measured = [step.p50_s for step in steps if step.per_minute is not None and step.p50_s]
    return None if len(measured) < 2 else measured[-1] / measured[0]


def _busiest_minute(trials: Sequence[Trial]) -> int:
    passed = [trial.sent_at for trial in trials if trial.end == "passed"]
    most = first = 0
    for position, at in enumerate(passed):
        while passed[first] <= at - MINUTE_S:
            first += 1
        most = max(most, position - first + 1)
    return most


def _limit(
    ramp: Ramp, stated: LearntLimit | None, units: dict[str, float], told_s: dict[int, float]
) -> LimitFound | None:
    """
    Put together what agrees with everything seen, what was learnt by keeping to it, and what the service says.

    The cases, in order:
        1. The service has stated a value that agrees with something seen, or was refused in the first minute only, in
           which somebody else may have used a part of it: that value.
        2. Something agrees: of several the most usual that holds what was kept to, else the most exact. Within wide
           bounds the value is the one that was kept to.
        3. Nothing agrees (others share the limit, or there are two): what was kept to, or what the service says.
    """
    resource = REQUESTS if stated is None else stated.resource
    unit = units.get(resource, 1.0) if resource != REQUESTS else 1.0
    kept = ramp.limit.learnt()
    is_settled = kept is not None and ramp.limit.phase in (Phase.CRUISE, Phase.PROBE)
    agreeing = _agreeing(ramp.trials, told_s)
    if stated is not None:
        per_minute = stated.limit / unit
        fitting = [each for each in agreeing if _holds(each, per_minute)]
        is_kept_to = kept is not None and abs(kept.limit - per_minute) <= CLOSE * per_minute
        if fitting or is_kept_to or not _is_repeated(ramp.trials) or not (agreeing or kept):
            limit = msgspec.structs.replace(stated, enforcement=_kind(fitting))
            return _found(limit, fitting[:1], agreeing, unit, is_settled=is_settled or bool(fitting))
    if agreeing:
        return _measured(resource, unit, agreeing, None if kept is None else kept.limit, is_settled=is_settled)
    if kept is None:
        return None
    limit = LearntLimit(resource, kept.limit * unit, kept.window_s, kept.enforcement, "measured")
    return LimitFound(limit, None, None, is_settled)


def _measured(
    resource: str, unit: float, agreeing: Sequence[Hypothesis], kept_to: float | None, *, is_settled: bool
) -> LimitFound:
    """Choose among what agrees, and say the limit that it comes to."""
    holding = [each for each in agreeing if kept_to is not None and _holds(each, kept_to)]
    chosen = holding[0] if holding else min(agreeing, key=lambda each: round(each.width, 2))
    value = _value(chosen, kept_to)
    window_s = chosen.span_s if chosen.enforcement == "window" else MINUTE_S
    kind = _kind([chosen, *(each for each in agreeing if _holds(each, value))])
    limit = LearntLimit(resource, value * unit * window_s / MINUTE_S, window_s, kind, "measured")
    return _found(limit, [chosen], agreeing, unit, is_settled=is_settled)


def _is_repeated(trials: Sequence[Trial]) -> bool:
    """Tell whether requests were refused after the first minute too, when all that counts was sent by the probe."""
    return any(trial.end == "refused" and trial.sent_at > trials[0].sent_at + MINUTE_S for trial in trials)


def _found(
    limit: LearntLimit, chosen: Sequence[Hypothesis], agreeing: Sequence[Hypothesis], unit: float, *, is_settled: bool
) -> LimitFound:
    scale = unit * limit.window_s / MINUTE_S
    others = tuple(each for each in agreeing if each not in chosen)
    low = min((each.low for each in chosen), default=None)
    high = max((each.high for each in chosen), default=None)
    return LimitFound(
        limit, None if low is None else low * scale, None if high is None else high * scale, is_settled, others
    )


def _holds(each: Hypothesis, per_minute: float) -> bool:
    return each.low * (1 - CLOSE) <= per_minute <= each.high * (1 + CLOSE)


def _kind(agreed: Sequence[Hypothesis]) -> Enforcement:
    """Return how a limit is enforced, if all that comes to its value says the same."""
    kinds = {each.enforcement for each in agreed}
    return kinds.pop() if len(kinds) == 1 else "unknown"


def _value(chosen: Hypothesis, per_minute: float | None) -> float:
    """Return the likeliest value: the middle of close bounds, else what was kept to, within them."""
    if chosen.high <= chosen.low * (1 + EXACT):
        return (chosen.low + chosen.high) / 2
    return chosen.low if per_minute is None else min(chosen.high, max(chosen.low, per_minute))


def _seen(trials: Sequence[Trial]) -> list[Seen]:
    ends = {"passed": True, "refused": False}
    return [Seen(trial.sent_at, ends.get(trial.end or "")) for trial in trials]


def _agreeing(trials: Sequence[Trial], told_s: dict[int, float]) -> list[Hypothesis]:
    """Return what agrees; told waits count as evidence unless nothing would agree with them."""
    seen = _seen(trials)
    delays_s = [trial.ended_at - trial.sent_at for trial in trials if trial.end == "refused" and trial.ended_at]
    jitter_s = min(JITTER_S, max(LEAST_JITTER_S, JITTER_MARGIN * max(delays_s, default=JITTER_S)))
    still_refused = [
        Seen(ended_at + wait_s - TOLD_ROUNDING_S, passed=False)
        for place, wait_s in told_s.items()
        if wait_s >= TOLD_LONG_S and (ended_at := trials[place].ended_at) is not None
    ]
    if still_refused:
        with_told = sorted([*seen, *still_refused], key=lambda each: each.sent_at)
        agreeing = hypotheses(with_told, jitter_s)
        if agreeing:
            return agreeing
    return hypotheses(seen, jitter_s)
