"""
How well the production engine uses a server that has a capacity and no quota, without being told how much it is.

The route is told nothing: it starts at ten in flight. The server is one of `MODELS`; what the best fixed number in
flight yields on it, found by trying, is what the engine is held against.
"""

# ruff: noqa: ARG002 - the port says what a caller is given
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

from benchmarks.quota.batching import MODELS, BatchingServer, Kept, Model, Sequence, best_in_flight, p99

from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.quota import Quota
from wingbeat.ledgers.watch import Watch
from wingbeat.model.answer import Completion, Failure, FailureKind, Outcome, Usage
from wingbeat.model.record import Record
from wingbeat.testing import run_virtual

TIMEOUT_S = 300.0

SETTLED_S = 240.0
"""What is measured begins here: the ramp from ten to a few hundred takes two or three minutes."""

NETWORK_S = (0.040, 0.060)
"""Seconds from sending to arrival, and from the last token to the client."""

NEAR = 0.2
"""A limit is at the new knee once it is so near to what yields as much as the best."""


class Bar(NamedTuple):
    """What a model is held to: part of the best throughput, seconds to the first token, seconds to a new knee."""

    used: float
    first_p99_s: float = 2.5
    found_again_s: float | None = 60.0


BARS = {"A": Bar(0.97), "B": Bar(0.97), "C": Bar(0.90, found_again_s=None)}
"""Server C has no queue and no edge: after it has lost a pod, too many in flight cost latency and nothing else."""


class CapacityResult(NamedTuple):
    """
    What came of one run.

    Args:
        model: Which server.
        seed: Seed of all draws.
        loses_pod: Whether it lost half its capacity on the way.
        used: Output tokens per second as a part of the best, from `SETTLED_S` (or a minute after the loss) on.
        first_p99_s: 99th percentile of the server's time to the first token, in the same span.
        first_p99_ramp_s: The same before `SETTLED_S`.
        latency_p99_s: 99th percentile of the whole latency.
        timeouts: Requests that took longer than the timeout, in the whole run.
        best: What the best fixed number in flight yields.
        limits: The limit at each fifth second.
        found_again_s: Seconds from the loss until the limit stayed near the new knee, or None.
    """

    model: str
    seed: int
    loses_pod: bool
    used: float
    first_p99_s: float
    first_p99_ramp_s: float
    latency_p99_s: float
    timeouts: int
    best: Kept
    limits: tuple[int, ...]
    found_again_s: float | None

    @property
    def is_good(self) -> bool:
        """True when the model's bar is met."""
        bar = BARS[self.model]
        if self.loses_pod:
            again_s = self.found_again_s
            return bar.found_again_s is None or (again_s is not None and again_s <= bar.found_again_s)
        return self.used >= bar.used and self.first_p99_s <= bar.first_p99_s and not self.timeouts


class BatchingCaller:
    """Ask a `BatchingServer` on the loop's own clock, as a caller of the engine; answers come whole."""

    def __init__(self, model: Model, seed: int) -> None:
        self.server = BatchingServer(model)
        self.served: list[tuple[float, Sequence]] = []
        self.timeouts = 0
        self._model = model
        self._lengths = Random(f"lengths:{seed}")
        self._network = Random(f"network:{seed}")
        self._loop = asyncio.get_running_loop()
        self._stepping = False

    def prepare(self, record: Record) -> tuple[int, int]:
        """Draw the lengths of a request."""
        return self._model.lengths(self._lengths)

    def text_size(self, record: Record) -> tuple[int, int]:
        """Measure nothing: no quota is kept."""
        return (4, 0)

    async def call(
        self, prepared: tuple[int, int], timeout_s: float, watch: Watch | None = None
    ) -> Completion | Failure:
        """Send, be served, and come back; leave when it takes too long."""
        future: asyncio.Future[None] = self._loop.create_future()
        sequence = Sequence(self._loop.time(), *prepared, tag=future)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self._network.uniform(*NETWORK_S))
                sequence.arrived_at = self._loop.time()
                self.server.arrive(sequence)
                if not self._stepping:
                    self._begin_step()
                await future
                await asyncio.sleep(self._network.uniform(*NETWORK_S))
        except TimeoutError:
            self.server.leave(sequence)
            self.timeouts += 1
            return Failure(FailureKind.TIMEOUT, f"no whole reply within {timeout_s:g} s")
        return Completion("", "STOP", Usage(input_tokens=sequence.prompt, output_tokens=sequence.output))

    def _begin_step(self) -> None:
        taken_s = self.server.begin_step()
        self._stepping = taken_s is not None
        if taken_s is not None:
            self._loop.call_later(taken_s, self._end_step)

    def _end_step(self) -> None:
        now = self._loop.time()
        for sequence in self.server.end_step(now):
            self.served.append((now, sequence))
            future: Any = sequence.tag
            if not future.done():
                future.set_result(None)
        self._begin_step()


