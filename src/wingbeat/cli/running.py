"""From the options of `wingbeat run` to its exit code: check all, plan, carry out, sum up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from wingbeat.cli.failing import Problems, command_line, report_error, report_hint, report_warning
from wingbeat.cli.options import read_generation_options
from wingbeat.cli.tuning import tune_process
from wingbeat.client import run_loop
from wingbeat.config import Limits, Service, find_service
from wingbeat.connecting import connect, simulator_config
from wingbeat.descriptors import fit_to_descriptors
from wingbeat.engine.run import Run
from wingbeat.errors import ConfigurationError, JournalError, RunStopped, SourceError, WingbeatError
from wingbeat.job import FileJob, RunIdentity, Scan, Selection, scan
from wingbeat.job.resuming import Resumption
from wingbeat.journal import Journal, journal_path
from wingbeat.model.options import Options
from wingbeat.pricing import find_prices
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.report.plan import Plan, make_plan, plan_lines
from wingbeat.report.progress import (
    EventsReporter,
    LinesReporter,
    LiveReporter,
    QuietReporter,
    Reporter,
    refusal_text,
    take_snapshot,
)
from wingbeat.report.summary import Summary, summary_lines
from wingbeat.sinks.formats import JsonlFormat
from wingbeat.sinks.opening import check_output, open_sink
from wingbeat.sinks.output import Sink, Stream
from wingbeat.sources import Source, open_source
from wingbeat.sources.building import PROMPT_COLUMNS, RecordBuilder
from wingbeat.sources.template import Template, read_template
from wingbeat.transport import check_base_url

INTERRUPTED = 130


class Wanted(msgspec.Struct, frozen=True):
    """Everything a run needs, checked."""

    service: Service
    limits: Limits
    options: Options
    source: Source
    builder: RecordBuilder
    selection: Selection
    identity: RunIdentity
    output: Path | None
    journal: Path | None
    simulator: str | None


def execute(values: dict[str, Any]) -> int:
    """Carry out `wingbeat run` with its options, and return the exit code."""
    wanted = read_wanted(values)
    tune_process()
    reporter = _reporter(values, wanted)
    for warning in wanted.service.warnings:
        report_warning(warning)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(_open_journal(wanted, values))
        if journal.last_seq():  # else nothing is mixed, whatever was tried before
            wanted.identity.check(journal)
        resumption = Resumption(journal, retry_failed=values["retry_failed"])
        found = None
        if wanted.source.can_reread:
            found = scan(wanted.source, wanted.builder, wanted.selection, resumption)
            _check_rows(found, wanted, strict=values["strict"])
        if values["check"]:
            return _report_check(found, wanted)
        plan = _plan(wanted, found, resumption)
        _show_plan(plan, reporter, values)
        if values["dry_run"]:
            return 0
        if values["overwrite"] and wanted.journal is not None:
            journal = stack.enter_context(_start_over(wanted.journal, wanted.output))
            resumption = Resumption(journal, retry_failed=False)
        if not journal.last_seq():
            journal.keep(run=wanted.identity)
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
        return run_loop(_Running(wanted, job, reporter, found, values).execute())


def read_wanted(values: dict[str, Any]) -> Wanted:
    """
    Check all options and report every problem at once.

    Raises:
        WingbeatError: Something is wrong; all problems but the last have been reported.
    """
    problems = Problems()
    service = limits = options = source = template = system = output = journal = None
    with problems:
        if not values["model"]:
            raise ConfigurationError(
                "no model is named", hint="add --model gemini-…, or --model sim/gemini-2.5-flash to try the simulator"
            )
        service = find_service(values["model"], base_url=values["base_url"], api_version=values["api_version"])
        if service.base_url is not None:
            check_base_url(service.base_url)
    with problems:
        limits = read_limits(values)
    with problems:
        options = read_generation_options(values)
        refused = GeminiCodec.check_options(options)
        if refused is not None:
            raise ConfigurationError(refused)
    with problems:
        template = read_template(values["template"]) if values["template"] else None
    with problems:
        system = _read_system(values["system"])
    with problems:
        if values["input"] == "-" and sys.stdin is None:
            raise SourceError("standard input is closed", hint="name a file")
        source = open_source(values["input"], values["repeat"])
    with problems:
        output = _read_output(values, source)
        journal = _read_journal(values, output)
    with problems:
        if source is not None and source.columns is not None:
            _check_columns(source, template, system)
    with problems:
        if limits is not None and values["simulator"] is not None:
            simulator_config(limits, values["simulator"])
            if service is not None and service.kind != "sim":
                raise ConfigurationError("`--simulator` goes with a model sim/…", hint="write --model sim/gemini-…")
    problems.stop_if_any()
    assert service is not None
    assert limits is not None
    assert options is not None
    assert source is not None
    return Wanted(
        service=service,
        limits=limits,
        options=options,
        source=source,
        builder=RecordBuilder(
            template=template,
            system=system,
            options=options,
            check_options=GeminiCodec.check_options,
            keep_columns=values["keep_columns"],
        ),
        selection=Selection(values["limit"], values["sample"], values["sample_seed"]),
        identity=RunIdentity(
            model=service.route_name,
            options=options.as_dict(),
            system=values["system"],
            template=None if template is None else template.text,
            keep_columns=values["keep_columns"],
        ),
        output=output,
        journal=journal,
        simulator=values["simulator"],
    )


def read_limits(values: dict[str, Any]) -> Limits:
    """Return the limits of a command line."""
    given = {
        "rpm": values.get("rpm"),
        "tpm": values.get("tpm"),
        "rpd": values.get("rpd"),
        "concurrency": values.get("concurrency"),
        "lanes": values.get("lanes"),
        "max_cost": values.get("max_cost"),
        "timeout_s": values.get("timeout"),
        "record_timeout_s": values.get("record_timeout"),
        "max_attempts": values.get("max_attempts"),
    }
    return Limits(**{name: value for name, value in given.items() if value is not None})


def _read_system(text: str | None) -> str | Template | None:
    if text is None:
        return None
    return Template(text, "the system text") if "{{" in text or "{%" in text else text


def _read_output(values: dict[str, Any], source: Source | None) -> Path | None:
    if values["output"] == "-":
        if sys.stdout is None:
            raise ConfigurationError("standard output is closed", hint="add -o FILE")
        return None
    output = Path(values["output"])
    try:
        check_output(output)
        output.exists()
    except OSError as error:
        raise ConfigurationError(f"can't use the output `{output}`: {error.strerror or error}") from None
    if source is not None and _is_same_file(output, values["input"]):
        raise ConfigurationError(f"the output `{output}` is the input", hint="choose another output")
    journal = _read_journal(values, output)
    assert journal is not None
    if journal.absolute() == output.absolute():
        raise ConfigurationError(f"the journal `{journal}` is the output", hint="choose another --journal")
    if output.exists() and output.stat().st_size and not journal.exists() and not values["overwrite"]:
        raise ConfigurationError(
            f"the output `{output}` exists and wingbeat has no journal of it",
            hint="choose another output, or --overwrite to keep the old one as .bak",
        )
    return output


def _is_same_file(output: Path, argument: str) -> bool:
    """Tell whether the output is the input; a prompt in quotes may be too long to be any file's name."""
    try:
        return output.exists() and output.samefile(argument)
    except (OSError, ValueError):
        return False


