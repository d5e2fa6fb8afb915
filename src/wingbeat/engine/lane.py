"""One record's life, from prompt to outcome, in the order it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

import msgspec

from wingbeat.engine.admission import AdmissionClosed, DaySpent, Grant
from wingbeat.engine.route import Route
from wingbeat.engine.statistics import Statistics
from wingbeat.engine.stopping import Stopping
from wingbeat.ledgers.breaker import BreakerState
from wingbeat.ledgers.estimate import raw_tokens
from wingbeat.ledgers.quota import INPUT_TOKENS, Cost
from wingbeat.ledgers.retry import SERVICE_FAILURES, Again, GiveUp, StopRun, WaitForQuota, verdict
from wingbeat.model.answer import Completion, ErrorDetail, Failure, FailureKind, Outcome
from wingbeat.model.record import Record


class Attempt(msgspec.Struct, frozen=True):
    """One request as it went, for pictures and events: monotonic seconds, and the failure's kind or None."""

    index: int
    number: int
    waited_from: float
    sent_at: float
    ended_at: float
    failed: FailureKind | None


class _Progress:
    """What is known of one record while it is carried."""

    __slots__ = (
        "attempts",
        "counted",
        "deadline",
        "failure",
        "latency_s",
        "raw_tokens",
        "spent_usd",
        "tokens",
        "waited_from",
    )

    def __init__(self, raw: float) -> None:
        self.raw_tokens = raw
        self.tokens = raw
        self.waited_from = 0.0
        self.attempts = 0
        self.counted = 0
        self.latency_s: float | None = None
        self.deadline: float | None = None
        self.failure: Failure | None = None
        self.spent_usd = 0.0

    def is_late(self, now: float) -> bool:
        """True once the record's own deadline has passed."""
        return self.deadline is not None and now >= self.deadline


