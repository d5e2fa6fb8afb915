"""`wingbeat status`: how far a run is, also while it runs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import click
import msgspec

from wingbeat.errors import ConfigurationError
from wingbeat.journal import Journal, journal_path
from wingbeat.report.words import count, duration, money


@click.command(short_help="Say how far a run is.")
@click.argument("output", metavar="OUTPUT")
@click.option("--json", is_flag=True, help="Print it as JSON.")
def status(output: str, json: bool) -> int:
    """
    Say how far the run of OUTPUT is, from its journal; it may be running.

    OUTPUT is the output file, or its journal.
    """
    path = Path(output)
    journal_file = path if path.suffix == ".journal" or not path.name else journal_path(path)
    if not os.path.isfile(journal_file):  # unlike Path's own, false for a name too long to be one
        raise ConfigurationError(
            f"there is no journal `{journal_file}`", hint="name the output of a run, as given to wingbeat run -o"
        )
    with Journal(journal_file, read_only=True) as journal:
        progress = journal.progress()
        run = journal.read("run") or {}
        running = journal.is_being_written()
    done = progress.answered + progress.failed
    if json:
        facts = {
            "journal": str(journal_file),
            "running": running,
            "model": run.get("model"),
            "done": done,
            **msgspec.to_builtins(progress),
        }
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
        return 0
    total = "" if progress.rows is None else f" of {progress.rows:,}"
    share = f" ({done / progress.rows:.1%})" if progress.rows else ""
    written = "nothing written yet"
    if progress.updated_at:
        written = f"last written {duration(max(0.0, time.time() - progress.updated_at))} ago"
    click.echo(f"  state  {'running' if running else 'not running'}, {written}")
    click.echo(f"  model  {run.get('model', 'unknown')}")
    click.echo(f"   done  {done:,}{total} rows{share}: {progress.answered:,} answered, {progress.failed:,} failed")
    if progress.failures:
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(progress.failures.items()))
        click.echo(f" failed  {kinds}")
    click.echo(f" tokens  {count(progress.input_tokens)} in, {count(progress.output_tokens)} out")
    simulated = " had they been real" if str(run.get("model", "")).startswith("sim/") else ""
    click.echo(f"   cost  {money(progress.cost_usd)}{simulated}")
    if not running and progress.rows is not None and done < progress.rows:
        click.echo("\nhint: run the same command again to continue", err=True)
    return 0
