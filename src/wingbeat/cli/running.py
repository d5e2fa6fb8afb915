"""From the options of `wingbeat run` to its exit code: check all, plan, carry out, sum up."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from wingbeat.cli.carrying import Carrying
from wingbeat.cli.failing import exit_code_of, report_problem
from wingbeat.cli.speaking import say_facts
from wingbeat.cli.tuning import tune_process
from wingbeat.cli.wanted import Wanted, read_wanted
from wingbeat.client import run_loop
from wingbeat.errors import ConfigurationError, JournalError, SourceError
from wingbeat.job import FileJob, Scan, scan
from wingbeat.job.resuming import Resumption
from wingbeat.journal import Journal
from wingbeat.limitbook import Memory
from wingbeat.pricing import find_prices
from wingbeat.report.plan import Plan, make_plan, plan_lines
from wingbeat.report.progress import (
    EventsReporter,
    LinesReporter,
    LiveReporter,
    QuietReporter,
    Reporter,
)
from wingbeat.sinks.formats import JsonlFormat
from wingbeat.sinks.opening import open_sink
from wingbeat.sinks.output import Sink, Stream

READER_GONE = 141
"""Exit code when nobody reads standard output any more, as shells report SIGPIPE."""


def execute(values: dict[str, Any]) -> int:
    """Carry out `wingbeat run` with its options, and return the exit code; with ``--json`` errors are events too."""
    try:
        return exit_code_of(lambda: _execute(values), as_events=values["json"])
    except BrokenPipeError:
        return READER_GONE


def _execute(values: dict[str, Any]) -> int:
    wanted = read_wanted(values)
    tune_process()
    memory = Memory(wanted.service, wanted.limits, fresh=values["fresh_limits"])
    wanted = msgspec.structs.replace(wanted, limits=memory.start.limits)
    reporter = _reporter(values, wanted)
    for warning in (*wanted.service.warnings, *memory.troubles):
        reporter.say("warning", f"warning: {warning}")
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(open_journal(wanted, values))
        if not values["check"]:
            is_other_run = wanted.identity.differs(journal)
            check_output_name(journal, wanted)
            if is_other_run and not values["dry_run"]:
                journal.drop([seq for seq, _position, _ok in journal.positions()])
        resumption = Resumption(journal, retry_failed=values["retry_failed"])
        found = None
        if wanted.source.can_reread:
            found = scan(wanted.source, wanted.builder, wanted.selection, resumption)
            check_rows(found, wanted, strict=values["strict"], as_events=values["json"])
        if values["check"]:
            return _report_check(found, wanted)
        plan = short_plan(wanted, found, resumption, memory)
        _show_plan(plan, reporter, values)
        if values["dry_run"]:
            return 0
        if values["overwrite"] and wanted.journal is not None:
            journal = stack.enter_context(_start_over(wanted.journal, wanted.output))
            resumption = Resumption(journal, retry_failed=False)
        journal.keep(run=wanted.identity, output_name=None if wanted.output is None else wanted.output.name)
        sink = _open_sink(wanted, journal, found, ordered=values["ordered"])
        job = FileJob(
            source=wanted.source,
            builder=wanted.builder,
            selection=wanted.selection,
            journal=journal,
            sink=sink,
            scan=found,
            resumption=resumption,
        )
        job.prepare()
        return run_loop(Carrying(wanted, job, reporter, found, values, memory).execute())


@contextlib.contextmanager
def open_journal(wanted: Wanted, values: dict[str, Any]) -> Iterator[Journal]:
    """
    Open the run's journal.

    One that a mere look must not make, that is to be started over, or that nobody asked for lies in a temporary
    folder. A new one is taken away again when the run is refused: a refusal leaves no file.
    """
    only_looks = values["dry_run"] or values["check"]
    path = wanted.journal
    with contextlib.ExitStack() as stack:
        if path is None or values["overwrite"] or (only_looks and not path.exists()):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wingbeat-"))
            path = Path(folder) / "run.journal"
        is_new = not path.exists()
        try:
            journal = Journal(path)
        except JournalError as error:  # nothing was sent yet: the place is refused
            raise ConfigurationError(str(error), hint=error.hint) from None
        try:
            with journal:
                yield journal
        except ConfigurationError:
            if is_new:
                path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _start_over(path: Path, output: Path | None) -> Iterator[Journal]:
    """Move an old output and its journal out of the way, once the new run is known to begin, and open a new journal."""
    if path.exists():
        Journal(path).close()  # refuses one in use, and takes what a killed run has left beside it into the file
        _keep_as_bak(path)
    if output is not None:
        _keep_as_bak(output)
    with Journal(path) as journal:
        yield journal


def _keep_as_bak(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".bak"))


def check_output_name(journal: Journal, wanted: Wanted) -> None:
    """Refuse to put a journal's rows over a file that never was its output."""
    name = journal.read("output_name")
    output = wanted.output
    if name is None or output is None or output.name == name:
        return
    if output.exists() and output.stat().st_size:
        raise ConfigurationError(
            f"`{journal.path}` belongs to the output `{name}`, and `{output}` exists already",
            hint="choose another output or another journal",
        )