def _read_journal(values: dict[str, Any], output: Path | None) -> Path | None:
    if not values["journal"]:
        return None if output is None else journal_path(output)
    journal = Path(values["journal"])
    try:
        if journal.is_dir():
            raise ConfigurationError(f"the journal `{journal}` is a folder", hint="name a file in it")
        if not journal.absolute().parent.is_dir():
            raise ConfigurationError(
                f"there is no folder `{journal.parent}` for the journal", hint="make it, or mend the path"
            )
    except OSError as error:
        raise ConfigurationError(f"can't use the journal `{journal}`: {error.strerror or error}") from None
    return journal


def _check_columns(source: Source, template: Template | None, system: str | Template | None) -> None:
    """Refuse an input whose header already shows that no row can be asked."""
    columns = source.columns or ()
    used = set() if template is None else set(template.variables)
    used |= set(system.variables) if isinstance(system, Template) else set()
    missing = sorted(used - set(columns))
    known = ", ".join(f"`{name}`" for name in columns)
    if missing:
        raise SourceError(
            f"`{source.name}` has no column `{missing[0]}`, which the template uses", hint=f"its columns are {known}"
        )
    if template is None and not set(PROMPT_COLUMNS) & set(columns):
        raise SourceError(
            f"`{source.name}` has no column `prompt`, `messages` or `contents`",
            hint=f"its columns are {known}; write --template 'Classify: {{{{ {columns[0]} }}}}'",
        )


