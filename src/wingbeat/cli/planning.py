"""From the options of `wingbeat plan` to its lines: read the input once, play the run, say and draw what was seen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from wingbeat.cli.failing import command_line, exit_code_of, report_hint
from wingbeat.cli.running import check_output_name, check_rows, open_journal, short_plan
from wingbeat.cli.speaking import say_facts
from wingbeat.cli.tuning import collect_rarely
from wingbeat.cli.wanted import Wanted, read_wanted
from wingbeat.connecting import find_budget_prices
from wingbeat.errors import ConfigurationError, SourceError
from wingbeat.forecasting import Job, forecast
from wingbeat.job import scan
from wingbeat.job.resuming import Resumption
from wingbeat.job.sizes import SizeSample
from wingbeat.ledgers.estimate import OUTPUT_START_TOKENS
from wingbeat.limitbook import Memory
from wingbeat.modelled import OutputLengths
from wingbeat.rehearsal import Setting
from wingbeat.report.course import course_svg
from wingbeat.report.forecast import Course, Forecast, forecast_lines, picture_title
from wingbeat.report.plan import Plan


def execute(values: dict[str, Any]) -> int:
    """Carry out `wingbeat plan` with its options, and return the exit code; errors are events with ``--json``."""
    return exit_code_of(lambda: _execute(values), as_events=values["json"])


def _execute(values: dict[str, Any]) -> int:
    wanted = read_wanted(values)
    picture = _read_picture(values["picture"])
    collect_rarely()
    memory = Memory(wanted.service, wanted.limits, fresh=values["fresh_limits"])
    wanted = msgspec.structs.replace(wanted, limits=memory.start.limits)
    for warning in (*wanted.service.warnings, *memory.troubles):
        click.echo(f"warning: {warning}", err=True)
    job, plan = _read_job(wanted, memory, values)
    if not job.rows:
        return _say_nothing_to_ask(plan, values)
    found, course = forecast(job)
    if picture is not None:
        _draw(picture, course, found, plan)
    if values["json"]:
        facts = {"plan": msgspec.to_builtins(plan), **msgspec.to_builtins(found)}
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
        return 0
    say_facts(forecast_lines(plan, found), colour="cyan", err=False)
    if picture is not None:
        click.echo(f"\npicture: {picture}", err=True)
    click.echo("", err=True)
    report_hint(f"start it: {run_command(sys.argv[1:])}")
    return 0


def _read_job(wanted: Wanted, memory: Memory, values: dict[str, Any]) -> tuple[Job, Plan]:
    """Read the whole input once."""
    if not wanted.source.can_reread:
        raise SourceError("a plan needs a file, not a pipe", hint="write the rows to a file first")
    prices = find_budget_prices(wanted.service, wanted.limits)
    sizes = SizeSample()
    with open_journal(wanted, values) as journal:
        wanted.identity.differs(journal)
        check_output_name(journal, wanted)
        resumption = Resumption(journal, retry_failed=values["retry_failed"])
        found = scan(wanted.source, wanted.builder, wanted.selection, resumption, sizes)
        check_rows(found, wanted, strict=values["strict"], as_events=False)
        plan = short_plan(wanted, found, resumption, memory)
        spent_usd = journal.progress().cost_usd
    expected = values["expect_output_tokens"]
    limit = wanted.options.max_output_tokens
    assumed = OUTPUT_START_TOKENS if limit is None else min(OUTPUT_START_TOKENS, float(limit))
    setting = Setting(
        service=wanted.service,
        limits=wanted.limits,
        outputs=OutputLengths(assumed if expected is None else expected),
        prices=prices,
        spent_usd=spent_usd,
        simulator=wanted.simulator,
        start=memory.start.learnt,
        start_in_flight=memory.start.in_flight,
    )
    return Job(setting, sizes.seen, sizes, output_given=expected is not None), plan


def _say_nothing_to_ask(plan: Plan, values: dict[str, Any]) -> int:
    if values["json"]:
        sys.stdout.write(msgspec.json.encode({"plan": plan, "rows": 0, "simulated": True}).decode() + "\n")
    else:
        click.echo(f"  input  {plan.source}: nothing is left to ask")
    return 0


def _read_picture(name: str | None) -> Path | None:
    if name is None:
        return None
    picture = Path(name)
    if picture.suffix.lower() != ".svg":
        raise ConfigurationError(f"the picture `{name}` must be an .svg file", hint="write --picture plan.svg")
    if not picture.absolute().parent.is_dir():
        raise ConfigurationError(f"there is no folder `{picture.parent}` for the picture", hint="make it first")
    return picture


def _draw(picture: Path, course: Course, found: Forecast, plan: Plan) -> None:
    title, subtitle = picture_title(plan, found)
    try:
        picture.write_text(course_svg(course, title=title, subtitle=subtitle), "utf-8")
    except OSError as error:
        raise ConfigurationError(f"can't write the picture `{picture}`: {error.strerror or error}") from None


OWN_OPTIONS = ("--expect-output-tokens", "--picture")


def run_command(arguments: list[str]) -> str:
    """Return the command that carries a plan out: `run` in place of `plan`, and no options that only plan takes."""
    written: list[str] = []
    words = iter(arguments)
    for word in words:
        if word in OWN_OPTIONS:
            next(words, None)
        elif word == "plan" and "run" not in written:
            written.append("run")
        elif word != "--json" and not word.startswith(tuple(f"{name}=" for name in OWN_OPTIONS)):
            written.append(word)
    has_output = any(word in ("-o", "--output") or word.startswith(("-o", "--output=")) for word in written)
    return command_line(written if has_output else [*written, "-o", "answers.jsonl"])