def check_rows(found: Scan, wanted: Wanted, *, strict: bool, as_events: bool) -> None:
    if strict and found.faulty:
        source = wanted.source
        for fault in found.faults[:-1]:
            report_problem(
                SourceError(f"`{source.name}` {source.unit} {fault.number}: {fault.reason}"), as_event=as_events
            )
        last = found.faults[-1]
        raise SourceError(
            f"`{source.name}` {source.unit} {last.number}: {last.reason}",
            hint=f"{found.faulty:,} of {found.rows:,} rows are wrong; mend them, or leave --strict out",
        )


def _report_check(found: Scan | None, wanted: Wanted) -> int:
    source = wanted.source
    if found is None:
        raise SourceError("`--check` needs a file, not a pipe", hint="write the rows to a file first")
    for fault in found.faults:
        click.echo(f"{source.name}:{fault.number}: {fault.reason}")
    if found.faulty > len(found.faults):
        click.echo(f"… and {found.faulty - len(found.faults):,} more")
    click.echo(f"{source.name}: {found.rows:,} rows, {found.faulty:,} wrong, {found.rows - found.faulty:,} good")
    return 2 if found.faulty else 0


def short_plan(wanted: Wanted, found: Scan | None, resumption: Resumption, memory: Memory) -> Plan:
    limit = wanted.options.max_output_tokens
    return make_plan(
        source=wanted.source.name,
        route=wanted.service.route_name,
        rows=None if found is None else found.rows,
        answered=resumption.answered,
        failed=resumption.failed,
        to_ask=None if found is None else found.remaining,
        faulty=0 if found is None else found.faulty,
        input_tokens=None if found is None else found.input_tokens,
        max_output_tokens=limit,
        limits=wanted.limits,
        prices=find_prices(wanted.service.model),
        known=memory.basis(),
    )


def _show_plan(plan: Plan, reporter: Reporter, values: dict[str, Any]) -> None:
    if isinstance(reporter, EventsReporter):
        reporter.event("plan", **msgspec.to_builtins(plan))
    elif not values["quiet"]:
        say_facts(plan_lines(plan), colour="cyan")


def _open_sink(wanted: Wanted, journal: Journal, found: Scan | None, *, ordered: bool) -> Sink:
    if wanted.output is None:
        return Stream(sys.stdout.buffer, JsonlFormat(), journal, ordered=ordered)
    columns = found.columns if found is not None and wanted.identity.keep_columns else ()
    return open_sink(wanted.output, journal, columns=columns, ordered=ordered)


def _reporter(values: dict[str, Any], wanted: Wanted) -> Reporter:
    if values["json"]:
        return EventsReporter()
    if values["quiet"]:
        return QuietReporter()
    name = "answers" if wanted.output is None else wanted.output.name
    if sys.stderr.isatty():
        return LiveReporter(name, wanted.limits)
    return LinesReporter(name)
