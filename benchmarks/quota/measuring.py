"""Run one scenario with one seed through the production engine, and say what came of it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import pairwise
from random import Random
from typing import NamedTuple

from benchmarks.quota.delays import Delays, StallingLoop, stall_now_and_then
from benchmarks.quota.scenario import NOTHING, Scenario
from benchmarks.quota.servers import RateServer
from benchmarks.quota.wire import Log, Wire, endless

from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.route import Caller, Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.errors import RunStopped
from wingbeat.ledgers.quota import Quota
from wingbeat.model.answer import Outcome
from wingbeat.model.record import Record

BAND = (0.93, 1.10)
"""A client is back at a limit once a minute of its requests is within these parts of it."""

AFTER_CHANGE_S = 300.0
"""Refusals that follow a change of the limit are counted for so long."""

MINUTE_S = 60

STORM = 3.0
"""A run is ended once it has sent so many times what the server would admit in its time."""


class Trace(NamedTuple):
    """A run second by second: units accepted and refused in each, and the true limit in units a minute."""

    accepted: list[float]
    refused: list[float]
    limit: list[float]


class Recovery(NamedTuple):
    """After a change of the limit: seconds until a minute in band begins (None: never), and the part refused."""

    changed_at_s: float
    seconds: float | None
    refused: float


class Measured(NamedTuple):
    """
    What one run came to.

    Args:
        used: Part of what the server would have admitted in the measured minutes.
        refused: Part of all requests that was refused.
        refusals: The number of these.
        reached_95_s: End of the first minute that used 95 % of the limit, or None.
        violations: Arrivals that brought any minute above a limit that the client knew; None when it knew none.
        recoveries: What followed each change of the limit.
        wasted: Requests lost to the brown-out, as a part of what goes in the same time otherwise.
        first_second: What was sent in the first second after a pause, as a part of the limit; None without a pause.
        lost: Records that ended with an error, or with more than one outcome.
        stopped: Why the run ended early, or None.
        state: What the client knew of the limits at the end.
        wall_s: Real seconds that it took.
        trace: The run second by second.
    """

    used: float
    refused: float
    refusals: int
    reached_95_s: float | None
    violations: int | None
    recoveries: list[Recovery]
    wasted: float | None
    first_second: float | None
    lost: int
    stopped: str | None
    state: str
    wall_s: float
    trace: Trace


def make_route(caller: Caller, scenario: Scenario, random: Random) -> Route:
    """Make the route of a scenario's client; how many may be in flight it finds out where it knows no limit."""
    knows, most = scenario.knows, scenario.concurrency
    quota = Quota(knows.requests, knows.input_tokens, output_tokens_per_minute=knows.output_tokens)
    concurrency = None if knows == NOTHING and scenario.finds_concurrency else most
    return Route(caller, "bench", quota=quota, concurrency=concurrency, most_concurrency=most, random=random)


class Deliveries:
    """Count outcomes that are errors, or that a record has twice."""

    def __init__(self) -> None:
        self._seen = bytearray()
        self.lost = 0

    def take(self, record: Record, outcome: Outcome) -> None:
        """Take one outcome."""
        if record.index >= len(self._seen):
            self._seen.extend(bytes(record.index + 4096 - len(self._seen)))
        self.lost += outcome.error is not None or self._seen[record.index]
        self._seen[record.index] = 1


class Storm:
    """End a run that sends far more than the server can admit, and so would take for ever."""

    def __init__(self, log: Log, most: float, run: Run) -> None:
        self.is_on = False
        self._log = log
        self._most = most
        self._run = run
        self._look()

    def _look(self) -> None:
        if self._log.sent <= self._most:
            asyncio.get_running_loop().call_later(1.0, self._look)
            return
        self.is_on = True
        self._run.drain()


class Played(NamedTuple):
    """What a run of the engine left behind."""

    log: Log
    lost: int
    state: str
    stopped: str | None


async def _play(scenario: Scenario, seed: int, server: RateServer) -> Played:
    """Run the engine for the scenario's time."""
    loop = asyncio.get_running_loop()
    ends_at = scenario.minutes * 60.0
    wire = Wire(
        server,
        Delays(scenario.network, Random(f"delays {seed}"), answers_s=scenario.answers_s, refusal_s=scenario.refusal_s),
        Random(f"weather {seed}"),
        weather=scenario.weather,
        output_at=scenario.asks.output_at,
        counts_output=scenario.knows.output_tokens is not None,
    )
    route = make_route(wire, scenario, Random(seed))
    deliveries = Deliveries()
    run = Run(
        route,
        IteratorIntake(endless(scenario.asks.draw, Random(f"asks {seed}"))),
        deliveries.take,
        lanes=scenario.concurrency,
        statistics=Statistics(),
    )
    stall_now_and_then(loop, ends_at, Random(f"stalls {seed}"))
    loop.call_at(ends_at, run.drain)
    storm = Storm(wire.log, STORM * server.limit_at(0.0) * scenario.minutes, run)
    stopped = None
    try:
        await run.execute()
    except RunStopped as error:
        stopped = str(error)
    if storm.is_on:
        stopped = f"a storm of {len(wire.log):,} requests"
    slots = route.admission.slots
    return Played(wire.log, deliveries.lost, f"{route.quota!r} {slots!r}", stopped)


