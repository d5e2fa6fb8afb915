"""The one place where lanes wait to send: for a slot first, then for the moment that quota and breaker allow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

from wingbeat.ledgers.breaker import Breaker, BreakerState
from wingbeat.ledgers.quota import Cost, Quota, Reservation
from wingbeat.ledgers.slots import Slots

WaitingFor = Literal["slot", "quota", "service"]


class AdmissionClosed(Exception):
    """The run that a waiting lane belongs to has stopped."""


class DaySpent(Exception):
    """The requests of the day are used up, as the user limited them."""


class Grant:
    """The right to send one request at this moment; give it back with `Admission.leave`."""

    __slots__ = ("is_try", "reservation")

    def __init__(self, reservation: Reservation, is_try: bool) -> None:
        self.reservation = reservation
        self.is_try = is_try


class Admission:
    """
    Admit requests first come, first served, each at the moment it may go.

    A lane that is granted sends at once: nothing lies between the grant and the wire. Waiting lanes own no timers:
    one timer wakes the first of them, and every one whose time has come goes in the same wake-up. A lane cancelled
    while it waits leaves no trace; cancelled after its grant it gives the slot back, and the quota stays spent,
    since the service may have counted it.

    Args:
        quota: The route's limits.
        slots: How many may be in flight.
        breaker: Whether the service is up.
    """

    def __init__(self, quota: Quota, slots: Slots, breaker: Breaker) -> None:
        self.quota = quota
        self.slots = slots
        self.breaker = breaker
        self.blocked_by: WaitingFor | None = None
        self.due_at = float("-inf")
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Cost, asyncio.Future[Grant]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Admission {len(self._waiting)} waiting for {self.blocked_by}, {self.slots!r}, {self.quota!r}>"

    @property
    def waiting(self) -> int:
        """Lanes that wait to send."""
        return len(self._waiting)

    def enter_nowait(self, cost: Cost) -> Grant | None:
        """
        Take the right to send one request if it may go at this very moment and nobody waits; else None.

        Raises:
            DaySpent: The requests of the day are used up.
        """
        if self.quota.day_is_spent:
            raise DaySpent
        if self._waiting:
            return None
        now = self._loop.time()
        return self._grant(now, cost) if self._due(now, cost) <= now else None

    async def enter(self, cost: Cost, waiters: set[asyncio.Future[Grant]]) -> Grant:
        """
        Wait for the right to send one request.

        Args:
            cost: What the request is expected to take.
            waiters: Holds the lane's future while it waits, for `Stopping` to end the wait of a whole run.

        Raises:
            AdmissionClosed: The run has stopped meanwhile.
            DaySpent: The requests of the day are used up.
        """
        grant = self.enter_nowait(cost)
        if grant is not None:
            return grant
        future: asyncio.Future[Grant] = self._loop.create_future()
        self._waiting.append((cost, future))
        if self._timer is None:
            self._pump()
        waiters.add(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.abandon(future.result())
            raise
        finally:
            waiters.discard(future)
            if self._waiting and self._waiting[0][1].done():
                self._pump()

    def leave(self) -> None:
        """Give the slot of an ended request back."""
        self.slots.give_back()
        if self._waiting:
            self._pump()

    def abandon(self, grant: Grant) -> None:
        """Give back a grant whose request told nothing: it was cancelled."""
        self.breaker.abandoned(grant.is_try)
        self.leave()

    def _due(self, now: float, cost: Cost) -> float:
        """Return when a request may go, and note what stands in the way."""
        if not self.slots.is_free:
            self.blocked_by = "slot"
            return float("inf")
        if self.breaker.state is not BreakerState.CLOSED:
            due = self.breaker.ready_at(now)
            if due > now:
                self.blocked_by = "service"
                return due
        due = self.quota.ready_at(now, cost)
        self.blocked_by = "quota" if due > now else None
        return due

    def _grant(self, now: float, cost: Cost) -> Grant:
        self.slots.take()
        return Grant(self.quota.commit(now, cost), self.breaker.admit(now))

    def _pump(self) -> None:
        """Grant everyone whose time has come; set the one timer for the next."""
        self._stop_timer()
        now = self._loop.time()
        waiting = self._waiting
        while waiting:
            cost, future = waiting[0]
            if future.done():
                waiting.popleft()
                continue
            if self.quota.day_is_spent:
                waiting.popleft()
                future.set_exception(DaySpent())
                continue
            due = self._due(now, cost)
            if due > now:
                self.due_at = due
                if due != float("inf"):
                    self._timer = self._loop.call_at(due, self._pump)
                return
            waiting.popleft()
            future.set_result(self._grant(now, cost))
        self.blocked_by = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
