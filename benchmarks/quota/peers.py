"""
What other clients do against the same servers, in virtual time and with their own code wherever it can run there.

A limiter waits as its documentation shows; a client's usual retries stand around it. Every attempt, retries too, asks
the limiter again, which is kinder than the clients' SDKs, whose inner retries pass it by.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from random import Random
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol
from unittest import mock

from benchmarks.quota.delays import Delays, StallingLoop, stall_now_and_then
from benchmarks.quota.measuring import Trace, reached_s, traced, used
from benchmarks.quota.scenario import Scenario
from benchmarks.quota.servers import RateServer
from benchmarks.quota.wire import Ask, Asks, Log, Wire, endless, plain

from wingbeat.model.answer import Completion

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0
"""Bounds of the exponential backoff after refusals that tell no wait; each is drawn evenly from 0 to its bound."""

LEAK_S = 10.0
"""pyrate-limiter forgets what is out of its windows so often (``BucketFactory.leak_interval``)."""

MEAN_ANSWER_S = 2.0
"""What `reply_s` takes in the mean; lanes are counted in answers that are under way at the limit."""

POLLING_LANES = 2.0
"""Lanes of a limiter whose waiters poll, in answers under way: half of them wait, and more would only poll more."""

LEARNING_LANES, LEAST_LEARNING_LANES = 3.0, 100
"""Lanes of clients that learn, in answers under way, and at least so many: ten times botocore's pool of 10."""

TICK_S = 1e-9
"""What reading a clock takes. aiolimiter sets timers that are due at once, and would set them for ever if time stood
still between two readings."""


class TickingLoop(StallingLoop):
    """A loop in virtual time whose clock moves on a little whenever it is read, as real ones do."""

    def __init__(self) -> None:
        self._readings = 0
        super().__init__()

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        self._readings += 1
        return super().time() + self._readings * TICK_S


class Pacer(Protocol):
    """What stands between a client's lanes and the server."""

    async def admit(self, *, again: bool) -> None:
        """Wait until a request may go out, for the first time or again after a refusal."""
        ...

    def note(self, *, accepted: bool) -> None:
        """Hear what became of a request that was admitted."""
        ...


class Waits:
    """A pacer that only waits, and learns nothing from replies."""

    def __init__(self, acquire: Callable[[], Any]) -> None:
        self._acquire = acquire

    async def admit(self, *, again: bool) -> None:
        """Ask the limiter."""
        del again
        await self._acquire()

    def note(self, *, accepted: bool) -> None:
        """Learn nothing."""


@contextmanager
def aiolimiter_pacer(limit: float) -> Iterator[Pacer]:
    """Use `AsyncLimiter(limit, 60)`. Its clock is the loop's, so nothing is patched."""
    from aiolimiter import AsyncLimiter

    yield Waits(AsyncLimiter(limit, 60).acquire)


@contextmanager
def pyrate_pacer(limit: float) -> Iterator[Pacer]:
    """
    Use `Limiter(Rate(limit, Duration.MINUTE))`, a sliding log, over the loop's clock.

    Its own thread that forgets old items would read real time; a timer of the loop does the same every ten seconds.
    """
    from pyrate_limiter import AbstractClock, Duration, InMemoryBucket, Limiter, Rate
    from pyrate_limiter.limiter import SingleBucketFactory

    loop = asyncio.get_running_loop()

    class LoopClock(AbstractClock):
        def now(self) -> int:
            return int(loop.time() * 1000)

    class Bucket(InMemoryBucket):
        _clock = LoopClock()

    bucket = Bucket([Rate(int(limit), Duration.MINUTE)])
    limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))

    async def forget() -> None:
        while True:
            await asyncio.sleep(LEAK_S)
            bucket.leak(bucket.now())

    forgetting = loop.create_task(forget())
    try:
        yield Waits(limiter.try_acquire_async)
    finally:
        forgetting.cancel()


@contextmanager
def langchain_pacer(limit: float) -> Iterator[Pacer]:
    """
    Use `InMemoryRateLimiter` with the bucket of 10 and the poll of 0.1 s that its documentation shows.

    It reads `time.monotonic`, which is replaced by the loop's clock within its module, for the run.
    """
    from langchain_core import rate_limiters

    clock = SimpleNamespace(monotonic=asyncio.get_running_loop().time, sleep=time.sleep)
    with mock.patch.object(rate_limiters, "time", clock):
        limiter = rate_limiters.InMemoryRateLimiter(
            requests_per_second=limit / 60.0, check_every_n_seconds=0.1, max_bucket_size=10
        )
        yield Waits(limiter.aacquire)


