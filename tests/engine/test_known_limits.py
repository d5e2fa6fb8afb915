"""Known limits, hours of traffic in virtual time: the whole quota, and not one refusal."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tests.engine.playing import Play, prompts

from wingbeat.ledgers.quota import Quota
from wingbeat.simulator import LatencyConfig, QuotaConfig, SimulatorApp, SimulatorConfig
from wingbeat.testing import SimulatedTransport, run_virtual

WINDOWS = 11
DELAY_SPREAD_S = 0.2


def sizes(kind: str, random: Random) -> Iterator[int]:
    """Yield input tokens of prompts: all alike, from 20 to 20,000, or a few that are very long."""
    while True:
        if kind == "alike":
            yield 10
        elif kind == "wide":
            yield int(min(20_000, max(20, random.lognormvariate(6.5, 1.3))))
        else:
            yield random.randint(500, 2000) if random.random() > 0.05 else 30_000


def play(
    enforcement: str, requests: int | None, tokens: int | None, kind: str, *, windows: int = WINDOWS, seed: int = 1
) -> tuple[float, int]:
    """Return the used part of the limit that binds, and the number of refusals."""
    source = sizes(kind, Random(seed))
    costs: list[int] = []
    total = 0
    while len(costs) < (requests or 10**9) * windows and total < (tokens or 10**12) * windows:
        costs.append(next(source))
        total += costs[-1]

    async def main() -> tuple[Play, SimulatedTransport]:
        quota = QuotaConfig(rpm=requests, tpm=tokens, enforcement=enforcement)  # type: ignore[arg-type]
        config = SimulatorConfig(quota=quota, latency=LatencyConfig(constant_s=2.0), seed=seed)
        transport = SimulatedTransport(SimulatorApp(config, start=0.0), delay_spread_s=DELAY_SPREAD_S, seed=seed)
        asked = [f"{number} ".ljust(cost * 4, "a") for number, cost in enumerate(costs)]
        return await Play(transport, asked, quota=Quota(requests, tokens), concurrency=400).execute(), transport

    done, transport = run_virtual(main())
    assert done.statistics.answered == len(costs)
    accepted = [served.sent_at for served in transport.served if served.status == 200]
    minutes = (accepted[-1] - accepted[0]) / 60
    # The last request opens a span that is not measured, so it does not count.
    used = max(
        (len(accepted) - 1) / (requests * minutes) if requests else 0.0,
        sum(costs[:-1]) / (tokens * minutes) if tokens else 0.0,
    )
    return used, done.statistics.refused


@pytest.mark.slow
@pytest.mark.parametrize("enforcement", ["fixed", "sliding", "bucket"])
@pytest.mark.parametrize(
    ("requests", "tokens", "kind", "least"),
    [
        (10, None, "alike", 0.99),
        (60, None, "alike", 0.99),
        (600, None, "alike", 0.99),
        (None, 1_000_000, "wide", 0.99),
        (1000, 1_000_000, "wide", 0.99),
        (600, 1_200_000, "some long", 0.99),
    ],
)
def test_the_whole_quota_without_a_refusal(
    enforcement: str, requests: int | None, tokens: int | None, kind: str, least: float
) -> None:
    """With limits known, at least 99 % of the one that binds is used and nothing is refused."""
    used, refused = play(enforcement, requests, tokens, kind)
    assert refused == 0
    assert used >= least


@pytest.mark.slow
def test_a_service_that_counts_by_the_second_costs_little_after_the_ladder() -> None:
    """A limit enforced in single seconds refuses a few requests, until the pace has grown stricter."""
    used, refused = play("subsecond", 600, None, "alike")
    assert used >= 0.90
    assert refused <= 0.01 * 600 * WINDOWS


def test_a_small_job_takes_one_latency() -> None:
    """Five prompts at ten requests a minute all go at once, and none is refused."""

    async def main() -> float:
        config = SimulatorConfig(quota=QuotaConfig(rpm=10), latency=LatencyConfig(constant_s=2.0))
        transport = SimulatedTransport(SimulatorApp(config, start=0.0))
        done = await Play(transport, prompts(5), quota=Quota(10), burst=True).execute()
        assert done.statistics.refused == 0
        return max(attempt.ended_at for attempt in done.attempts)

    assert run_virtual(main()) == 2.0


def test_an_unknown_limit_is_learnt_from_its_first_refusal() -> None:
    """Without known limits the service's own words set the pace, and every prompt is answered."""

    async def main() -> Play:
        config = SimulatorConfig(quota=QuotaConfig(rpm=10, enforcement="sliding"), latency=LatencyConfig(constant_s=2))
        transport = SimulatedTransport(SimulatorApp(config, start=0.0), delay_spread_s=DELAY_SPREAD_S)
        return await Play(transport, prompts(60), concurrency=30).execute()

    done = run_virtual(main())
    assert done.statistics.answered == 60
    assert done.statistics.refused <= 25
    assert done.route.quota.requests is not None
    assert not done.route.quota.requests.is_strict


def test_the_same_seed_gives_the_same_run() -> None:
    """Two runs with the same seeds send at the same moments and end alike."""

    def once() -> list[tuple[object, ...]]:
        async def main() -> Play:
            config = SimulatorConfig.parse("rpm=30,fault.error_503=0.1,fault.reset=0.05,jitter=true,seed=4")
            transport = SimulatedTransport(SimulatorApp(config, start=0.0), delay_spread_s=DELAY_SPREAD_S, seed=2)
            return await Play(transport, prompts(60), quota=Quota(30)).execute()

        return [(x.index, x.sent_at, x.ended_at, x.failed) for x in run_virtual(main()).attempts]

    assert once() == once()
