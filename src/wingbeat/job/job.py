"""Carry out a run over files: lanes in the middle, the journal and the output at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from wingbeat.engine.attempt import Attempt
from wingbeat.engine.intake import BlockingIntake, IteratorIntake
from wingbeat.engine.ports import Intake
from wingbeat.engine.route import Route
from wingbeat.engine.run import Run
from wingbeat.engine.statistics import Statistics
from wingbeat.job.recent import RecentlySent
from wingbeat.job.resuming import Resumption
from wingbeat.job.scan import Scan, Selection
from wingbeat.journal.store import Entry, Journal, OutputMark, Progress
from wingbeat.journal.writer import GroupWriter
from wingbeat.model.answer import Failure, Outcome
from wingbeat.model.record import Record
from wingbeat.sinks.formats import carried_name
from wingbeat.sinks.output import Sink
from wingbeat.sources.building import RecordBuilder
from wingbeat.sources.rows import Source

_encode = msgspec.json.Encoder().encode


class Answered(NamedTuple):
    """A record with its outcome, on the way to the disk."""

    record: Record
    outcome: Outcome


def output_line(outcome: Outcome) -> bytes:
    """Return an outcome as one output row in JSON; input columns stand beside ours."""
    if outcome.columns is None:
        return _encode(outcome)
    row = msgspec.to_builtins(outcome)
    columns = row.pop("columns")
    carried = {carried_name(name): value for name, value in columns.items() if name != "id"}
    return _encode({"id": row.pop("id"), "index": row.pop("index"), **carried, **row})


class FileJob:
    """
    One run from an input to an output, with a journal between them.

    Args:
        source: Where rows come from.
        builder: Turns rows into records.
        selection: Which rows are asked.
        journal: Where outcomes are kept.
        sink: Where they become visible.
        scan: What the input holds, or None when it can be read only once.
        resumption: What an earlier run has left.
    """

    def __init__(
        self,
        *,
        source: Source,
        builder: RecordBuilder,
        selection: Selection,
        journal: Journal,
        sink: Sink,
        scan: Scan | None,
        resumption: Resumption,
    ) -> None:
        self._source = source
        self._builder = builder
        self._selection = selection
        self._journal = journal
        self._sink = sink
        self._scan = scan
        self._resumption = resumption
        self._progress = journal.progress()
        self._mark = OutputMark()
        self._was_read_to_its_end = False
        self.recent = RecentlySent(journal)
        already = resumption.answered + resumption.failed
        self.statistics = Statistics(None if scan is None else scan.rows, already)

    def spent_usd(self) -> float:
        """Return what earlier runs of the same journal have cost."""
        return self._progress.cost_usd

    def prepare(self) -> None:
        """Write down what the plan has found, and bring the output into step."""
        if self._scan is not None:
            self._resumption.settle(whole_input=not self._selection.is_partial)
            self._progress.rows = self._scan.rows
            self._progress.answered = self._resumption.answered
            self._progress.failed = self._resumption.failed
            if not self._resumption.failed:
                self._progress.failures = {}
        else:
            self._resumption.drop_failed()
        self._progress.updated_at = time.time()
        self._journal.keep(progress=self._progress)
        self._sink.resume()
        self._mark = self._journal.output_mark()

    def make_run(
        self,
        route: Route,
        *,
        lanes: int,
        burst: bool,
        notice: Callable[[Failure, float], None] | None = None,
        observe: Callable[[Attempt], None] | None = None,
    ) -> tuple[Run, GroupWriter[Answered]]:
        """Put a run together; call `prepare` first, and close the writer when the run has ended."""
        writer: GroupWriter[Answered] = GroupWriter(self._commit)

        def deliver(record: Record, outcome: Outcome) -> asyncio.Future[None] | None:
            return writer.put(Answered(record, outcome))

        records = self._records()
        intake: Intake = BlockingIntake(records) if self._scan is None else IteratorIntake(records)
        run = Run(
            route,
            intake,
            deliver,
            lanes=lanes,
            statistics=self.statistics,
            burst=burst,
            observe=observe,
            notice=notice,
        )
        return run, writer

    def finish(self) -> None:
        """Make the output whole; call it when the writer is closed, however the run ended."""
        if self._scan is None:
            self._resumption.settle(whole_input=self._was_read_to_its_end and not self._selection.is_partial)
            self._progress.answered, self._progress.failed = self._journal.counts()
            if not self._progress.failed:
                self._progress.failures = {}
            self._journal.keep(progress=self._progress)
            self._sink.resume()
        self._sink.finish()

    def _records(self) -> Iterator[Record]:
        """
        Yield the rows that still need an outcome.

        The cases: kept by the plan; to be read again, knowing which are done; read now for the first time (a pipe).
        """
        build = self._builder.build
        if self._scan is not None and self._scan.records is not None:
            records, self._scan.records = self._scan.records, None
            records.reverse()
            while records:
                yield records.pop()
            return
        done = self._scan.done if self._scan is not None else None
        for position, row in self._selection.rows(self._source):
            if done is not None:
                if not done[position]:
                    yield build(position, row)
                continue
            record = build(position, row)
            if self._resumption.claim(record):
                self.statistics.already += 1
            else:
                yield record
        self._was_read_to_its_end = True

    def _commit(self, group: list[Answered]) -> None:
        """Make a group durable, then visible: what stands in the output is always in the journal."""
        entries = [
            Entry(record.key, record.index, outcome.error is None, output_line(outcome)) for record, outcome in group
        ]
        _count(self._progress, group)
        self._progress.updated_at = time.time()
        requests = sum(outcome.attempts for _record, outcome in group)
        tokens = sum(outcome.usage.input_tokens for _record, outcome in group if outcome.usage is not None)
        recent = self.recent.add(self._progress.updated_at, requests, tokens)
        seq = self._journal.add(entries, progress=self._progress, output=self._mark, recent=recent)
        self._mark = self._sink.append([entry.line for entry in entries], seq)


def _count(progress: Progress, group: list[Answered]) -> None:
    for _record, outcome in group:
        progress.cost_usd += outcome.cost_usd or 0.0
        if outcome.error is not None:
            progress.failed += 1
            progress.failures[outcome.error.kind] = progress.failures.get(outcome.error.kind, 0) + 1
            continue
        progress.answered += 1
        if outcome.usage is not None:
            progress.input_tokens += outcome.usage.input_tokens
            progress.output_tokens += outcome.usage.output_tokens
