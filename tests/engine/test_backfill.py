"""Prompts of up to a third of a minute's tokens, in several flows: half an hour of traffic in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import pytest
from tests.ledgers.servers import SERVERS

from wingbeat.engine.admission import Admission
from wingbeat.ledgers.breaker import Breaker
from wingbeat.ledgers.concurrency import Concurrency
from wingbeat.ledgers.quota import Cost, Quota
from wingbeat.testing import run_virtual

LIMIT = 1_000_000
START_S, END_S = 120, 1800
DELAY_SPREAD_S = 0.2
FLOWS, LANES = 8, 4


def sizes(random: Random) -> Iterator[float]:
    """Yield tokens of prompts: three per cent of the limit on average, and thirty at most."""
    while True:
        yield max(1000.0, min(0.3 * LIMIT, random.lognormvariate(9.7, 1.25)))


def play(seed: int) -> tuple[list[tuple[float, float]], list[float]]:
    """Return the times and tokens of all that was sent, and how long each waited."""
    sent: list[tuple[float, float]] = []
    waits: list[float] = []

    async def main() -> None:
        gate, loop = Admission(Quota(None, LIMIT), Concurrency(500), Breaker()), asyncio.get_running_loop()

        async def lane(name: str, source: Iterator[float]) -> None:
            flow = gate.flows.named(name)
            while loop.time() < END_S:
                asked_at, size = loop.time(), next(source)
                await gate.enter(Cost(size), set(), flow)
                sent.append((loop.time(), size))
                waits.append(loop.time() - asked_at)
                await asyncio.sleep(2)
                gate.leave()

        sources = [sizes(Random(100 * seed + number)) for number in range(FLOWS)]
        await asyncio.gather(
            *(lane(str(number), source) for number, source in enumerate(sources) for _ in range(LANES))
        )

    run_virtual(main())
    return sent, waits


def used(sent: list[tuple[float, float]]) -> float:
    """Return the used part of the limit."""
    return sum(size for at, size in sent if START_S <= at < END_S) / LIMIT / ((END_S - START_S) / 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_large_prompts_leave_little_unused(seed: int) -> None:
    """At least 95 % of the tokens are used, and no kind of server refuses anything."""
    sent, _ = play(seed)
    random = Random(seed)
    arrivals = sorted((at + random.uniform(0, DELAY_SPREAD_S), size) for at, size in sent)
    for kind in SERVERS:
        server = kind(LIMIT, 60.0, random.uniform(0, 60))
        assert all(server.admits(at, size) for at, size in arrivals)
    assert used(sent) >= 0.95


@pytest.mark.slow
def test_letting_small_prompts_pass_delays_nobody_in_the_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """More goes through than if nobody passed, and the longest waits are no longer."""
    passing = [play(seed) for seed in range(1, 6)]
    monkeypatch.setattr("wingbeat.engine.admission.MOST_CANDIDATES", 0)
    strict = [play(seed) for seed in range(1, 6)]

    def longest(plays: list[tuple[list[tuple[float, float]], list[float]]]) -> float:
        waits = sorted(wait_s for _, waits in plays for wait_s in waits)
        return waits[int(len(waits) * 0.99)]

    gained = [used(one) - used(other) for (one, _), (other, _) in zip(passing, strict, strict=True)]
    assert min(gained) >= 0.02
    assert longest(passing) <= longest(strict)
