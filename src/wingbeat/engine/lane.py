"""One record's life, from prompt to outcome, in the order it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, assert_never

from wingbeat.engine.admission import AdmissionClosed, DaySpent, Grant, RequestFlow
from wingbeat.engine.attempt import Attempt, Attempts, Progress, too_late
from wingbeat.engine.race import Race
from wingbeat.engine.route import Route
from wingbeat.engine.statistics import Statistics
from wingbeat.engine.stopping import Stopping
from wingbeat.ledgers.estimate import TextSize
from wingbeat.ledgers.retry import SERVICE_FAILURES, Again, GiveUp, StopRun, WaitForQuota, verdict
from wingbeat.model.answer import Completion, ErrorDetail, Failure, FailureKind, Outcome
from wingbeat.model.limit import INPUT_TOKENS
from wingbeat.model.options import NO_OPTIONS
from wingbeat.model.record import Record


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
        flow: Where its requests queue; in the default flow if None.
        observe: Called after each request, or None.
    """

    def __init__(
        self,
        route: Route,
        statistics: Statistics,
        stopping: Stopping,
        *,
        burst: bool,
        flow: RequestFlow | None = None,
        observe: Callable[[Attempt], None] | None = None,
    ) -> None:
        self._route = route
        self._flow = flow
        self._statistics = statistics
        self._stopping = stopping
        self._burst = burst
        self._attempts = Attempts(route, statistics, stopping, burst=burst, flow=flow, observe=observe)
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
        options = NO_OPTIONS if record.request is None else record.request.options
        so_far = Progress(record.index, TextSize(*route.caller.text_size(record)), options.max_output_tokens)
        so_far.tokens = route.estimator.corrected(so_far.size)
        reason = route.quota.never_fits(so_far.tokens)
        if reason is not None:
            return self._failed(record, Failure(FailureKind.TOO_LARGE, reason))

        while not self._stopping.is_set:
            reserved_usd = self._likely_price(so_far)
            if reserved_usd and not await self._set_aside(reserved_usd):
                return None
            grant = await self._admitted(so_far, reserved_usd)
            if grant is None and so_far.failure is not None and so_far.is_late(self._loop.time()):
                return self._failed(record, too_late(so_far.failure, route.record_timeout_s), so_far)
            if grant is None:
                return None
            result = await self._attempt(prepared, grant, so_far, reserved_usd)
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
                        return self._failed(record, too_late(result, route.record_timeout_s), so_far)
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

    def _likely_price(self, so_far: Progress) -> float:
        """Return what to set aside for the next request; 0 when no budget is kept."""
        route = self._route
        if route.purse.budget.limit_usd is None or route.prices is None:
            return 0.0
        most = route.estimator.most_output_tokens(so_far.most_output_tokens)
        return route.prices.estimate_usd(so_far.tokens, most)

    async def _set_aside(self, amount_usd: float) -> bool:
        """Set money aside, waiting for what others leave over; False when the run stops, for want of it or else."""
        purse = self._route.purse
        try:
            if purse.take(amount_usd) or await purse.take_in_turn(amount_usd, self._stopping.waiters):
                return True
        except AdmissionClosed:
            return False
        self._stopping.stop_for_budget(purse.budget, amount_usd)
        return False

    async def _admitted(self, so_far: Progress, reserved_usd: float) -> Grant | None:
        """Wait until the request may go; None when the run stops or the record's time is up first."""
        route = self._route
        so_far.waited_from = self._loop.time()
        grant = None
        try:
            grant = route.admission.enter_nowait(self._attempts.cost_now(so_far), self._flow)
            if grant is None:
                async with asyncio.timeout_at(so_far.deadline):
                    cost_now = partial(self._attempts.cost_now, so_far)
                    grant = await route.admission.enter(cost_now, self._stopping.waiters, self._flow)
            if self._stopping.is_set and not self._stopping.granted_go:
                route.admission.abandon(grant)
                grant = None
        except DaySpent:
            self._stopping.stop_for_day(route, route.quota.day_in_words(), granted_go=True)
        except (AdmissionClosed, TimeoutError):
            pass
        finally:
            if grant is None:
                route.purse.settle(reserved_usd, 0.0)
        return grant

    async def _attempt(
        self, prepared: Any, grant: Grant, so_far: Progress, reserved_usd: float
    ) -> Completion | Failure:
        """Make one attempt: one request, or the race of two when the first is late."""
        hedging = self._route.hedging
        if hedging is None:
            return await self._attempts.make(prepared, grant, so_far, reserved_usd)
        return await Race(self._attempts, hedging, prepared, so_far).run(grant, reserved_usd)

    def _judge(self, failure: Failure, so_far: Progress) -> Again | WaitForQuota | GiveUp | StopRun:
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

    def _answered(self, record: Record, completion: Completion, so_far: Progress) -> Outcome:
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

    def _failed(self, record: Record, failure: Failure, so_far: Progress | None = None) -> Outcome:
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
