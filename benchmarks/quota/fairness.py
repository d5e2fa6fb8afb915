"""
How flows share one known quota: by their weights, and a caller that cannot wait beside a backlog that can.

    python benchmarks/quota/fairness.py               # seeds 1-5
    python benchmarks/quota/fairness.py --seeds 1-20

The production engine runs in virtual time against a bucket of 600 requests and 1.2 M tokens a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.quota.delays import Delays, StallingLoop, stall_now_and_then
from benchmarks.quota.meters import Bucket, OnePerRequest, constant
from benchmarks.quota.servers import Server
from benchmarks.quota.wire import Ask, Wire, endless

from wingbeat.engine.attempt import Attempt
from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.ports import Intake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.flows import WEIGHTS
from wingbeat.ledgers.quota import Quota
from wingbeat.model.answer import Outcome
from wingbeat.model.record import Record

REQUESTS, TOKENS = 600.0, 1_200_000.0
MINUTES, MEASURED_FROM_S = 15.0, 120.0
LANES = 300

SIZES = {"one": (1.0, 500), "two": (2.0, 4000), "four": (4.0, 1500)}
"""Weight and tokens of each flow. The first would take more requests than tokens, the others more tokens."""

MOST_OFF = 0.005
"""Farthest that a flow's part may be from its weight."""

MOST_WAIT_S = 1.5
"""Longest that 99 of 100 requests of the interactive flow may wait beside the backlog."""

ASKS_EVERY_S = 2.0


class Flow(NamedTuple):
    """One flow of a run: its name and weight, what it asks, and where its records come from."""

    name: str
    weight: float
    intake: Intake


class TimedIntake:
    """Hand out records at random moments, as people ask."""

    def __init__(self, records: Iterator[Record], every_s: float, random: Random) -> None:
        self._records = records
        self._every_s = every_s
        self._random = random
        self._next_at = 0.0

    async def next_record(self) -> Record | None:
        """Wait for the next moment that no other lane waits for."""
        now = asyncio.get_running_loop().time()
        self._next_at = max(self._next_at, now) + self._random.expovariate(1.0 / self._every_s)
        await asyncio.sleep(self._next_at - now)
        return next(self._records, None)

    def close(self) -> None:
        """The next moment comes soon enough."""


async def _play(flows: list[Flow], seed: int) -> dict[str, list[Attempt]]:
    """Run all flows side by side on one route; return what each of them sent."""
    loop = asyncio.get_running_loop()
    server = Server(Bucket(constant(TOKENS)), OnePerRequest(Bucket(constant(REQUESTS))))
    wire = Wire(server, Delays("wan", Random(f"delays {seed}")), Random(f"weather {seed}"))
    route = Route(wire, "bench", quota=Quota(REQUESTS, TOKENS), concurrency=2000, random=Random(seed))
    sent: dict[str, list[Attempt]] = {}
    runs = []
    for flow in flows:
        sent[flow.name] = []
        queue = route.admission.flows.named(flow.name, flow.weight)
        observe = sent[flow.name].append
        runs.append(Run(route, flow.intake, _forget, lanes=LANES, statistics=Statistics(), flow=queue, observe=observe))
    stall_now_and_then(loop, MINUTES * 60.0, Random(f"stalls {seed}"))
    for run in runs:
        loop.call_at(MINUTES * 60.0, run.drain)
    await asyncio.gather(*(run.execute() for run in runs))
    return sent


def _forget(record: Record, outcome: Outcome) -> None:
    """Keep no outcome."""
    del record, outcome


def _play_virtual(flows: list[Flow], seed: int) -> dict[str, list[Attempt]]:
    with asyncio.Runner(loop_factory=StallingLoop) as runner:
        return runner.run(_play(flows, seed))


def _of_size(tokens: int) -> Callable[[Random], Ask]:
    return lambda _random: Ask(float(tokens), tokens, 100)


def shares(seed: int) -> tuple[dict[str, float], int]:
    """
    Return what each of three flows got of what all of them got, and the refusals.

    A flow's part is counted in dominant shares: of the requests' limit or the tokens', whichever it takes more of.
    """
    flows = [
        Flow(name, weight, IteratorIntake(endless(_of_size(tokens), Random(name), 1)))
        for name, (weight, tokens) in SIZES.items()
    ]
    sent = _play_virtual(flows, seed)
    took = {}
    for name, (_weight, tokens) in SIZES.items():
        measured = [attempt for attempt in sent[name] if attempt.sent_at >= MEASURED_FROM_S and not attempt.failed]
        took[name] = len(measured) * max(1.0 / REQUESTS, tokens / TOKENS)
    refusals = sum(attempt.failed is not None for attempts in sent.values() for attempt in attempts)
    return {name: units / sum(took.values()) for name, units in took.items()}, refusals


def interactive_waits(seed: int) -> list[float]:
    """Return how long each request of an interactive caller waits beside a backlog that never ends, in order."""
    random = Random(f"sizes {seed}")
    asking = TimedIntake(endless(_of_size(1000), random, 1), ASKS_EVERY_S, Random(f"asking {seed}"))
    flows = [
        Flow("backlog", WEIGHTS["batch"], IteratorIntake(endless(_large, random))),
        Flow("interactive", WEIGHTS["interactive"], asking),
    ]
    return sorted(attempt.sent_at - attempt.waited_from for attempt in _play_virtual(flows, seed)["interactive"])


def _large(random: Random) -> Ask:
    tokens = 30_000 if random.random() < 0.05 else random.randint(500, 2000)
    return Ask(float(tokens), tokens, 200)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", default="1-5")
    first, _, last = parser.parse_args().seeds.partition("-")
    whole = sum(weight for weight, _ in SIZES.values())
    for seed in range(int(first), int(last or first) + 1):
        parts, refusals = shares(seed)
        off = max(abs(parts[name] - weight / whole) for name, (weight, _) in SIZES.items())
        waits = interactive_waits(seed)
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        said = " ".join(f"{100 * part:.2f} %" for part in parts.values())
        is_met = off <= MOST_OFF and not refusals and p99 <= MOST_WAIT_S
        print(
            f"seed {seed}: weights 1:2:4 got {said}, {refusals} refused; "
            f"interactive: {len(waits)} requests waited {p50:.2f} s (p50), {p99:.2f} s (p99)  "
            f"{'met' if is_met else 'MISSED'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