def measure(scenario: Scenario, seed: int) -> Measured:
    """Run a scenario and measure it."""
    began = time.perf_counter()
    server = scenario.server(Random(f"server {seed}"))
    with asyncio.Runner(loop_factory=StallingLoop) as runner:
        log, lost, state, stopped = runner.run(_play(scenario, seed, server))
    # A server's `limit_at` may not look back, so a fresh one of the same seed tells the limits.
    trace = traced(log, scenario.server(Random(f"server {seed}")), round(scenario.minutes * 60))
    refusals = log.became.count(Log.REFUSED)
    knows = scenario.knows
    known = knows.input_tokens or knows.output_tokens or knows.requests
    return Measured(
        used=max(used(trace, scenario), requests_used(log, scenario)),
        refused=refusals / max(1, len(log)),
        refusals=refusals,
        reached_95_s=reached_s(trace, 0.95),
        violations=None if known is None or scenario.may_exceed else violations(log, known),
        recoveries=[recovery(trace, changed_at_s) for changed_at_s in scenario.changes_s],
        wasted=wasted(log, trace, scenario),
        first_second=first_second(log, scenario),
        lost=lost,
        stopped=stopped,
        state=state,
        wall_s=time.perf_counter() - began,
        trace=trace,
    )


def traced(log: Log, server: RateServer, seconds: int) -> Trace:
    """Add a log up by the second."""
    accepted, refused = [0.0] * seconds, [0.0] * seconds
    for at, units, became in zip(log.at, log.units, log.became, strict=True):
        if at >= seconds:
            break
        if became == Log.ACCEPTED:
            accepted[int(at)] += units
        elif became == Log.REFUSED:
            refused[int(at)] += units
    return Trace(accepted, refused, [server.limit_at(second + 0.5) for second in range(seconds)])


def used(trace: Trace, scenario: Scenario) -> float:
    """Return the part of the limit that was used in the measured minutes."""
    begins = round(scenario.measured_from_min * 60)
    return sum(trace.accepted[begins:]) * 60.0 / sum(trace.limit[begins:])


def requests_used(log: Log, scenario: Scenario) -> float:
    """Return the used part of the requests' limit where tokens are the measured units; else 0."""
    if scenario.knows.requests is None or scenario.knows.input_tokens is None:
        return 0.0
    begins, ends = scenario.measured_from_min * 60.0, scenario.minutes * 60.0
    number = sum(begins <= at < ends and became == Log.ACCEPTED for at, became in zip(log.at, log.became, strict=True))
    return number * 60.0 / (scenario.knows.requests * (ends - begins))


def reached_s(trace: Trace, part: float) -> float | None:
    """Return the end of the first minute that used such a part of its limit."""
    units = limit = 0.0
    for second in range(len(trace.accepted)):
        units += trace.accepted[second]
        limit += trace.limit[second]
        if second >= MINUTE_S:
            units -= trace.accepted[second - MINUTE_S]
            limit -= trace.limit[second - MINUTE_S]
        if second >= MINUTE_S - 1 and units * 60.0 >= part * limit - 1e-6:
            return second + 1.0
    return None


def violations(log: Log, limit: float, span_s: float = 60.0) -> int:
    """Count arrivals that brought a minute above the limit, whatever the server made of them."""
    recent: deque[tuple[float, float]] = deque()
    total, number = 0.0, 0
    for at, units in zip(log.at, log.units, strict=True):
        while recent and recent[0][0] <= at - span_s:
            total -= recent.popleft()[1]
        recent.append((at, units))
        total += units
        number += total > limit + 1e-6
    return number


def recovery(trace: Trace, changed_at_s: float) -> Recovery:
    """Measure how a client came back to a limit that changed: both what it sent and what was accepted."""
    changed = round(changed_at_s)
    end = min(len(trace.accepted), changed + round(AFTER_CHANGE_S))
    refused, accepted = sum(trace.refused[changed:end]), sum(trace.accepted[changed:end])
    lowest, highest = BAND
    seconds = None
    for begins in range(changed, len(trace.accepted) - MINUTE_S + 1):
        minute = slice(begins, begins + MINUTE_S)
        limit = sum(trace.limit[minute]) / 60.0
        taken = sum(trace.accepted[minute])
        if taken >= lowest * limit and taken + sum(trace.refused[minute]) <= highest * limit:
            seconds = float(begins - changed)
            break
    return Recovery(changed_at_s, seconds, refused / max(1.0, refused + accepted))


def wasted(log: Log, trace: Trace, scenario: Scenario) -> float | None:
    """Return the requests lost in the brown-out, as a part of what its time otherwise takes."""
    if scenario.brown_out_s is None:
        return None
    begins, ends = scenario.brown_out_s
    normal = sum(trace.limit[round(begins) : round(ends)]) / 60.0
    return log.became.count(Log.FAILED) / normal


def first_second(log: Log, scenario: Scenario) -> float | None:
    """Return what arrived in the second after the longest gap that follows a pause, as a part of the limit."""
    if scenario.pause_at_s is None or scenario.knows.requests is None:
        return None
    after = [at for at in log.at if scenario.pause_at_s <= at <= scenario.pause_at_s + AFTER_CHANGE_S]
    if len(after) < 2:
        return None
    _gap, resumed_at = max((later - earlier, later) for earlier, later in pairwise(after))
    return sum(resumed_at <= at < resumed_at + 1.0 for at in after) * 60.0 / scenario.knows.requests