@contextmanager
def botocore_pacer(lanes: int) -> Iterator[Pacer]:
    """
    Use the rate limiter of botocore's adaptive retry mode, with its own cubic rule, rate clock and token bucket.

    They take a clock as an argument. The bucket blocks its thread while it waits; here it says that it has no room, and
    the lane waits on the loop as long as the thread would have: until there is room, or the rate has changed.
    """
    from botocore.exceptions import CapacityNotAvailableError
    from botocore.retries.adaptive import ClientRateLimiter, RateClocker
    from botocore.retries.bucket import TokenBucket
    from botocore.retries.throttling import CubicCalculator

    del lanes
    loop = asyncio.get_running_loop()
    clock = SimpleNamespace(current_time=loop.time)

    class Unblocking(TokenBucket):  # type: ignore[misc]
        def acquire(self, amount: int = 1, block: bool = True) -> bool:
            del block
            return bool(super().acquire(amount, block=False))

    bucket = Unblocking(max_rate=1, clock=clock)
    limiter = ClientRateLimiter(
        rate_adjustor=CubicCalculator(starting_max_rate=0, start_time=loop.time()),
        rate_clocker=RateClocker(clock),
        token_bucket=bucket,
        throttling_detector=SimpleNamespace(is_throttling_error=lambda *, throttled: throttled),
        clock=clock,
    )
    yield _Cubic(limiter, bucket, CapacityNotAvailableError)


class _Cubic:
    """botocore's limiter without its blocked threads."""

    def __init__(self, limiter: Any, bucket: Any, no_room: type[Exception]) -> None:
        self._limiter = limiter
        self._bucket = bucket
        self._no_room = no_room
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def admit(self, *, again: bool) -> None:
        """Wait until the bucket, if it is in use yet, has room."""
        del again
        while True:
            try:
                self._limiter.on_sending_request(request=None)
                return
            except self._no_room:
                await self._until_room_or_change()

    async def _until_room_or_change(self) -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        wait_s = max(1e-6, (1.0 - self._bucket.available_capacity) / self._bucket.max_rate)
        timer = loop.call_later(wait_s, _wake, woken)
        self._waiting[woken] = None
        try:
            await woken
        finally:
            timer.cancel()
            self._waiting.pop(woken, None)

    def note(self, *, accepted: bool) -> None:
        """Adjust the rate, which wakes one waiter, as botocore's condition does."""
        self._limiter.on_receiving_response(throttled=not accepted)
        if self._waiting:
            first = next(iter(self._waiting))
            del self._waiting[first]
            _wake(first)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class ConcurrencyRule:
    """
    Keep so many requests in flight, a number that grows while nothing is refused and is cut when something is.

    Additive increase, multiplicative decrease, with the figures of inspect_ai's adaptive connections: from 20 on;
    doubled by each clean round until the first refusal, then 5 % more; cut to 0.8, once in 15 s; grown only while four
    fifths are in use. Its least number is 1 here, since inspect_ai's 10 would be above some of the limits.

    Args:
        now: The clock.
        most: Most requests in flight.
    """

    START, LEAST = 20.0, 1.0
    CUT, GROWTH, CALM_S, BUSY = 0.8, 0.05, 15.0, 0.8

    def __init__(self, now: Callable[[], float], most: int) -> None:
        self.limit = self.START
        self._now = now
        self._most = most
        self._in_flight = 0
        self._peak = 0
        self._clean = 0
        self._cut_at: float | None = None
        self._waiting: list[asyncio.Future[None]] = []

    async def admit(self, *, again: bool) -> None:
        """Wait for a place; a request keeps its own while it backs off, which is kinder than to let others pass."""
        if again:
            return
        while self._in_flight >= int(self.limit):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)

    def note(self, *, accepted: bool) -> None:
        """Adjust the number of places, and free that of an answered request."""
        if accepted:
            self._in_flight -= 1
            self._clean += 1
            if self._clean >= self.limit:
                self._grow()
        else:
            self._cut()
        for place in self._waiting[: max(0, int(self.limit) - self._in_flight)]:
            self._waiting.remove(place)
            _wake(place)

    def _grow(self) -> None:
        if self._peak >= self.BUSY * self.limit:
            more = self.limit if self._cut_at is None else max(1.0, self.limit * self.GROWTH)
            self.limit = min(float(self._most), self.limit + more)
        self._clean, self._peak = 0, self._in_flight

    def _cut(self) -> None:
        now = self._now()
        self._clean, self._peak = 0, self._in_flight
        if self._cut_at is None or now >= self._cut_at + self.CALM_S:
            self.limit = max(self.LEAST, self.limit * self.CUT)
            self._cut_at = now


@contextmanager
def aimd_pacer(lanes: int) -> Iterator[Pacer]:
    """Use the rule above; it is written here, from the published figures."""
    yield ConcurrencyRule(asyncio.get_running_loop().time, lanes)


class Limiter(NamedTuple):
    """A peer that must be told the limit; ``polls`` says that its waiters wake up for nothing all the time."""

    name: str
    package: str
    make: Callable[[float], AbstractContextManager[Pacer]]
    polls: bool = False

    def lanes(self, scenario: Scenario, limit: float) -> int:
        """Return as many lanes as the engine gets, or as many as there is use for."""
        useful = math.ceil(POLLING_LANES * limit / 60.0 * MEAN_ANSWER_S)
        return min(scenario.concurrency, max(16, useful)) if self.polls else scenario.concurrency


