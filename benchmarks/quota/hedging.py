"""
What hedging does to the slowest answers, and what it costs: the production engine in virtual time, with and without.

    python benchmarks/quota/hedging.py                    # seeds 1-3, 3,000 prompts
    python benchmarks/quota/hedging.py --seeds 1-20 --prompts 10000

The same prompts meet the same first answers in both runs; a second request draws its own luck. "Extra" is counted
twice: as the client bills itself, and as the service would bill it, up to the moment when it sees the cancellation.
It fails when hedges cost more than their share, or when p99 is not cut as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import msgspec

from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.route import HttpCaller, Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.hedge import COST_SHARE, Hedging
from wingbeat.ledgers.prices import Prices, TokenPrice
from wingbeat.ledgers.quota import Quota
from wingbeat.model.answer import Outcome
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure
from wingbeat.model.record import Record, Request
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.testing import run_virtual

CODEC = GeminiCodec("gemini-2.5-flash")
PRICES = Prices(TokenPrice(0.3), TokenPrice(2.5), None, "gemini-2.5-flash, 2026-07")
INPUT_TOKENS = 400
CHUNK_TOKENS = 24

LEAST_CUT = 0.15
"""What hedging must take off the 99th percentile where something is late by chance."""


class Service(NamedTuple):
    """
    How long answers take.

    Args:
        name: What the table calls it.
        output_tokens: Median length of an answer; lognormal, and a matter of the prompt.
        output_sigma: Its spread.
        first_token_s: Median time to the first token; lognormal with sigma 0.4.
        slow_first: Part of the requests whose first token comes much later.
        slow_first_s: Mean of what these wait besides.
        stalls: Part of the requests whose tokens stop for a while.
        stall_s: Mean length of a stall.
        tokens_per_s: Median speed; lognormal with sigma 0.25.
    """

    name: str
    output_tokens: float = 330.0
    output_sigma: float = 0.7
    first_token_s: float = 0.9
    slow_first: float = 0.02
    slow_first_s: float = 15.0
    stalls: float = 0.01
    stall_s: float = 25.0
    tokens_per_s: float = 80.0


SERVICES = (
    Service("late first tokens and stalls"),
    Service("late first tokens only", stalls=0.0, slow_first=0.03),
    Service("stalls only", slow_first=0.0, stalls=0.02),
    Service("short answers", output_tokens=40.0, output_sigma=0.6, tokens_per_s=150.0),
    Service("long answers", output_tokens=1500.0, output_sigma=0.7, slow_first_s=60.0, stall_s=60.0),
    Service("nothing is ever late", slow_first=0.0, stalls=0.0),
    Service("a bad day: a tenth is late", slow_first=0.1),
)


class ModelledTransport:
    """Play a service in virtual time: part by part, and cancelled where the client goes away."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._seed = seed
        self._asked: Counter[bytes] = Counter()
        self.billed_usd = 0.0
        self.in_flight = 0

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """Answer whole: as a stream whose parts nobody sees."""
        parts: list[bytes] = []
        await self.stream(request, timeout_s, parts.append)
        stream = CODEC.stream()
        stream.feed(b"".join(parts))
        usage = stream.usage
        assert usage is not None
        return HttpReply(200, {}, _part("ok", "STOP", usage.output_tokens))

    async def stream(
        self, request: HttpRequest, timeout_s: float, take: Callable[[bytes], None]
    ) -> HttpReply | TransportFailure:
        """Hand an answer on as it is written."""
        assert timeout_s > 0
        self._asked[request.body] += 1
        tokens, first_s, token_s, stalled_at, stall_s = self._fate(request.body)
        written = 0
        self.in_flight += 1
        try:
            await asyncio.sleep(first_s)
            while written < tokens:
                chunk = min(CHUNK_TOKENS, tokens - written)
                pause_s = stall_s if written <= stalled_at < written + chunk else 0.0
                await asyncio.sleep(token_s * chunk + pause_s)
                written += chunk
                take(b"data: " + _part("ok", "STOP" if written == tokens else None, written) + b"\r\n\r\n")
        finally:
            self.in_flight -= 1
            self.billed_usd += PRICES.estimate_usd(INPUT_TOKENS, written)
        return HttpReply(200, {}, b"")

    def _fate(self, body: bytes) -> tuple[int, float, float, float, float]:
        """Draw the answer's length from the prompt, and the rest from the prompt and how often it was asked."""
        service = self._service
        by_prompt = Random(f"{self._seed}:{body!r}")
        by_request = Random(f"{self._seed}:{body!r}:{self._asked[body]}")
        tokens = max(1, round(service.output_tokens * by_prompt.lognormvariate(0.0, service.output_sigma)))
        first_s = service.first_token_s * by_request.lognormvariate(0.0, 0.4)
        if by_request.random() < service.slow_first:
            first_s += by_request.expovariate(1.0 / service.slow_first_s)
        token_s = by_request.lognormvariate(0.0, 0.25) / service.tokens_per_s
        stalls = by_request.random() < service.stalls
        stalled_at = by_request.uniform(0.0, tokens) if stalls else -1.0
        return tokens, first_s, token_s, stalled_at, by_request.expovariate(1.0 / service.stall_s)


