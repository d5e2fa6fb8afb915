"""A run: as many lanes as there is work for, from the first record to the last outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wingbeat.engine.admission import RequestFlow
from wingbeat.engine.attempt import Attempt
from wingbeat.engine.lane import Lane
from wingbeat.engine.ports import Delivery, Intake
from wingbeat.engine.route import Route
from wingbeat.engine.statistics import Statistics
from wingbeat.engine.stopping import Stopping
from wingbeat.model.answer import Failure

SPARE_LANES = 32
"""Lanes that may wait to send: enough to fill what a growing limit makes free, and to choose who goes next."""


class Run:
    """
    Carry every record of an intake to its outcome, in as many lanes as are useful.

    Lanes are started one by one while there is a record for the next and hardly one waits to send, so a small run
    costs little, and a large one has hardly more than are in flight or back off. What could not be finished because
    the run stopped has no outcome.

    Args:
        route: Whom to ask.
        intake: Where records come from.
        deliver: Where outcomes go.
        lanes: Most records carried at once, backing-off ones included; at least the route's concurrency.
        statistics: Counters to update.
        burst: Whether the run is small enough to go at once.
        flow: Where its requests queue; in the default flow if None.
        observe: Called after each request, or None.
        notice: Called with each failure that makes the run pause, and the seconds of the pause, or None.
    """

    def __init__(
        self,
        route: Route,
        intake: Intake,
        deliver: Delivery,
        *,
        lanes: int,
        statistics: Statistics,
        burst: bool = False,
        flow: RequestFlow | None = None,
        observe: Callable[[Attempt], None] | None = None,
        notice: Callable[[Failure, float], None] | None = None,
    ) -> None:
        self.route = route
        self.statistics = statistics
        self.stopping = Stopping(notice, intake.close)
        self._intake = intake
        self._deliver = deliver
        self._max_lanes = lanes
        self._lanes = 0
        self._burst = burst
        self._flow = flow
        self._observe = observe
        self._group: asyncio.TaskGroup | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<Run {self._lanes} lanes, {self.statistics!r}>"

    async def execute(self) -> None:
        """
        Carry all records.

        Raises:
            RunStopped: The run stopped early; what was answered has been delivered.
        """
        if not self._burst:
            self.route.quota.restart(asyncio.get_running_loop().time())
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._open_lane()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        except asyncio.CancelledError:
            self.stopping.drain()
            raise
        self._check_all_read()
        if self.stopping.cause is not None and self.statistics.remaining != 0:
            raise self.stopping.cause

    def _check_all_read(self) -> None:
        """Refuse to end as if all were well when lanes were lost, by whatever cancelled them."""
        if not self._ended and not self.stopping.is_set:
            raise RuntimeError("every lane has ended although there were records left: something cancelled them")

    def drain(self) -> None:
        """Send nothing new; `execute` returns once what is in flight has ended."""
        self.stopping.drain()

    def _needs_lane(self) -> bool:
        """Tell whether one more lane would be of use: where many wait already it would only hold a record."""
        if self._lanes >= self._max_lanes or len(self.stopping.waiters) >= SPARE_LANES:
            return False
        carrying = self._lanes - self.statistics.backing_off
        return carrying < self.route.admission.slots.limit + SPARE_LANES

    def _open_lane(self) -> None:
        assert self._group is not None
        self._lanes += 1
        self._group.create_task(self._carry_all())

    async def _carry_all(self) -> None:
        """Be one lane: take a record, bring it to its outcome, deliver that, and take the next."""
        lane = Lane(
            self.route, self.statistics, self.stopping, burst=self._burst, flow=self._flow, observe=self._observe
        )
        while not self.stopping.is_set:
            record = await self._intake.next_record()
            if record is None:
                self._ended = True
            if record is None or self.stopping.is_set:
                return
            if self._needs_lane():
                self._open_lane()
            outcome = await lane.carry(record)
            if outcome is None:
                return
            delivered = self._deliver(record, outcome)
            if delivered is not None:
                await delivered


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first real error of a group, so that callers meet ordinary exceptions."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