class Learner(NamedTuple):
    """A peer that is told nothing but the number of its lanes; ``package`` is None for what is written here."""

    name: str
    package: str | None
    make: Callable[[int], AbstractContextManager[Pacer]]

    def lanes(self, scenario: Scenario, limit: float) -> int:
        """Return as many lanes as the limit could ever need, so that it is the rule that is measured."""
        useful = math.ceil(LEARNING_LANES * limit / 60.0 * MEAN_ANSWER_S)
        return min(scenario.concurrency, max(LEAST_LEARNING_LANES, useful))


Peer = Limiter | Learner

PEERS: tuple[Peer, ...] = (
    Limiter("aiolimiter", "aiolimiter", aiolimiter_pacer),
    Limiter("pyrate-limiter", "pyrate_limiter", pyrate_pacer),
    Limiter("LangChain", "langchain_core", langchain_pacer, polls=True),
    Learner("botocore adaptive", "botocore", botocore_pacer),
    Learner("AIMD on concurrency", None, aimd_pacer),
)


class Played(NamedTuple):
    """What a peer came to, by the measures of `Measured`."""

    used: float
    refused: float
    refusals: int
    reached_95_s: float | None
    trace: Trace
    wall_s: float


class NotPlayed(NamedTuple):
    """Why a peer was not run."""

    reason: str


def is_comparable(scenario: Scenario, peer: Peer) -> bool:
    """Return whether a limit of requests is all that is at play; where it is told, it says nothing of a learner."""
    if isinstance(peer, Learner) and scenario.knows.requests is not None:
        return False
    alone = scenario.weather is None and scenario.pause_at_s is None
    tokens = scenario.knows.input_tokens is not None or scenario.knows.output_tokens is not None
    return alone and not tokens and scenario.asks == Asks(plain)


def play(peer: Peer, scenario: Scenario, seed: int) -> Played | NotPlayed:
    """Run a peer in a scenario, with the delays, stalls and server that the engine gets with that seed."""
    told = scenario.knows.requests
    if peer.package is not None and find_spec(peer.package) is None:
        return NotPlayed("not installed")
    began = time.perf_counter()
    server = scenario.server(Random(f"server {seed}"))
    lanes = peer.lanes(scenario, told or scenario.server(Random(f"server {seed}")).limit_at(0.0))
    if isinstance(peer, Learner):
        make = partial(peer.make, lanes)
    elif told is None:
        return NotPlayed("n/a: needs the limit")
    else:
        make = partial(peer.make, told)
    with asyncio.Runner(loop_factory=TickingLoop) as runner:
        log = runner.run(_play(make, lanes, scenario, seed, server))
    trace = traced(log, scenario.server(Random(f"server {seed}")), round(scenario.minutes * 60))
    refusals = log.became.count(Log.REFUSED)
    return Played(
        used=used(trace, scenario),
        refused=refusals / max(1, len(log)),
        refusals=refusals,
        reached_95_s=reached_s(trace, 0.95),
        trace=trace,
        wall_s=time.perf_counter() - began,
    )


async def _play(
    make: Callable[[], AbstractContextManager[Pacer]], lanes: int, scenario: Scenario, seed: int, server: RateServer
) -> Log:
    loop = asyncio.get_running_loop()
    ends_at = scenario.minutes * 60.0
    delays = Delays(
        scenario.network, Random(f"delays {seed}"), answers_s=scenario.answers_s, refusal_s=scenario.refusal_s
    )
    wire = Wire(server, delays, Random(f"weather {seed}"))
    stall_now_and_then(loop, ends_at, Random(f"stalls {seed}"))
    asks = (wire.prepare(record) for record in endless(scenario.asks.draw, Random(f"asks {seed}")))
    random = Random(seed)
    with make() as pacer:
        try:
            async with asyncio.timeout_at(ends_at), asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(_lane(pacer, wire, asks, random))
        except TimeoutError:
            pass  # The time is over; nothing in here has another timeout.
    return wire.log


async def _lane(pacer: Pacer, wire: Wire, asks: Iterator[Ask], random: Random) -> None:
    """Send one request after the other, each as often as it takes."""
    for ask in asks:
        refusals = 0
        while True:
            await pacer.admit(again=refusals > 0)
            reply = await wire.call(ask, timeout_s=600.0)
            pacer.note(accepted=isinstance(reply, Completion))
            if isinstance(reply, Completion):
                break
            await asyncio.sleep(backoff_s(reply.retry_after_s, refusals, random))
            refusals += 1


def backoff_s(retry_after_s: float | None, refusals: int, random: Random) -> float:
    """Return what a usual client waits after a refusal: what it was told, else a draw below a bound that doubles."""
    if retry_after_s is not None:
        return retry_after_s
    return random.uniform(0.0, min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(refusals, 16)))