def run_capacity(model: str, seed: int, minutes: float, *, lose_pod_at_s: float | None = None) -> CapacityResult:
    """
    Run the production engine against a server for so many minutes of virtual time.

    Args:
        model: Which of `MODELS`.
        seed: Seed of all draws.
        minutes: How long.
        lose_pod_at_s: When one of its two pods is lost, if at all.
    """
    caller, limits = run_virtual(_play(MODELS[model], seed, minutes, lose_pod_at_s))
    loses_pod = lose_pod_at_s is not None
    best = best_of(model, pods=1 if loses_pod else None)
    begins_s = SETTLED_S if lose_pod_at_s is None else lose_pod_at_s + 60.0
    ended = [(at, sequence) for at, sequence in caller.served if at >= begins_s]
    ramp = [sequence for at, sequence in caller.served if at < min(begins_s, SETTLED_S)]
    span_s = minutes * 60.0 - begins_s
    return CapacityResult(
        model=model,
        seed=seed,
        loses_pod=loses_pod,
        used=sum(sequence.output for _, sequence in ended) / span_s / best.tokens_per_s,
        first_p99_s=p99([_first_s(sequence) for _, sequence in ended]),
        first_p99_ramp_s=p99([_first_s(sequence) for sequence in ramp]),
        latency_p99_s=p99([at - sequence.arrived_at for at, sequence in ended]),
        timeouts=caller.timeouts,
        best=best,
        limits=tuple(limits),
        found_again_s=None if lose_pod_at_s is None else _found_again_s(limits, lose_pod_at_s, best),
    )


@cache
def best_of(model: str, pods: int | None = None) -> Kept:
    """Return what the best fixed number in flight yields on a server."""
    return best_in_flight(MODELS[model], pods=pods)


async def _play(
    model: Model, seed: int, minutes: float, lose_pod_at_s: float | None
) -> tuple[BatchingCaller, list[int]]:
    loop = asyncio.get_running_loop()
    caller = BatchingCaller(model, seed)
    route = Route(
        caller, model.name, quota=Quota(), concurrency=None, timeout_s=TIMEOUT_S, random=Random(f"jitter:{seed}")
    )
    run = Run(route, IteratorIntake(_endless()), _forget, lanes=10_000, statistics=Statistics())
    limits: list[int] = []

    def look() -> None:
        limits.append(route.admission.slots.limit)
        loop.call_later(5.0, look)

    look()
    if lose_pod_at_s is not None:
        loop.call_later(lose_pod_at_s, caller.server.lose_pod)
    task = asyncio.create_task(run.execute())
    await asyncio.sleep(minutes * 60.0)
    task.cancel()
    await asyncio.wait({task})
    return caller, limits


def _endless() -> Iterator[Record]:
    index = 0
    while True:
        yield Record(index, None, b"", None)
        index += 1


def _forget(record: Record, outcome: Outcome) -> None:
    """Keep no outcome: the server has counted it."""


def _first_s(sequence: Sequence) -> float:
    assert sequence.first_token_at is not None
    return sequence.first_token_at - sequence.arrived_at


def _found_again_s(limits: list[int], lost_at_s: float, best: Kept) -> float | None:
    """Return how long after a loss the limit was near the new knee for half a minute at least."""
    first = int(lost_at_s // 5) + 1
    for index in range(first, len(limits) - 6):
        if all(abs(limit - best.in_flight) <= NEAR * best.in_flight for limit in limits[index : index + 6]):
            return index * 5.0 - lost_at_s
    return None


HEADINGS = (
    "server  seed  pod lost   used  TTFT p99  in ramp  latency p99  timeouts  best at  near again  bar   "
    "limit at each minute"
)


def table(results: list[CapacityResult]) -> str:
    """Return results as a table in plain text."""
    return "\n".join([HEADINGS, *(line(result) for result in results)])


def line(result: CapacityResult) -> str:
    """Return one result as a line of the table."""
    again = "" if not result.loses_pod else "never" if result.found_again_s is None else f"{result.found_again_s:.0f} s"
    return (
        f"{result.model:6}  {result.seed:4}  {'yes' if result.loses_pod else 'no':8}  {result.used:5.1%}"
        f"  {result.first_p99_s:6.2f} s  {result.first_p99_ramp_s:5.1f} s  {result.latency_p99_s:9.0f} s"
        f"  {result.timeouts:8}  {result.best.in_flight:7}  {again:>10}  {'met ' if result.is_good else 'MISS'}"
        f"  {' '.join(str(limit) for limit in result.limits[::12])}"
    )
