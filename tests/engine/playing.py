"""Play whole runs in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random

from wingbeat.engine.attempt import Attempt
from wingbeat.engine.intake import IteratorIntake
from wingbeat.engine.ports import Transport
from wingbeat.engine.route import HttpCaller, Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.hedge import Hedging
from wingbeat.ledgers.prices import Prices
from wingbeat.ledgers.quota import Quota
from wingbeat.model.answer import Completion, Failure, Outcome
from wingbeat.model.options import NO_OPTIONS, Options
from wingbeat.model.record import Record, Request
from wingbeat.providers.gemini import GeminiCodec

MODEL = "gemini-2.5-flash"


def records(prompts: Iterable[str], options: Options = NO_OPTIONS) -> list[Record]:
    """Return one record for each prompt."""
    return [
        Record(index, index, index.to_bytes(16, "big"), Request(prompt=prompt, options=options))
        for index, prompt in enumerate(prompts)
    ]


def prompts(count: int) -> list[str]:
    """Return short prompts, all different."""
    return [f"question {number}" for number in range(count)]


class Play:
    """
    One run over a transport, with all that came of it. Make it inside the loop.

    Args:
        transport: What answers.
        asked: The prompts.
        quota: Limits that the client knows.
        concurrency: Slots.
        lanes: Records carried at once; as many as slots by default.
        burst: Whether the run is small enough to go at once.
        rows_known: Whether the statistics know the number of records.
    """

    def __init__(
        self,
        transport: Transport,
        asked: Sequence[str],
        *,
        quota: Quota | None = None,
        concurrency: int = 8,
        lanes: int | None = None,
        burst: bool = False,
        rows_known: bool = True,
        seed: int = 1,
        max_attempts: int = 5,
        timeout_s: float = 300.0,
        record_timeout_s: float | None = None,
        hedging: Hedging | None = None,
        prices: Prices | None = None,
        budget: Budget | None = None,
        max_output_tokens: int | None = None,
        deliver: Callable[[Record, Outcome], None] | None = None,
    ) -> None:
        self.route = Route(
            HttpCaller(GeminiCodec(MODEL), transport),
            f"gemini/{MODEL}",
            quota=quota or Quota(),
            concurrency=concurrency,
            prices=prices,
            budget=budget,
            max_attempts=max_attempts,
            timeout_s=timeout_s,
            record_timeout_s=record_timeout_s,
            hedging=hedging,
            random=Random(seed),
            day_resets=lambda: "midnight in Los Angeles",
        )
        self.statistics = Statistics(len(asked) if rows_known else None)
        self.outcomes: list[Outcome] = []
        self.attempts: list[Attempt] = []
        self.refusals: list[tuple[Failure, float]] = []
        self.run = Run(
            self.route,
            IteratorIntake(iter(records(asked, Options(max_output_tokens=max_output_tokens)))),
            deliver or self._deliver,
            lanes=lanes or concurrency,
            statistics=self.statistics,
            burst=burst,
            observe=self.attempts.append,
            notice=lambda failure, wait_s: self.refusals.append((failure, wait_s)),
        )

    def _deliver(self, record: Record, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    async def execute(self) -> Play:
        """Run to the end."""
        await self.run.execute()
        return self

    @property
    def slots_in_use(self) -> int:
        """Slots that are still taken."""
        return self.route.admission.slots.in_flight

    @property
    def texts(self) -> list[str | None]:
        """Texts in the order of the input."""
        return [outcome.text for outcome in sorted(self.outcomes, key=lambda outcome: outcome.index)]


class FunctionCaller:
    """Answer by a plain coroutine function of the record and the number of its call."""

    def __init__(self, function: Callable[[Record, int], object]) -> None:
        self._function = function
        self.calls = 0

    def prepare(self, record: Record) -> Record:
        """Keep the record as it is."""
        return record

    def text_size(self, record: Record) -> tuple[int, int]:
        """Measure nothing."""
        return (4, 0)

    async def call(self, prepared: Record, timeout_s: float) -> Completion | Failure:
        """Ask the function."""
        self.calls += 1
        result = self._function(prepared, self.calls)
        return await result if asyncio.iscoroutine(result) else result  # type: ignore[return-value]
