"""An attempt whose late request gets a second one beside it: the first good answer counts, the other is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from wingbeat.engine.admission import AdmissionClosed, DaySpent, Grant
from wingbeat.engine.attempt import Attempts, Flight, Progress
from wingbeat.ledgers.breaker import BreakerState
from wingbeat.ledgers.hedge import Hedging
from wingbeat.ledgers.quota import Cost
from wingbeat.model.answer import Completion, Failure, Usage

LOOK_AGAIN_S = 0.5
"""How often a late request that may not be hedged yet is looked at, and a hedge that waits for its turn."""

LOOK_LATER_S = 2.0
"""The same while nothing is late for want of answers: a request that hangs meanwhile is not to be forgotten."""

SOONEST_LOOK_S = 0.001
"""A timer may ring a moment before its time; a shorter wait than this would ring in the same moment again."""

LONGEST_QUOTA_WAIT_S = 1.0
"""A hedge that would wait longer for quota, or for the end of a pause, is not begun."""


class _Call:
    """One of the two requests: its task, its flight once it was sent, and its result once it was settled."""

    __slots__ = ("flight", "result", "task")

    def __init__(self) -> None:
        self.flight: Flight | None = None
        self.result: Completion | Failure | None = None
        self.task: asyncio.Task[Completion | Failure | None]


class Race:
    """
    Make one attempt, as up to two requests: the second one when the first is late and `Hedging` pays for it.

    A hedge waits for its turn like any request, takes a slot and quota, and has money set aside. It is taken back if
    the first one speaks before it was sent. When one has a good answer, the other is cancelled and billed: what the
    service has told of its tokens, or as much as the answer if it has told nothing. A failure waits for the other
    request; if both fail, the first one's failure stands. However the race ends, by cancellation too, each request is
    settled once, and nothing stays set aside.

    Args:
        attempts: Sends and settles requests.
        hedging: Which requests are late, and what pays.
        prepared: What to send.
        so_far: What is known of the record.
    """

    def __init__(self, attempts: Attempts, hedging: Hedging, prepared: Any, so_far: Progress) -> None:
        self._attempts = attempts
        self._route = attempts.route
        self._hedging = hedging
        self._prepared = prepared
        self._so_far = so_far
        self._loop = asyncio.get_running_loop()
        self._first = _Call()
        self._hedge: _Call | None = None
        self._winner: _Call | None = None
        self._reserved_usd = 0.0
        self._set_aside = 0.0
        self._cancelled: set[asyncio.Task[Completion | Failure | None]] = set()

    async def run(self, grant: Grant, reserved_usd: float) -> Completion | Failure:
        """
        Send the first request at once, and another if it comes to that.

        Args:
            grant: The first request's right to go.
            reserved_usd: Money set aside for it; as much is set aside for a hedge.
        """
        self._reserved_usd = reserved_usd
        self._first.flight = first = self._attempts.depart(grant, self._so_far, reserved_usd)
        self._first.task = self._loop.create_task(self._ask(first))
        try:
            return await self._decide()
        finally:
            await self._end()

    async def _decide(self) -> Completion | Failure:
        """Wait for the first good answer, or for the last failure."""
        first = self._first
        while True:
            calls = self._calls
            running = [call.task for call in calls if call.result is None]
            await asyncio.wait(running, timeout=self._patience_s(), return_when=asyncio.FIRST_COMPLETED)
            for call in calls:
                if call.result is None and call.task.done():
                    self._land(call)
                if isinstance(call.result, Completion):
                    self._winner = call
                    return call.result
            self._reconsider(self._loop.time())
            if first.result is not None and all(call.result is not None for call in self._calls):
                return first.result

    @property
    def _calls(self) -> list[_Call]:
        return [self._first] if self._hedge is None else [self._first, self._hedge]

    async def _ask(self, flight: Flight) -> Completion | Failure:
        return await self._route.caller.call(self._prepared, flight.timeout_s, flight.watch)

    async def _ask_again(self, call: _Call, wanted_at: float) -> Completion | Failure | None:
        """Wait for the hedge's turn and send it; None when it is not to be sent any more."""
        attempts, admission = self._attempts, self._route.admission
        try:
            grant = await admission.enter(self._cost_now, attempts.stopping.waiters, attempts.flow)
        except (AdmissionClosed, DaySpent):
            return None
        if attempts.stopping.is_set or not self._is_late(self._loop.time()):
            admission.abandon(grant)
            return None
        attempts.statistics.count_hedge()
        call.flight = attempts.depart(grant, self._so_far, self._reserved_usd, hedge_wanted_at=wanted_at)
        return await self._ask(call.flight)

    def _land(self, call: _Call) -> None:
        """Settle a request that has ended by itself, and forget a hedge that was never sent."""
        result = call.task.result()
        if result is None or call.flight is None:
            self._drop_hedge()
        else:
            call.result = self._attempts.land(call.flight, self._so_far, result)

    def _patience_s(self) -> float | None:
        """Return when to look again though nothing has ended; None for never."""
        hedge = self._hedge
        if self._first.result is not None or (hedge is not None and hedge.flight is not None):
            return None
        if hedge is not None:
            return LOOK_AGAIN_S
        wait_s = self._late_at() - self._loop.time()
        if wait_s == float("inf"):
            return LOOK_LATER_S
        return max(wait_s, SOONEST_LOOK_S) if wait_s > 0 else LOOK_AGAIN_S

    def _late_at(self) -> float:
        assert self._first.flight is not None
        return self._hedging.late_at(self._first.flight.watch)

    def _is_late(self, now: float) -> bool:
        return self._first.result is None and self._late_at() <= now

    def _reconsider(self, now: float) -> None:
        """Begin a hedge if the first request is late and all allows it; take back one that waits for no reason."""
        hedge = self._hedge
        if hedge is not None:
            if hedge.flight is None and not self._is_late(now):
                hedge.task.cancel()
                self._cancelled.add(hedge.task)
                self._drop_hedge()
        elif self._is_late(now) and self._may_go(now) and self._reserve():
            self._hedge = call = _Call()
            call.task = self._loop.create_task(self._ask_again(call, now))

    def _may_go(self, now: float) -> bool:
        """
        Tell whether the route has room for a hedge.

        It has none when the run stops, while the service is down or has asked to wait, and when others wait for quota
        that the hedge would take from them. Near a job's end nobody waits.
        """
        route = self._route
        if self._attempts.stopping.is_set or route.breaker.state is not BreakerState.CLOSED or route.quota.day_is_spent:
            return False
        wait_s = route.quota.ready_at(now, self._cost_now()) - now
        return wait_s <= (0.0 if route.admission.waiting else LONGEST_QUOTA_WAIT_S)

    def _cost_now(self) -> Cost:
        """Estimate what a hedge takes; it is paced, however small the run."""
        return msgspec.structs.replace(self._attempts.cost_now(self._so_far), burst=False)

    def _reserve(self) -> bool:
        """Set aside what a hedge may cost: in the hedges' share, and in the budget."""
        route, so_far = self._route, self._so_far
        most = route.estimator.most_output_tokens(None)
        if so_far.most_output_tokens is not None:
            most = min(most, float(so_far.most_output_tokens))
        cost = so_far.tokens + most if route.prices is None else route.prices.estimate_usd(so_far.tokens, most)
        if not self._hedging.reserve(cost):
            return False
        if not route.purse.take(self._reserved_usd):
            self._hedging.settle(cost, 0.0)
            return False
        self._set_aside = cost
        return True

    def _drop_hedge(self) -> None:
        """Give back what was set aside for a hedge that was not sent."""
        self._hedge = None
        self._hedging.settle(self._set_aside, 0.0)
        self._route.purse.settle(self._reserved_usd, 0.0)

    async def _end(self) -> None:
        """Settle what is still open, and wait until cancelled requests are gone."""
        answer = None if self._winner is None else self._winner.result
        for call in self._calls:
            if call.result is None:
                self._end_call(call, answer.usage if isinstance(answer, Completion) else None)
        if isinstance(answer, Completion):
            self._count(answer)
        elif self._hedge is not None:
            extra = self._cost(_usage(self._hedge))
            self._hedging.settle(self._set_aside, extra)
            self._attempts.statistics.count_race(0.0, extra, hedge_won=False)
        gone = [task for task in self._cancelled if not task.done()]
        if gone:
            await asyncio.wait(gone)

    def _end_call(self, call: _Call, answered: Usage | None) -> None:
        """Settle a request that the race's end has overtaken: ended meanwhile, lost to the other, or given up."""
        task, flight = call.task, call.flight
        if task.done() and not task.cancelled() and task.exception() is None:
            self._land(call)
            return
        task.cancel()
        self._cancelled.add(task)
        if flight is None:
            self._drop_hedge()
        elif answered is None:
            self._attempts.give_up(flight)
        else:
            flight.watch.usage = flight.watch.usage or answered
            self._attempts.lose(flight, self._so_far, flight.watch.usage)

    def _count(self, answer: Completion) -> None:
        """Learn from an answer, and settle the hedge beside it: whatever the race has cost above the answer."""
        first, hedge, now = self._first, self._hedge, self._loop.time()
        assert first.flight is not None
        self._so_far.latency_s = round(now - first.flight.watch.sent_at, 6)
        if not isinstance(first.result, Failure):
            self._hedging.observe(first.flight.watch, now)
        answer_cost, extra = self._cost(answer.usage), 0.0
        if hedge is not None:
            loser = hedge if self._winner is first else first
            # A first request that failed would have been sent again: the hedge was that retry, and no extra.
            extra = 0.0 if loser is first and isinstance(first.result, Failure) else self._cost(_usage(loser))
            self._hedging.settle(self._set_aside, extra)
        self._hedging.answered(answer_cost)
        self._attempts.statistics.count_race(answer_cost, extra, hedge_won=self._winner is hedge)

    def _cost(self, usage: Usage | None) -> float:
        """Return what tokens cost: US dollars, or their number where no price is known."""
        if usage is None:
            return 0.0
        prices = self._route.prices
        return float(usage.input_tokens + usage.output_tokens) if prices is None else prices.cost_usd(usage)


def _usage(call: _Call) -> Usage | None:
    """Return the tokens of a request that has ended, as its result tells them, or else its stream."""
    if call.result is not None and call.result.usage is not None:
        return call.result.usage
    return None if call.flight is None else call.flight.watch.usage
