"""Ask a service faster and faster until it refuses, and then just fast enough to learn why; the asynchronous part."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, assert_never

from wingbeat.concluding import conclude
from wingbeat.engine.route import Route
from wingbeat.engine.stopping import Stopping
from wingbeat.errors import AccessRefused, QuotaExhausted, ServiceDown, WingbeatError
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.ramp import Go, Over, Part, Ramp, Settings, Trial, Wait
from wingbeat.ledgers.retry import LONGEST_TOLD_WAIT_S, SERVICE_FAILURES, StopRun, verdict
from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.limit import INPUT_TOKENS, OUTPUT_TOKENS, TOKENS, LimitHint
from wingbeat.model.record import Record
from wingbeat.report.probe import ProbeFound, pace_text
from wingbeat.report.svg import shortened
from wingbeat.report.words import duration

DOWN_AFTER = 10
"""So many failures in a row, with no answer between them, end a probe: there is nothing to find out."""

_ANSWERED = frozenset({FailureKind.EMPTY_ANSWER, FailureKind.MALFORMED_REPLY})
"""Failures of the answer, not of the request: the service has let it through."""


class Probing:
    """
    One probe of a route: sends what a `Ramp` says, and keeps what came of it.

    Nothing is ever sent beyond the most requests, nor when the next could cost more than the most money. Make it where
    an event loop runs.

    Args:
        route: Whom to ask; of its ledgers only the prices are used, since a probe keeps to nothing that it is to find.
        record: What is asked each time.
        settings: How to go about it.
        max_usd: Most to spend, or None.
        each_usd: Most that one request costs.
        say: Told what happens, a line at a time.
    """

    def __init__(
        self,
        route: Route,
        record: Record,
        settings: Settings,
        *,
        max_usd: float | None = None,
        each_usd: float = 0.0,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.ramp = Ramp(settings)
        self.error: WingbeatError | None = None
        self._route = route
        self._prepared: Any = route.caller.prepare(record)
        self._budget = Budget(max_usd)
        self._each_usd = each_usd
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._started_at = self._loop.time()
        self._ended_at: float | None = None
        self._refusal: Failure | None = None
        self._hints: tuple[LimitHint, ...] = ()
        self._told_s: dict[int, float] = {}
        self._units: defaultdict[str, float] = defaultdict(float)
        self._answers = 0
        self._failures = 0
        self._said_step: int | None = None

    def __repr__(self) -> str:
        return f"<Probing {self._route.name} {self.ramp!r}>"

    async def run(self) -> None:
        """Carry the probe out; `found` tells at any time what it has found."""
        async with asyncio.TaskGroup() as group:
            try:
                await self._send_all(group)
            finally:
                self._ended_at = self._loop.time()
                for task in self._asking:
                    task.cancel()

    async def _send_all(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._say_new_step()
            now = self._loop.time()
            match self.ramp.next(now):
                case Go():
                    self._send(group, now)
                case Wait(until):
                    await self._wait(until)
                case Over():
                    return
                case never:
                    assert_never(never)

    def stop(self) -> None:
        """Send nothing more, and end at once; what is known so far stays."""
        self.ramp.stop("stopped", self._loop.time())
        self._changed.set()

    def found(self) -> ProbeFound:
        """Return what is known so far."""
        ended_at = self._loop.time() if self._ended_at is None else self._ended_at
        units = {name: total / max(1, self._answers) for name, total in self._units.items()}
        return conclude(
            self.ramp,
            route=self._route.name,
            refusal=self._refusal,
            hints=self._hints,
            units=units,
            told_s=self._told_s,
            cost_usd=None if self._route.prices is None else self._budget.spent_usd,
            elapsed_s=round(ended_at - self._started_at, 3),
        )

    def _send(self, group: asyncio.TaskGroup, now: float) -> None:
        if not self._budget.reserve(self._each_usd):
            self.ramp.stop("cost", now)
            return
        trial = self.ramp.sent(now)
        task = group.create_task(self._ask(trial, len(self.ramp.trials) - 1, self._each_usd))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _wait(self, until: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _ask(self, trial: Trial, place: int, reserved_usd: float) -> None:
        result = await self._route.caller.call(self._prepared, self._route.timeout_s)
        now = self._loop.time()
        self._pay(result.usage, reserved_usd)
        if result.hints:
            self._hints = result.hints
        if isinstance(result, Completion) or result.kind in _ANSWERED:
            self._failures = 0
            self.ramp.passed(trial, now)
        elif result.kind is FailureKind.RATE_LIMITED and (result.retry_after_s or 0.0) <= LONGEST_TOLD_WAIT_S:
            self._failures = 0
            self._take_refusal(trial, place, result, now)
        else:
            if result.kind is FailureKind.OVERLOADED:
                self.ramp.overloaded(trial, now)
            else:
                self.ramp.failed(trial, now)
            self._take_failure(result, now)
        self._changed.set()

    def _pay(self, usage: Usage | None, reserved_usd: float) -> None:
        prices = self._route.prices
        if usage is None:
            self._budget.settle(reserved_usd, 0.0)
            return
        spent_usd = 0.0 if prices is None else prices.cost_usd(usage)
        self._budget.settle(reserved_usd, spent_usd)
        self._each_usd = max(self._each_usd, spent_usd)
        self._answers += 1
        self._units[INPUT_TOKENS] += usage.input_tokens
        self._units[OUTPUT_TOKENS] += usage.output_tokens
        self._units[TOKENS] += usage.input_tokens + usage.output_tokens

    def _take_refusal(self, trial: Trial, place: int, failure: Failure, now: float) -> None:
        if failure.retry_after_s is not None:
            self._told_s[place] = failure.retry_after_s
        is_first = self._refusal is None
        wait_s = self.ramp.refused(trial, now, failure.retry_after_s)
        if is_first:
            self._refusal = failure
            how = "at once" if trial.part is Part.BURST else f"at {pace_text(self._pace(trial.step))}"
            words = shortened(failure.detail, 100)
            self._say(f"refused after {place:,} requests, {how}, with {trial.in_flight:,} in flight: {words}")
            told = "as told" if failure.retry_after_s is not None else "then asking one at a time"
            self._say(
                f"waiting {duration(wait_s)} ({told}), then finding out what the limit is, "
                f"for {duration(self.ramp.settings.learn_for_s)} at most"
            )

    def _take_failure(self, failure: Failure, now: float) -> None:
        """Stop for what no further request can mend, and for a service that is down."""
        decided = verdict(failure, 1, 2, self._route.random)
        name = self._route.name
        if isinstance(decided, StopRun):
            stopping = Stopping()
            stopping.stop_for(decided.cause, failure, self._route)
            cause = stopping.cause
            if isinstance(cause, QuotaExhausted):
                hint = f"probe again after the quota resets at {self._route.day_resets()}"
                cause = QuotaExhausted(str(cause), hint=hint)
            self._stop_for(cause, now)
        elif failure.kind in SERVICE_FAILURES:
            self._failures += 1
            if self._failures >= DOWN_AFTER:
                message = f"{name}: the last {self._failures} requests have failed: {failure.detail}"
                self._stop_for(ServiceDown(message, hint="check --base-url and the network, or probe again later"), now)
        else:
            message = f"{name}: the service refuses the request as invalid: {failure.detail}"
            self._stop_for(AccessRefused(message, hint="mend --prompt or the options"), now)

    def _stop_for(self, error: WingbeatError | None, now: float) -> None:
        if self.error is None:
            self.error = error
        self.ramp.stop("stopped", now)

    def _pace(self, step: int) -> float:
        return self.ramp.settings.pace(step) * 60.0

    def _say_new_step(self) -> None:
        """Tell of each step once it begins, and of the one before it."""
        ramp = self.ramp
        if ramp.part is not Part.RAMP or ramp.step == self._said_step or ramp.cause is not None:
            return
        self._said_step = ramp.step
        self._say(
            f"{pace_text(self._pace(ramp.step))} for {duration(ramp.settings.step_s(ramp.step))}; "
            f"so far {len(ramp.trials):,} sent, none refused, {ramp.in_flight:,} in flight"
        )
