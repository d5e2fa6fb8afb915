"""The same requests three ways: one at a time, all at once, and through lanes within the quota."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from wingbeat.config import Service
from wingbeat.connecting import connect, served
from wingbeat.engine.attempt import Attempt
from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.errors import RunStopped
from wingbeat.ledgers.limits import Limits
from wingbeat.limitbook import Memory
from wingbeat.model.answer import Failure, FailureKind
from wingbeat.model.record import Record
from wingbeat.report.timeline import End, Mode, Span, Track

SEQUENTIAL = "one at a time"
GATHER = "all at once (gather)"
LANES = "wingbeat"

REST_S = 61.0
"""Pause between the ways on a real service whose quota a minute they share, so that each meets a fresh minute."""


class Comparison:
    """
    Send the same requests three ways and keep the time of each, from connecting to the last answer.

    On the simulator each way has a key of its own, so each meets a fresh quota.

    Args:
        service: Whom to ask.
        limits: What lanes keep to; the other two ways keep to nothing, which is the point.
        records: The requests.
        simulator: How the bundled simulator behaves.
        say: Told what happens, a line at a time.
        memory: What is known of the service's limits, for lanes only.
    """

    def __init__(
        self,
        service: Service,
        limits: Limits,
        records: Sequence[Record],
        *,
        simulator: str | None,
        say: Callable[[str], None],
        memory: Memory | None = None,
    ) -> None:
        self._service = service
        self._limits = limits
        self._records = records
        self._simulator = simulator
        self._say = say
        self._memory = memory

    async def run(self) -> list[Mode]:
        """Send all requests in each way, one way after the other."""
        ways = ((SEQUENTIAL, self._sequential), (GATHER, self._gather), (LANES, self._lanes))
        modes: list[Mode] = []
        async with served(self._service, self._limits, self._simulator) as service:
            for number, (name, send) in enumerate(ways):
                if number and self._must_rest():
                    self._say(
                        f"resting {REST_S:.0f} s: the ways share one quota a minute, and each is to meet a fresh one"
                    )
                    await asyncio.sleep(REST_S)
                self._say(f"{name}: sending {len(self._records):,} requests …")
                modes.append(await self._time(name, service, send))
        return modes

    def _must_rest(self) -> bool:
        limit = self._limits.rpm
        return self._service.kind != "sim" and limit is not None and 2 * len(self._records) > limit

    async def _time(self, name: str, service: Service, send: Callable[[Route], Awaitable[list[Attempt]]]) -> Mode:
        if service.kind == "sim":
            service = msgspec.structs.replace(service, key=f"simulated-{name.partition(' ')[0]}")
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        async with connect(service, self._limits, memory=self._memory if name == LANES else None) as route:
            attempts = await send(route)
            ended_at = max((attempt.ended_at for attempt in attempts), default=loop.time())
        return Mode(
            name,
            ended_at - started_at,
            _tracks(attempts, len(self._records), started_at),
            _note(attempts, self._records),
        )

    async def _sequential(self, route: Route) -> list[Attempt]:
        waited_from = asyncio.get_running_loop().time()
        return [await self._once(route, record, waited_from) for record in self._records]

    async def _gather(self, route: Route) -> list[Attempt]:
        waited_from = asyncio.get_running_loop().time()
        return await asyncio.gather(*(self._once(route, record, waited_from) for record in self._records))

    async def _lanes(self, route: Route) -> list[Attempt]:
        attempts: list[Attempt] = []
        tokens = sum(route.estimator.input_tokens(*route.caller.text_size(record)) for record in self._records)
        run = Run(
            route,
            IteratorIntake(iter(self._records)),
            lambda _record, _outcome: None,
            lanes=self._limits.most_lanes,
            statistics=Statistics(len(self._records)),
            burst=route.quota.is_small(len(self._records), tokens),
            observe=attempts.append,
        )
        try:
            await run.execute()
        except RunStopped as stopped:
            self._say(f"stopped: {stopped}")
        return attempts

    async def _once(self, route: Route, record: Record, waited_from: float) -> Attempt:
        """Send one request as a plain script would: no limit, no second try."""
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        result = await route.caller.call(route.caller.prepare(record), route.timeout_s)
        failed = result.kind if isinstance(result, Failure) else None
        return Attempt(record.index, 1, waited_from, sent_at, loop.time(), failed)


def _tracks(attempts: Sequence[Attempt], requests: int, started_at: float) -> tuple[Track, ...]:
    spans: list[list[Span]] = [[] for _ in range(requests)]
    for attempt in attempts:
        spans[attempt.index].append(
            Span(
                attempt.waited_from - started_at,
                attempt.sent_at - started_at,
                attempt.ended_at - started_at,
                _end(attempt.failed),
            )
        )
    return tuple(Track(index, tuple(found)) for index, found in enumerate(spans))


def _end(failed: FailureKind | None) -> End:
    if failed is None:
        return "answered"
    return "refused" if failed is FailureKind.RATE_LIMITED or failed is FailureKind.DAY_QUOTA else "failed"


def _note(attempts: Sequence[Attempt], records: Sequence[Record]) -> str:
    answered = {attempt.index for attempt in attempts if attempt.failed is None}
    lost = len(records) - len(answered)
    if not lost:
        return ""
    return f"{lost:,} of {len(records):,} never answered"