class Measured(NamedTuple):
    """One run: latencies in order, seconds until its end, its bill, and its counters."""

    latencies_s: list[float]
    took_s: float
    billed_usd: float
    statistics: Statistics

    def percentile_s(self, share: float) -> float:
        """Return the latency that so many are not above."""
        return self.latencies_s[min(len(self.latencies_s) - 1, int(share * len(self.latencies_s)))]


def measure(service: Service, seed: int, prompts: int, *, hedge: bool) -> Measured:
    """Ask all prompts of one service."""

    async def main() -> Measured:
        transport = ModelledTransport(service, seed)
        route = Route(
            HttpCaller(CODEC, transport),
            "gemini/modelled",
            quota=Quota(),
            concurrency=64,
            prices=PRICES,
            hedging=Hedging() if hedge else None,
            random=Random(seed),
        )
        outcomes: list[Outcome] = []
        records = (
            Record(index, index, index.to_bytes(16, "big"), Request(prompt=f"question {index} ".ljust(1600, ".")))
            for index in range(prompts)
        )
        statistics = Statistics(prompts)
        run = Run(
            route,
            IteratorIntake(records),
            lambda _record, outcome: outcomes.append(outcome),
            lanes=64,
            statistics=statistics,
        )
        await run.execute()
        assert transport.in_flight == route.admission.slots.in_flight == 0
        assert [outcome.ok for outcome in outcomes] == [True] * prompts
        took_s = asyncio.get_running_loop().time()
        return Measured(
            sorted(outcome.latency_s or 0.0 for outcome in outcomes), took_s, transport.billed_usd, statistics
        )

    return run_virtual(main())


def _part(text: str, reason: str | None, tokens: int) -> bytes:
    candidate = {"content": {"parts": [{"text": text}]}} | ({"finishReason": reason} if reason else {})
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": tokens}
    return msgspec.json.encode({"candidates": [candidate], "usageMetadata": usage})


def main() -> None:
    """Measure every service, and print the worst and the median over the seeds."""
    parser = argparse.ArgumentParser(description="Latency with and without hedging, in virtual time.")
    parser.add_argument("--seeds", default="1-3")
    parser.add_argument("--prompts", type=int, default=3000)
    parser.add_argument("--match", default="", help="Only services whose name holds this.")
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    print(f"{options.prompts:,} prompts, 64 in flight, seeds {options.seeds}: median over seeds [worst extra]")
    print("| service | | p50 | p95 | p99 | p99.9 | whole job | hedged (won) | extra, our bill | extra, its bill |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for service in SERVICES:
        if options.match in service.name:
            _print_rows(service, seeds, options.prompts)


def _print_rows(service: Service, seeds: range, prompts: int) -> None:
    plain = [measure(service, seed, prompts, hedge=False) for seed in seeds]
    hedged = [measure(service, seed, prompts, hedge=True) for seed in seeds]
    _print_row(service.name, "plain", plain, "– | – | –")
    ours = [run.statistics.hedges_share for run in hedged]
    theirs = [run.billed_usd / before.billed_usd - 1.0 for run, before in zip(hedged, plain, strict=True)]
    count = _median([run.statistics.hedged for run in hedged])
    won = _median([run.statistics.hedges_won for run in hedged])
    more = f"{count:,.0f} ({won:,.0f}) | {_share(ours)} | {_share(theirs)}"
    _print_row("", "hedged", hedged, more)
    cut = _median([1 - a.percentile_s(0.99) / b.percentile_s(0.99) for a, b in zip(hedged, plain, strict=True)])
    assert max(ours) <= COST_SHARE, f"{service.name}: hedges cost {max(ours):.2%}"
    if service.slow_first or service.stalls:
        print(f"| | p99 −{cut:.0%} | | | | | | | | |")
        assert cut >= LEAST_CUT, f"{service.name}: p99 is cut by {cut:.1%} only"


def _print_row(name: str, kind: str, runs: list[Measured], more: str) -> None:
    figures = [_median([run.percentile_s(share) for run in runs]) for share in (0.5, 0.95, 0.99, 0.999)]
    took = _median([run.took_s for run in runs])
    print(
        f"| {name} | {kind} | {' | '.join(f'{figure:.1f}' for figure in figures)} | {took:.0f} s | {more} |", flush=True
    )


def _median(values: list[float] | list[int]) -> float:
    return sorted(values)[len(values) // 2]


def _share(values: list[float]) -> str:
    return f"{_median(values):.1%} [{max(values):.1%}]"


if __name__ == "__main__":
    main()
