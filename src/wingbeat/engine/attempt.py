"""One request on the wire, from the moment it goes until it is settled, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from wingbeat.engine.admission import Grant, RequestFlow
from wingbeat.engine.route import Route
from wingbeat.engine.statistics import Statistics
from wingbeat.engine.stopping import Stopping
from wingbeat.ledgers.breaker import BreakerState
from wingbeat.ledgers.estimate import TextSize
from wingbeat.ledgers.quota import Cost, Reservation
from wingbeat.ledgers.retry import OVERLOADS, SERVICE_FAILURES
from wingbeat.ledgers.watch import Watch
from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.limit import MINUTE_S


class Attempt(msgspec.Struct, frozen=True):
    """
    One request as it went, for pictures and events.

    Args:
        index: The record's position in the input.
        number: Which of the record's requests it was, from 1.
        waited_from: When it began to wait for its turn; all times are monotonic seconds.
        sent_at: When it was sent.
        ended_at: When it ended.
        failed: The failure's kind, or None.
        hedge: True for a second request beside a late first one.
        lost: True when it was cancelled because the other one answered first.
    """

    index: int
    number: int
    waited_from: float
    sent_at: float
    ended_at: float
    failed: FailureKind | None
    hedge: bool = False
    lost: bool = False


class Progress:
    """What is known of one record while it is carried."""

    __slots__ = (
        "attempts",
        "counted",
        "deadline",
        "failure",
        "index",
        "latency_s",
        "most_output_tokens",
        "size",
        "spent_usd",
        "tokens",
        "waited_from",
    )

    def __init__(self, index: int, size: TextSize, most_output_tokens: int | None = None) -> None:
        self.index = index
        self.size = size
        self.tokens = size.raw_tokens
        self.most_output_tokens = most_output_tokens
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


class Flight:
    """One request on the wire, and what is to be given back when it ends."""

    __slots__ = ("grant", "is_hedge", "number", "reserved_usd", "timeout_s", "waited_from", "watch")

    def __init__(
        self,
        grant: Grant,
        number: int,
        reserved_usd: float,
        timeout_s: float,
        waited_from: float,
        watch: Watch,
        *,
        is_hedge: bool,
    ) -> None:
        self.grant = grant
        self.number = number
        self.reserved_usd = reserved_usd
        self.timeout_s = timeout_s
        self.waited_from = waited_from
        self.watch = watch
        self.is_hedge = is_hedge


class Attempts:
    """
    Send the requests of one lane's records, and settle each of them once.

    Args:
        route: Whom to ask, and the ledgers shared with all other lanes.
        statistics: Counters of the run.
        stopping: Whether the run is to stop, and who is told why it pauses.
        burst: Whether the run is small enough to go at once.
        flow: Where requests queue; in the default flow if None.
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
        self.route = route
        self.statistics = statistics
        self.stopping = stopping
        self.flow = flow
        self._burst = burst
        self._observe = observe
        self._loop = asyncio.get_running_loop()

    async def make(self, prepared: Any, grant: Grant, so_far: Progress, reserved_usd: float) -> Completion | Failure:
        """Send one request, and settle it."""
        flight = self.depart(grant, so_far, reserved_usd)
        try:
            result = await self.route.caller.call(prepared, flight.timeout_s)
        except BaseException:
            self.give_up(flight)
            raise
        return self.land(flight, so_far, result)

    def cost_now(self, so_far: Progress) -> Cost:
        """Estimate what the record's request takes, by what replies have shown until now."""
        route = self.route
        so_far.tokens = route.estimator.corrected(so_far.size)
        in_flight = route.admission.slots.in_flight + 1
        expected = route.estimator.expected_output(so_far.most_output_tokens, in_flight)
        return Cost(so_far.tokens, self._burst, expected)

    def depart(
        self, grant: Grant, so_far: Progress, reserved_usd: float, *, hedge_wanted_at: float | None = None
    ) -> Flight:
        """Count one request as sent at this moment; `land`, `lose` or `give_up` ends it."""
        route, now = self.route, self._loop.time()
        timeout_s = route.timeout_s
        if route.record_timeout_s is not None:
            if so_far.deadline is None:
                so_far.deadline = now + route.record_timeout_s
            timeout_s = max(0.001, min(timeout_s, so_far.deadline - now))
        is_hedge = hedge_wanted_at is not None
        so_far.attempts += 1
        so_far.counted += not is_hedge
        self.statistics.count_send()
        waited_from = so_far.waited_from if hedge_wanted_at is None else hedge_wanted_at
        return Flight(grant, so_far.attempts, reserved_usd, timeout_s, waited_from, Watch(now), is_hedge=is_hedge)

    def land(self, flight: Flight, so_far: Progress, result: Completion | Failure) -> Completion | Failure:
        """Settle a request that has ended by itself; return its result, in the words of the record's own limits."""
        route, statistics, now = self.route, self.statistics, self._loop.time()
        grant = flight.grant
        so_far.latency_s = round(now - flight.watch.sent_at, 6)
        statistics.count_end()
        if isinstance(result, Failure) and result.kind is FailureKind.TIMEOUT and flight.timeout_s < route.timeout_s:
            result = too_late(result, route.record_timeout_s)
        spent_usd = self._pay(so_far, result.usage)
        if isinstance(result, Completion):
            usage = result.usage
            if usage.input_tokens:
                route.quota.settle(grant.reservation, usage.input_tokens, usage.output_tokens)
                route.admission.settle(grant, Cost(usage.input_tokens, self._burst, usage.output_tokens))
                route.estimator.observe(so_far.size, usage.input_tokens, usage.output_tokens)
            route.quota.accepted(grant.reservation)
            route.breaker.succeeded(grant.is_try)
            route.retry_budget.answered(now)
            sent_at, first_s = flight.watch.sent_at, flight.watch.first_token_s
            route.admission.slots.answered(now, sent_at, usage.input_tokens, usage.output_tokens, first_s)
            statistics.count_reply(now, usage.input_tokens)
        elif result.kind in SERVICE_FAILURES:
            route.breaker.failed(now, grant.is_try)
            if result.kind in OVERLOADS:
                route.admission.slots.overloaded(now, flight.watch.sent_at)
            if route.breaker.state is BreakerState.OPEN:
                self.stopping.note_pause(result, route.breaker.open_until - now)
        else:
            route.breaker.succeeded(grant.is_try)
        if isinstance(result, Failure) and result.status not in (None, 429):
            route.quota.accepted(grant.reservation)  # whatever else was wrong, the quota let it through
        route.purse.settle(flight.reserved_usd, spent_usd)
        if result.hints:
            route.quota.hinted(result.hints, grant.reservation)
        if isinstance(result, Failure) and result.kind is FailureKind.RATE_LIMITED:
            statistics.count_refusal()
            route.admission.slots.quota_refused(now)
            self._take_refusal(result, grant.reservation, now)
        route.admission.leave()
        self._tell(flight, so_far, now, result.kind if isinstance(result, Failure) else None)
        return result

    def lose(self, flight: Flight, so_far: Progress, usage: Usage) -> None:
        """Settle a request that is cancelled since the other has answered; it is billed all the same."""
        self.statistics.count_end()
        self.route.purse.settle(flight.reserved_usd, self._pay(so_far, usage))
        self.route.admission.abandon(flight.grant)
        self._tell(flight, so_far, self._loop.time(), None, lost=True)

    def give_up(self, flight: Flight) -> None:
        """Settle a request that is cancelled with all of its record: it told nothing."""
        self.statistics.count_end()
        self.route.purse.settle(flight.reserved_usd, 0.0)
        self.route.admission.abandon(flight.grant)

    def _pay(self, so_far: Progress, usage: Usage | None) -> float:
        """Count what a request has cost towards its record."""
        prices = self.route.prices
        spent_usd = 0.0 if prices is None or usage is None else prices.cost_usd(usage)
        so_far.spent_usd += spent_usd
        return spent_usd

    def _tell(
        self, flight: Flight, so_far: Progress, now: float, failed: FailureKind | None, *, lost: bool = False
    ) -> None:
        if self._observe is not None:
            sent_at = flight.watch.sent_at
            self._observe(
                Attempt(
                    so_far.index, flight.number, flight.waited_from, sent_at, now, failed, flight.is_hedge, lost=lost
                )
            )

    def _take_refusal(self, failure: Failure, reservation: Reservation, now: float) -> None:
        """Pause the limits that the service named, take the values that it stated, and learn from the rest."""
        quota, told_s = self.route.quota, failure.retry_after_s
        limits = [violation for violation in failure.violations if violation.resource is not None]
        by_the_minute = [violation for violation in limits if violation.window_s in (None, MINUTE_S)]
        if limits and not by_the_minute and told_s is not None:
            wait_s = quota.wait(now, told_s)  # an hour's or a day's bucket: nothing to pace by
        else:
            for violation in by_the_minute:
                if violation.resource is not None and violation.limit and violation.window_s == MINUTE_S:
                    quota.stated(violation.resource, violation.limit)
            resources = [violation.resource for violation in by_the_minute if violation.resource is not None]
            wait_s = quota.refused(now, told_s, resources, reservation)
        self.stopping.note_pause(failure, wait_s)


def too_late(failure: Failure, limit_s: float | None) -> Failure:
    """Return the failure of a record whose own time is up, with the last failure in its words."""
    detail = f"no answer within {limit_s:g} s of the first request; last failure: {failure.kind}: {failure.detail}"
    return Failure(FailureKind.DEADLINE, detail, status=failure.status, usage=failure.usage)
