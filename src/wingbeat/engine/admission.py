"""The one place where lanes wait to send: for a slot first, then for the moment that quota and breaker allow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Literal

from wingbeat.ledgers.backfill import MOST_CANDIDATES, delays, ready_beside_spare
from wingbeat.ledgers.breaker import Breaker, BreakerState
from wingbeat.ledgers.concurrency import Concurrency
from wingbeat.ledgers.flows import DEFAULT_FLOW, FlowQueue, Flows
from wingbeat.ledgers.quota import Cost, Quota, Reservation

WaitingFor = Literal["slot", "quota", "service"]

PASSED_AFTER_S = 1.0
"""A wait at the head of the only flow that is worth looking for somebody who could go meanwhile."""

_NOTHING = Cost(0.0)
"""What fits as soon as anything does: no limit is paused, or in debt for what went before."""


class AdmissionClosed(Exception):
    """The run that a waiting lane belongs to has stopped."""


class DaySpent(Exception):
    """The requests of the day are used up, as the user limited them."""


class Grant:
    """The right to send one request at this moment; give it back with `Admission.leave`."""

    __slots__ = ("flow", "is_try", "reservation")

    def __init__(self, reservation: Reservation, is_try: bool, flow: RequestFlow) -> None:
        self.reservation = reservation
        self.is_try = is_try
        self.flow = flow


RequestFlow = FlowQueue[asyncio.Future[Grant], Callable[[], Cost]]
"""Lanes that wait in one flow, each with what its request would cost now."""


class Admission:
    """
    Admit requests, each at the moment it may go: flows by their weights, and within a flow first come first served.

    A lane that is granted sends at once: nothing lies between the grant and the wire. Waiting lanes own no timers:
    one timer wakes the first of them, and every one whose time has come goes in the same wake-up. A lane cancelled
    while it waits leaves no trace; cancelled after its grant it gives the slot back, and the quota stays spent,
    since the service may have counted it.

    While the one whose turn it is has to wait for room for a large request, another's small one may pass if the large
    one goes no later for it: one of another flow, or where there is but one flow and the wait is long, one behind it.
    A flow leaves a little of each limit to heavier ones.

    Args:
        quota: The route's limits.
        slots: How many may be in flight.
        breaker: Whether the service is up.
    """

    def __init__(self, quota: Quota, slots: Concurrency, breaker: Breaker) -> None:
        self.quota = quota
        self.slots = slots
        self.breaker = breaker
        self.flows: Flows[asyncio.Future[Grant], Callable[[], Cost]] = Flows()
        self.blocked_by: WaitingFor | None = None
        self.due_at = float("-inf")
        self._default = self.flows.named(DEFAULT_FLOW)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        shared = f"{self.flows!r}, " if self.flows.is_shared else ""
        return f"<Admission {self.waiting} waiting for {self.blocked_by}, {shared}{self.slots!r}, {self.quota!r}>"

    @property
    def waiting(self) -> int:
        """Lanes that wait to send."""
        return self.flows.waiting

    def enter_nowait(self, cost: Cost, flow: RequestFlow | None = None) -> Grant | None:
        """
        Take the right to send one request if it may go at this very moment and nobody waits; else None.

        Args:
            cost: What the request is expected to take.
            flow: Where it belongs; to the default flow if None.

        Raises:
            DaySpent: The requests of the day are used up.
        """
        if self.quota.day_is_spent:
            raise DaySpent
        if self.flows.waiting:
            return None
        now = self._loop.time()
        flow = flow or self._default
        if self._due(now, cost, flow) > now:
            return None
        # With one flow there is nobody to compare it with, so its share is not reckoned.
        self.flows.charge(flow, self.quota.share(cost) if self.flows.is_shared else 0.0)
        return self._grant(now, cost, flow)

    async def enter(
        self,
        cost: Cost | Callable[[], Cost],
        waiters: set[asyncio.Future[Any]],
        flow: RequestFlow | None = None,
    ) -> Grant:
        """
        Wait for the right to send one request.

        Args:
            cost: What the request is expected to take; or what says so, and is asked again at its turn.
            waiters: Holds the lane's future while it waits, for `Stopping` to end the wait of a whole run.
            flow: Where it queues; in the default flow if None.

        Raises:
            AdmissionClosed: The run has stopped meanwhile.
            DaySpent: The requests of the day are used up.
        """
        cost_now = cost if callable(cost) else lambda: cost
        if not self.flows.waiting or self.quota.day_is_spent:
            grant = self.enter_nowait(cost_now(), flow)
            if grant is not None:
                return grant
        flow = flow or self._default
        future: asyncio.Future[Grant] = self._loop.create_future()
        is_first = self.flows.join(flow, future, cost_now)
        waiters.add(future)
        if is_first or self._timer is None or self._may_pass(flow):
            self._pump()
        try:
            return await future
        except BaseException:
            if self.flows.withdraw(flow, future):
                self._pump()
            if future.done() and not future.cancelled() and future.exception() is None:
                self.abandon(future.result())
            raise
        finally:
            waiters.discard(future)

    def leave(self) -> None:
        """Give the slot of an ended request back."""
        self.slots.give_back()
        if self.flows.waiting:
            self._pump()

    def abandon(self, grant: Grant) -> None:
        """Give back a grant whose request told nothing: it was cancelled."""
        self.breaker.abandoned(grant.is_try)
        self.leave()

    def settle(self, grant: Grant, took: Cost) -> None:
        """Charge a request's flow for what the request truly took, in place of the estimate; the quota is not told."""
        if self.flows.is_shared:
            self.flows.settle(grant.flow, self.quota.share(took) - self.quota.share(grant.reservation.cost))

    def _may_pass(self, flow: RequestFlow) -> bool:
        """True when the head has to wait for long, and somebody who has just come may be let pass."""
        is_long = self.blocked_by == "quota" and self.due_at - self._loop.time() > PASSED_AFTER_S
        return is_long and len(flow.queue) <= MOST_CANDIDATES

    def _due(self, now: float, cost: Cost, flow: RequestFlow) -> float:
        """Return when a request may go, and note what stands in the way."""
        if not self.slots.is_free:
            self.blocked_by = "slot"
            return float("inf")
        if self.breaker.state is not BreakerState.CLOSED:
            due = self.breaker.ready_at(now)
            if due > now:
                self.blocked_by = "service"
                return due
        due = self.quota.ready_at(now, cost) if flow.weight == self.flows.heaviest else self._light_due(now, cost)
        self.blocked_by = "quota" if due > now else None
        return due

    def _light_due(self, now: float, cost: Cost) -> float:
        """Return when the quota allows a request that leaves some of it to heavier flows than its own."""
        return max(self.quota.paused_until, ready_beside_spare(self.quota.guards, cost, now))

    def _grant(self, now: float, cost: Cost, flow: RequestFlow) -> Grant:
        self.slots.take()
        return Grant(self.quota.commit(now, cost), self.breaker.admit(now), flow)

    def _serve(self, now: float, cost: Cost, flow: RequestFlow) -> None:
        """Wake the first lane of a flow with its grant."""
        future = self.flows.serve(flow, self.quota.share(cost) if self.flows.is_shared else 0.0)
        future.set_result(self._grant(now, cost, flow))

    def _pump(self) -> None:
        """Grant everyone whose time has come; set the one timer for the next."""
        self._stop_timer()
        now = self._loop.time()
        flows = self.flows
        while (flow := flows.head()) is not None:
            future, cost_now = flow.first
            if future.done():
                flows.withdraw(flow, future)
                continue
            if self.quota.day_is_spent:
                flows.withdraw(flow, future)
                future.set_exception(DaySpent())
                continue
            cost = cost_now()
            due = self._due(now, cost, flow)
            if due <= now:
                self._serve(now, cost, flow)
                continue
            self.due_at = due
            wake_at = due
            if self.blocked_by == "quota":
                if flows.waiting > len(flow.queue) or (due - now > PASSED_AFTER_S and len(flow.queue) > 1):
                    wake_at = self._let_pass(now, flow, cost, due)
                self.blocked_by = "quota"
            if wake_at != float("inf"):
                self._timer = self._loop.call_at(wake_at, self._pump)
            return
        self.blocked_by = None

    def _let_pass(self, now: float, head: RequestFlow, head_cost: Cost, due: float) -> float:
        """
        Grant those that fit beside a head which waits for room, and don't delay it.

        They are the first ones of the other flows, or where there is but one flow, those behind its head.

        Returns:
            When to look again: when the head is due, or earlier when another may fit by then.
        """
        open_at = self.quota.ready_at(now, _NOTHING)
        if open_at > now or self.breaker.state is not BreakerState.CLOSED:
            return min(open_at, due)
        look_at, leaves_spare = due, head.weight < self.flows.heaviest
        if self.flows.waiting > len(head.queue):
            candidates = deque((flow, *flow.first) for flow in self.flows.next_heads(MOST_CANDIDATES))
        else:
            candidates = deque((head, *each) for each in islice(head.queue.items(), 1, 1 + MOST_CANDIDATES))
        while candidates:
            flow, future, cost_now = candidates.popleft()
            if future.done():
                continue
            cost = cost_now()
            ready_at = self._due(now, cost, flow)
            if ready_at > now:
                look_at = min(look_at, ready_at)
            elif self._leaves_a_slot and not delays(
                self.quota.guards, head_cost, cost, due, now, leaves_spare=leaves_spare
            ):
                flow.queue.move_to_end(future, last=False)
                self._serve(now, cost, flow)
                if self.quota.day_is_spent:
                    return now
                if flow is not head and flow.queue:
                    candidates.append((flow, *flow.first))
        return look_at

    @property
    def _leaves_a_slot(self) -> bool:
        """True when there is a slot for the head too: the last one is kept for it."""
        return self.slots.in_flight + 1 < self.slots.limit

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