class Lane:
    """
    Carry records to their outcomes, one at a time: admitted, sent, settled, judged, and again if need be.

    A lane that waits for quota, slot or service waits in the route's admission; one that backs off keeps its
    record and holds no slot. When the run stops, a record not yet answered is left without an outcome, to be
    asked again by the next run.

    Args:
        route: Whom to ask, and the ledgers shared with all other lanes.
        statistics: Counters of the run.
        stopping: Whether and why the run is to stop.
        burst: Whether the run is small enough to go at once.
        observe: Called after each request, or None.
    """

    def __init__(
        self,
        route: Route,
        statistics: Statistics,
        stopping: Stopping,
        *,
        burst: bool,
        observe: Callable[[Attempt], None] | None = None,
    ) -> None:
        self._route = route
        self._statistics = statistics
        self._stopping = stopping
        self._burst = burst
        self._observe = observe
        self._loop = asyncio.get_running_loop()

    async def carry(self, record: Record) -> Outcome | None:
        """
        Bring one record to its outcome.

        Returns:
            The outcome, or None when the run stopped before there was one.
        """
        route = self._route
        if record.fault is not None:
            return self._failed(record, Failure(FailureKind.INVALID_INPUT, record.fault))
        prepared = route.caller.prepare(record)
        so_far = _Progress(raw_tokens(*route.caller.text_size(record)))
        so_far.tokens = route.estimator.corrected(so_far.raw_tokens)
        reason = route.quota.never_fits(so_far.tokens)
        if reason is not None:
            return self._failed(record, Failure(FailureKind.TOO_LARGE, reason))

        while not self._stopping.is_set:
            reserved_usd = self._likely_price(record, so_far)
            if reserved_usd and not await self._set_aside(reserved_usd):
                return None
            so_far.tokens = route.estimator.corrected(so_far.raw_tokens)
            grant = await self._admitted(so_far, reserved_usd)
            if grant is None and so_far.failure is not None and so_far.is_late(self._loop.time()):
                return self._failed(record, _too_late(so_far.failure, route.record_timeout_s), so_far)
            if grant is None:
                return None
            result = await self._attempt(record, prepared, grant, so_far, reserved_usd)
            if isinstance(result, Completion):
                return self._answered(record, result, so_far)
            so_far.failure = result

            match self._judge(result, so_far):
                case WaitForQuota():
                    continue
                case Again(after_s):
                    self._statistics.count_retry()
                    if not await self._back_off(after_s):
                        return None
                    if so_far.is_late(self._loop.time()):
                        return self._failed(record, _too_late(result, route.record_timeout_s), so_far)
                case GiveUp():
                    outcome = self._failed(record, result, so_far)
                    self._stopping.stop_if_all_invalid(self._statistics, result, route)
                    return outcome
                case StopRun(cause):
                    self._stopping.stop_for(cause, result, route)
                    return None
                case never:
                    assert_never(never)
        return None

    def _likely_price(self, record: Record, so_far: _Progress) -> float:
        """Return what to set aside for the next request; 0 when no budget is kept."""
        route = self._route
        if route.purse.budget.limit_usd is None or route.prices is None:
            return 0.0
        limit = record.request.options.max_output_tokens if record.request is not None else None
        return route.prices.estimate_usd(so_far.tokens, route.estimator.most_output_tokens(limit))

    async def _set_aside(self, amount_usd: float) -> bool:
        """Set money aside, waiting for what others leave over; False when the run stops, for want of it or else."""
        purse = self._route.purse
        while not purse.take(amount_usd):
            if not purse.may_be_refilled:
                self._stopping.stop_for_budget(purse.budget, amount_usd)
                return False
            if not await self._stopping.unless_stopped(purse.wait_settled()):
                return False
        return True

    async def _admitted(self, so_far: _Progress, reserved_usd: float) -> Grant | None:
        """Wait until the request may go; None when the run stops or the record's time is up first."""
        route = self._route
        so_far.waited_from = self._loop.time()
        cost = Cost(so_far.tokens, self._burst)
        grant = None
        try:
            grant = route.admission.enter_nowait(cost)
            if grant is None:
                async with asyncio.timeout_at(so_far.deadline):
                    grant = await route.admission.enter(cost, self._stopping.waiters)
            if self._stopping.is_set:
                route.admission.abandon(grant)
                grant = None
        except DaySpent:
            limit = route.quota.requests_per_day or 0.0
            self._stopping.stop_for_day(route, f"{limit:,.0f} requests were sent, as many as were allowed")
        except (AdmissionClosed, TimeoutError):
            pass
        finally:
            if grant is None:
                route.purse.settle(reserved_usd, 0.0)
        return grant

    async def _attempt(
        self, record: Record, prepared: Any, grant: Grant, so_far: _Progress, reserved_usd: float
    ) -> Completion | Failure:
        """Send one request and settle what it took, whatever became of it."""
        route, statistics, loop = self._route, self._statistics, self._loop
        sent_at = loop.time()
        timeout_s = route.timeout_s
        if route.record_timeout_s is not None:
            if so_far.deadline is None:
                so_far.deadline = sent_at + route.record_timeout_s
            timeout_s = max(0.001, min(timeout_s, so_far.deadline - sent_at))
        so_far.attempts += 1
        so_far.counted += 1
        statistics.count_send()
        try:
            result = await route.caller.call(prepared, timeout_s)
        except BaseException:
            statistics.count_end()
            route.purse.settle(reserved_usd, 0.0)
            route.admission.abandon(grant)
            raise
        now = loop.time()
        so_far.latency_s = round(now - sent_at, 6)
        statistics.count_end()
        if isinstance(result, Failure) and result.kind is FailureKind.TIMEOUT and timeout_s < route.timeout_s:
            result = _too_late(result, route.record_timeout_s)
        usage = result.usage
        spent_usd = 0.0 if route.prices is None or usage is None else route.prices.cost_usd(usage)
        so_far.spent_usd += spent_usd
        if isinstance(result, Completion):
            usage = result.usage
            if usage.input_tokens:
                route.quota.settle(grant.reservation, usage.input_tokens)
                route.estimator.observe(so_far.raw_tokens, usage.input_tokens, usage.output_tokens)
            route.quota.accepted()
            route.breaker.succeeded(grant.is_try)
            route.retry_budget.answered(now)
            statistics.count_reply(now, usage.input_tokens)
        elif result.kind in SERVICE_FAILURES:
            route.breaker.failed(now, grant.is_try)
            if route.breaker.state is BreakerState.OPEN:
                self._stopping.note_pause(result, route.breaker.open_until - now)
        else:
            route.breaker.succeeded(grant.is_try)
        route.purse.settle(reserved_usd, spent_usd)
        if isinstance(result, Failure) and result.kind is FailureKind.RATE_LIMITED:
            statistics.count_refusal()
            self._take_refusal(result, now)
        route.admission.leave()
        if self._observe is not None:
            kind = result.kind if isinstance(result, Failure) else None
            self._observe(Attempt(record.index, so_far.attempts, so_far.waited_from, sent_at, now, kind))
        return result

    def _take_refusal(self, failure: Failure, now: float) -> None:
        """Pause the limits that the service named, and take the values that it stated."""
        quota = self._route.quota
        for violation in failure.violations:
            if violation.resource is not None and violation.limit and violation.window_s == 60.0:
                quota.stated(violation.resource, violation.limit)
        resources = [violation.resource for violation in failure.violations if violation.resource is not None]
        wait_s = quota.refused(now, failure.retry_after_s, resources)
        self._stopping.note_pause(failure, wait_s)

    def _judge(self, failure: Failure, so_far: _Progress) -> Again | WaitForQuota | GiveUp | StopRun:
        """Decide what follows a failure of this record, given the state of the route."""
        route, now = self._route, self._loop.time()
        if self._stopping.stop_if_hopeless(route, now):
            return Again(0.0)
        if failure.kind is FailureKind.RATE_LIMITED:
            for violation in failure.violations:
                if violation.resource == INPUT_TOKENS and violation.limit and so_far.tokens > 1.5 * violation.limit:
                    return GiveUp()
            so_far.counted -= 1
        decision = verdict(failure, so_far.counted, route.max_attempts, route.random)
        if isinstance(decision, Again) and failure.kind in SERVICE_FAILURES:
            later_s = route.retry_budget.retry_at(now) - now
            return Again(max(decision.after_s, later_s))
        return decision

    async def _back_off(self, after_s: float) -> bool:
        """Wait without holding a slot; False when the run stops meanwhile."""
        self._statistics.backing_off += 1
        try:
            return await self._stopping.sleep(after_s)
        finally:
            self._statistics.backing_off -= 1

    def _answered(self, record: Record, completion: Completion, so_far: _Progress) -> Outcome:
        route = self._route
        cost_usd = None if route.prices is None else round(so_far.spent_usd, 10)
        outcome = Outcome(
            id=record.id,
            index=record.index,
            text=completion.text,
            finish_reason=completion.finish_reason,
            usage=completion.usage,
            cost_usd=cost_usd,
            latency_s=so_far.latency_s,
            attempts=so_far.attempts,
            model=route.name,
            error=None,
            value=completion.value,
            columns=record.columns,
        )
        self._statistics.count_outcome(outcome, completion.withheld)
        return outcome

    def _failed(self, record: Record, failure: Failure, so_far: _Progress | None = None) -> Outcome:
        outcome = Outcome(
            id=record.id,
            index=record.index,
            text=None,
            finish_reason=None,
            usage=None,
            cost_usd=round(so_far.spent_usd, 10) if so_far is not None and so_far.spent_usd else None,
            latency_s=so_far.latency_s if so_far is not None else None,
            attempts=so_far.attempts if so_far is not None else 0,
            model=self._route.name,
            error=ErrorDetail(failure.kind.value, failure.detail),
            columns=record.columns,
        )
        self._statistics.count_outcome(outcome, withheld=False)
        return outcome


def _too_late(failure: Failure, limit_s: float | None) -> Failure:
    detail = f"no answer within {limit_s:g} s of the first request; last failure: {failure.kind}: {failure.detail}"
    return Failure(FailureKind.DEADLINE, detail, status=failure.status)
