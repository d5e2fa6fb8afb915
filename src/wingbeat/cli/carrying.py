"""The asynchronous part of `wingbeat run`: connection, lanes, signals, and the summary at the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from typing import Any

import msgspec

from wingbeat.cli.failing import command_line, report_error, report_hint
from wingbeat.cli.speaking import say_facts
from wingbeat.cli.wanted import Wanted
from wingbeat.connecting import connect, learnt_by
from wingbeat.descriptors import fit_to_descriptors
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.errors import RunStopped, WingbeatError
from wingbeat.job import FileJob, Scan
from wingbeat.limitbook import Memory
from wingbeat.model.answer import FailureKind
from wingbeat.model.limit import LearntLimit
from wingbeat.report.learning import News, limits_text
from wingbeat.report.progress import (
    EventsReporter,
    Reporter,
    pause_text,
    take_snapshot,
)
from wingbeat.report.summary import Summary, summary_lines

INTERRUPTED = 130

WATCHED_EACH_S = 1.0
"""How often it is looked whether a limit was learnt."""


class Carrying:
    """The asynchronous part of a run: connection, lanes, signals, and the summary at the end."""

    def __init__(
        self,
        wanted: Wanted,
        job: FileJob,
        reporter: Reporter,
        found: Scan | None,
        values: dict[str, Any],
        memory: Memory,
    ) -> None:
        self._wanted = wanted
        self._job = job
        self._reporter = reporter
        self._found = found
        self._values = values
        self._memory = memory
        self._troubles_told = len(memory.troubles)
        self._news = News()
        self._learnt: tuple[LearntLimit, ...] = ()
        self._interrupts = 0
        self._run: Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._announced_pause_until = float("-inf")

    async def execute(self) -> int:
        """Carry the run out and return its exit code."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        limits = fit_to_descriptors(self._wanted.limits, lambda text: self._reporter.say("warning", f"warning: {text}"))
        stopped: WingbeatError | None = None
        spent_usd = self._job.spent_usd()
        async with connect(
            self._wanted.service,
            limits,
            simulator=self._wanted.simulator,
            spent_usd=spent_usd,
            memory=self._memory,
        ) as route:
            if self._wanted.service.kind != "sim":  # each simulator starts with quotas of its own
                self._job.recent.tell(route.quota, time.time(), loop.time())
            burst = self._found is not None and route.quota.is_small(self._found.remaining, self._found.input_tokens)
            self._run, writer = self._job.make_run(route, lanes=limits.most_lanes, burst=burst, notice=self._pauses)
            statistics = self._job.statistics
            self._reporter.start(lambda: take_snapshot(statistics, route, limits, loop.time(), started_at))
            self._listen(loop)
            watching = asyncio.create_task(self._watch(route))
            self._task = asyncio.create_task(self._run.execute())
            try:
                await self._task
            except RunStopped as error:
                stopped = error
            except asyncio.CancelledError:
                if not self._interrupts:
                    raise
            finally:
                watching.cancel()
                self._stop_listening(loop)
                self._reporter.stop()
                self._learnt = self._memory.news(learnt_by(route))
                try:
                    await writer.close()
                finally:
                    self._job.finish()
        for trouble in self._memory.troubles[self._troubles_told :]:
            self._reporter.say("warning", f"warning: {trouble}")
        return self._sum_up(stopped, loop.time() - started_at)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, self._interrupt)

    def _stop_listening(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        """Drain at the first signal, leave at the second."""
        assert self._run is not None
        assert self._task is not None
        self._interrupts += 1
        in_flight = self._job.statistics.in_flight
        if self._interrupts == 1:
            self._run.drain()
            again = (
                "once more to leave at once"
                if sys.stdin is not None and sys.stdin.isatty()
                else "a second signal leaves at once"
            )
            self._reporter.say(
                "draining",
                f"stopping: waiting for {in_flight:,} in flight; {again} (both can be resumed)",
                in_flight=in_flight,
            )
        else:
            self._reporter.say("leaving", f"leaving: {in_flight:,} in flight are given up", in_flight=in_flight)
            self._task.cancel()

    def _pauses(self, failure: Any, wait_s: float) -> None:
        """Tell why the run pauses, once a pause."""
        now = asyncio.get_running_loop().time()
        if now < self._announced_pause_until:
            return
        self._announced_pause_until = now + max(wait_s, 1.0)
        text = pause_text(failure, wait_s)
        kind = "refused" if failure.kind is FailureKind.RATE_LIMITED else "failing"
        self._reporter.say(kind, text, wait_s=round(wait_s, 3), detail=failure.detail)

    async def _watch(self, route: Route) -> None:
        """Tell what is learnt of the service's limits, about when it is."""
        while True:
            await asyncio.sleep(WATCHED_EACH_S)
            found = self._news.of(self._memory.news(route.quota.learnt()))
            if found:
                limits = [msgspec.to_builtins(limit) for limit in found]
                self._reporter.say("learnt", f"learnt: {limits_text(found)}", limits=limits)

    def _sum_up(self, stopped: WingbeatError | None, elapsed_s: float) -> int:
        statistics = self._job.statistics
        summary = Summary.of(
            statistics,
            elapsed_s,
            self._wanted.service.route_name,
            self._wanted.output,
            self._learnt,
            learnt_is_kept=self._memory.is_kept,
        )
        interrupted = self._interrupts > 0 and statistics.remaining != 0
        code = 0
        if interrupted:
            code = INTERRUPTED
        elif stopped is not None:
            code = stopped.exit_code
        elif summary.failed:
            code = 1
        if isinstance(self._reporter, EventsReporter):
            self._reporter.event(
                "end",
                exit_code=code,
                error=None if stopped is None else str(stopped),
                hint=None if stopped is None else stopped.hint,
                **msgspec.to_builtins(summary),
            )
            return code
        if not self._values["quiet"]:
            say_facts(summary_lines(summary), colour="green")
        if stopped is not None:
            report_error(str(stopped), stopped.hint)
        elif interrupted and not self._values["quiet"]:
            if self._wanted.journal is not None:
                report_hint(f"continue with the same command: {command_line()}")
            else:
                report_hint("standard output has no journal to continue from; add -o FILE or --journal FILE")
        elif not self._values["quiet"]:
            self._next_command(summary)
        return code

    def _next_command(self, summary: Summary) -> None:
        output = self._wanted.output
        if summary.failed and set(summary.failures) == {"invalid_input"} and self._wanted.journal is not None:
            report_hint("mend these rows in the input; the same command then asks them, and only them")
        elif summary.failed and self._wanted.journal is not None:
            report_hint(f"ask the failed again: {command_line(more='--retry-failed')}")
        elif output is not None and output.suffix.lower() in (".jsonl", ".ndjson"):
            report_hint(f"look at the answers: head -n 3 {output}")
        elif output is not None:
            report_hint(f"see how it went: wingbeat status {output}")
