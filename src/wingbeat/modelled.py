"""
A service as the simulator's models describe it, without wire and without text: what a rehearsal asks.

It decides how long an answer takes and how long it is; what is asked when is the engine's business.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from math import log
from random import Random

import msgspec

from wingbeat.job.sizes import RowSize
from wingbeat.ledgers.watch import Watch
from wingbeat.model.answer import Completion, Failure, FailureKind, QuotaViolation, Usage
from wingbeat.model.limit import DAY_S, INPUT_TOKENS, MINUTE_S, REQUESTS
from wingbeat.model.record import Record
from wingbeat.simulator import SimulatorConfig
from wingbeat.simulator.catalogue import Model
from wingbeat.simulator.dice import Dice
from wingbeat.simulator.latency import Latency, Timing
from wingbeat.simulator.quota import Dimension, Quotas, SpendingCapRefusal

OUTPUT_SIGMA = 0.5
"""Spread of the log-normal length of answers around their mean. Assumed: it depends on the prompts."""

STREAM_PARTS = 8
"""Parts of a streamed answer after its first token. Assumed: services send one for every few dozen tokens."""

_VIOLATED = {
    Dimension.REQUESTS_PER_MINUTE: (REQUESTS, MINUTE_S),
    Dimension.INPUT_TOKENS_PER_MINUTE: (INPUT_TOKENS, MINUTE_S),
    Dimension.REQUESTS_PER_DAY: (REQUESTS, DAY_S),
}


class OutputLengths(msgspec.Struct, frozen=True):
    """
    How long answers are: log-normal, cut at what the request allows.

    Args:
        mean_tokens: Their mean before any cut, thinking included.
    """

    mean_tokens: float

    def draw(self, random: Random, most: int) -> int:
        """Return the tokens of one answer."""
        median = log(self.mean_tokens) - OUTPUT_SIGMA**2 / 2
        return max(1, min(most, round(random.lognormvariate(median, OUTPUT_SIGMA))))


class Replies:
    """Wake callers when their replies are due; one timer for the earliest, so that thousands in flight cost little."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def after(self, seconds: float) -> asyncio.Future[None]:
        """Return a future that is done after so many seconds."""
        future: asyncio.Future[None] = self._loop.create_future()
        at = self._loop.time() + seconds
        heapq.heappush(self._due, (at, next(self._numbers), future))
        if self._due[0][2] is future:
            self._set_timer()
        return future

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due[0][0], self._wake)

    def _wake(self) -> None:
        now = self._loop.time()
        due = self._due
        self._timer = None
        while due and due[0][0] <= now + 1e-9:
            future = heapq.heappop(due)[2]
            if not future.done():
                future.set_result(None)
        if due:
            self._set_timer()


class ModelledService:
    """
    Answer as the simulator's models do, without text: its quota is judged on arrival, its latency drawn anew.

    Args:
        config: Quota and latency.
        model: Whose latency.
        outputs: How long answers are.
        seed: Seeds all draws, and where the windows of the quota begin.
    """

    def __init__(self, config: SimulatorConfig, model: Model, outputs: OutputLengths, seed: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._model = model
        self._outputs = outputs
        self._random = Random(f"outputs:{seed}")
        self._latency = Latency(msgspec.structs.replace(config.latency, jitter=True), seed)
        self._quotas = Quotas(config.quota, seed, self._loop.time())
        self._refusal_s = config.refusal_latency_s
        self._replies = Replies()
        self._dice = Dice(b"", "")
        self.accepted = 0
        self.accepted_tokens = 0

    def prepare(self, record: Record) -> RowSize:
        """Return the row's size: all that is known of it."""
        size: RowSize = record.item
        return size

    def text_size(self, record: Record) -> tuple[int, int]:
        """Return as many bytes as make the row's tokens."""
        return round(4 * self.prepare(record).input_tokens), 0

    async def call(self, prepared: RowSize, timeout_s: float, watch: Watch | None = None) -> Completion | Failure:
        """Refuse what is beyond the quota; answer the rest when its time has come."""
        tokens = max(1, round(prepared.input_tokens))
        refusal = self._quotas.judge("plan", self._model.name, tokens, self._loop.time())
        if refusal is not None:
            await self._replies.after(min(self._refusal_s, timeout_s))
            if isinstance(refusal, SpendingCapRefusal):
                return Failure(FailureKind.SPENDING_LIMIT, "the simulated account may not spend more")
            violations = tuple(
                QuotaViolation(each.dimension.name, *_VIOLATED[each.dimension], float(each.limit))
                for each in refusal.violations
            )
            is_day = any(violation.window_s == DAY_S for violation in violations)
            kind = FailureKind.DAY_QUOTA if is_day else FailureKind.RATE_LIMITED
            return Failure(kind, "the simulated quota is used up", refusal.wait_s, violations=violations)
        self.accepted += 1
        self.accepted_tokens += tokens
        output = self._outputs.draw(self._random, prepared.max_output_tokens or self._model.output_token_limit)
        timing = self._latency.timing(self._model, self._dice)
        if timing.after(output) > timeout_s:
            await self._replies.after(timeout_s)
            return Failure(FailureKind.TIMEOUT, f"no whole reply within {timeout_s:g} s")
        usage = Usage(tokens, output)
        if watch is None:
            await self._replies.after(timing.after(output))
        else:
            await self._tell(watch, timing, usage)
        return Completion("", "STOP", usage)

    async def _tell(self, watch: Watch, timing: Timing, usage: Usage) -> None:
        """Give an answer in parts: the first token, then the others in even steps."""
        await self._replies.after(timing.first_token_s)
        watch.came(self._loop.time(), 1)
        for _ in range(STREAM_PARTS):
            await self._replies.after(usage.output_tokens * timing.seconds_per_token / STREAM_PARTS)
            watch.came(self._loop.time(), 1)
        watch.came(self._loop.time(), 0, usage)