@contextlib.contextmanager
def _open_journal(wanted: Wanted, values: dict[str, Any]) -> Iterator[Journal]:
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


def _check_rows(found: Scan, wanted: Wanted, *, strict: bool) -> None:
    if strict and found.faulty:
        source = wanted.source
        for fault in found.faults[:-1]:
            report_error(f"`{source.name}` {source.unit} {fault.number}: {fault.reason}")
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


def _plan(wanted: Wanted, found: Scan | None, resumption: Resumption) -> Plan:
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
    )


def _show_plan(plan: Plan, reporter: Reporter, values: dict[str, Any]) -> None:
    if isinstance(reporter, EventsReporter):
        reporter.event("plan", **msgspec.to_builtins(plan))
    elif not values["quiet"]:
        for name, text in plan_lines(plan):
            click.secho(f"{name:>7}  ", fg="cyan", nl=False, err=True)
            click.echo(text, err=True)


def _open_sink(wanted: Wanted, journal: Journal, found: Scan | None, *, ordered: bool) -> Sink:
    if wanted.output is None:
        return Stream(sys.stdout.buffer, JsonlFormat(), journal, ordered=ordered)
    columns = found.columns if found is not None and wanted.identity.keep_columns else ()
    return open_sink(wanted.output, journal, columns=columns, ordered=ordered)


def _reporter(values: dict[str, Any], wanted: Wanted) -> Reporter:
    if values["as_json"]:
        return EventsReporter()
    if values["quiet"]:
        return QuietReporter()
    name = "answers" if wanted.output is None else wanted.output.name
    if sys.stderr.isatty():
        return LiveReporter(name, wanted.limits)
    return LinesReporter(name)


class _Running:
    """The asynchronous part of a run: connection, lanes, signals, and the summary at the end."""

    def __init__(
        self, wanted: Wanted, job: FileJob, reporter: Reporter, found: Scan | None, values: dict[str, Any]
    ) -> None:
        self._wanted = wanted
        self._job = job
        self._reporter = reporter
        self._found = found
        self._values = values
        self._interrupts = 0
        self._run: Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._announced_pause_until = float("-inf")

    async def execute(self) -> int:
        """Carry the run out and return its exit code."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        limits = fit_to_descriptors(self._wanted.limits, report_warning)
        stopped: WingbeatError | None = None
        spent_usd = self._job.spent_usd()
        async with connect(
            self._wanted.service, limits, simulator=self._wanted.simulator, spent_usd=spent_usd
        ) as route:
            burst = self._found is not None and route.quota.is_small(self._found.remaining, self._found.input_tokens)
            self._run, writer = self._job.make_run(route, lanes=limits.most_lanes, burst=burst, notice=self._refused)
            statistics = self._job.statistics
            self._reporter.start(lambda: take_snapshot(statistics, route, limits, loop.time(), started_at))
            self._listen(loop)
            self._task = asyncio.create_task(self._run.execute())
            try:
                await self._task
            except RunStopped as error:
                stopped = error
            except asyncio.CancelledError:
                if not self._interrupts:
                    raise
            finally:
                self._stop_listening(loop)
                self._reporter.stop()
                try:
                    await writer.close()
                finally:
                    self._job.finish()
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

    def _refused(self, failure: Any, wait_s: float) -> None:
        """Tell of a refusal, once a pause."""
        now = asyncio.get_running_loop().time()
        if now < self._announced_pause_until:
            return
        self._announced_pause_until = now + max(wait_s, 1.0)
        text = refusal_text(failure, wait_s)
        self._reporter.say("refused", text, wait_s=round(wait_s, 3), detail=failure.detail)

    def _sum_up(self, stopped: WingbeatError | None, elapsed_s: float) -> int:
        statistics = self._job.statistics
        summary = Summary.of(statistics, elapsed_s, self._wanted.service.route_name, self._wanted.output)
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
            for name, text in summary_lines(summary):
                click.secho(f"{name:>7}  ", fg="green", nl=False, err=True)
                click.echo(text, err=True)
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
        if summary.failed and self._wanted.journal is not None:
            report_hint(f"ask the failed again: {command_line(more='--retry-failed')}")
        elif output is not None and output.suffix.lower() in (".jsonl", ".ndjson"):
            report_hint(f"look at the answers: head -n 3 {output}")
        elif output is not None:
            report_hint(f"see how it went: wingbeat status {output}")
