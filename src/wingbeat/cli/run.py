"""`wingbeat run`: read what the user wants, plan it, carry it out, and say how it went."""

from __future__ import annotations

from typing import Any

import click

from wingbeat.cli.options import generation_options, limit_options, service_options


@click.command(short_help="Answer every prompt of a file.")
@click.argument("input", metavar="INPUT")
@click.option(
    "-o", "--output", metavar="OUTPUT", default="-", help=".jsonl, .csv, .tsv or .parquet; - is stdout, the default."
)
@service_options
@click.option("--template", metavar="TEXT|FILE", help="Jinja2 prompt over the columns: 'Classify: {{ text }}'.")
@generation_options
@limit_options
@click.option("--hedge", is_flag=True, help="Ask a second time what is late; costs at most 5 % more.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ask the first N rows only.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Ask N rows chosen at random, the same each time.")
@click.option("--sample-seed", type=int, default=0, show_default=True, metavar="N", help="Seed of --sample.")
@click.option("--repeat", type=click.IntRange(1), default=1, metavar="N", help="Ask a prompt in quotes N times.")
@click.option("--ordered", is_flag=True, help="Write rows in the input's order, when the run ends.")
@click.option("--keep-columns", is_flag=True, help="Carry the input's columns into the output.")
@click.option("--retry-failed", is_flag=True, help="Ask again what failed in earlier runs.")
@click.option("--overwrite", is_flag=True, help="Start over; the old output and journal are kept as .bak.")
@click.option("--journal", metavar="FILE", help="Where answers are kept.  [default: OUTPUT.journal]")
@click.option("--strict", is_flag=True, help="Refuse the whole input when a row of it is wrong.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--check", is_flag=True, help="Check every row of the input and stop.")
@click.option("--json", is_flag=True, help="Write events as JSON lines on standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def run(**values: Any) -> int:
    """
    Answer every prompt of INPUT, and lose none.

    INPUT is a .jsonl, .csv, .tsv, .parquet or .txt file (.gz may follow), - for JSON lines on standard input, or a
    prompt in quotes. Rows bring `prompt`, `messages` or `contents`, or any columns for --template.

    The same command again continues where the last one ended: nothing answered is asked again.

    \b
    Exit codes: 0 all answered; 1 some rows failed; 2 wrong usage;
    3 stopped early, resumable; 130 interrupted.
    """
    from wingbeat.cli.running import execute

    return execute(values)
