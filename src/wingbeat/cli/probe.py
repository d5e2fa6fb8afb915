"""`wingbeat probe`: ask faster and faster until the service refuses, and say where that was."""

from __future__ import annotations

from typing import Any

import click

from wingbeat.cli.options import POSITIVE, service_options


@click.command(short_help="Find out where a service's limit is.")
@service_options
@click.option("--prompt", default="Say yes.", show_default=True, metavar="TEXT", help="What is asked, each time.")
@click.option(
    "--max-output-tokens",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    metavar="N",
    help="Most tokens of an answer.",
)
@click.option("--thinking-budget", type=int, metavar="N", help="Most thinking tokens; 0 off, -1 automatic.")
@click.option("--thinking-level", metavar="LEVEL", help="minimal, low, medium, high or xhigh.")
@click.option(
    "--max-requests",
    type=click.IntRange(1, 1_000_000),
    default=600,
    show_default=True,
    metavar="N",
    help="Most requests; a quarter of them is kept for after the first refusal.",
)
@click.option("--max-cost", type=POSITIVE, metavar="USD", help="Most to spend.  [default: 0.5, if a price is known]")
@click.option(
    "--burst",
    type=click.IntRange(0, 10_000),
    default=10,
    show_default=True,
    metavar="N",
    help="Requests sent at once to begin with.",
)
@click.option(
    "--start",
    type=POSITIVE,
    default=60.0,
    show_default=True,
    metavar="N",
    help="Requests a minute of the first step.",
)
@click.option(
    "--step",
    type=click.FloatRange(1.01, 10.0),
    default=1.5,
    show_default=True,
    metavar="X",
    help="How many times as fast each next step is.",
)
@click.option(
    "--hold", type=click.FloatRange(0.1, 3600.0), default=10.0, show_default=True, metavar="S", help="Length of a step."
)
@click.option(
    "--learn-for",
    type=click.FloatRange(0.0, 3600.0),
    default=150.0,
    show_default=True,
    metavar="S",
    help="Longest time from the first refusal to the end.",
)
@click.option(
    "--timeout", type=POSITIVE, default=60.0, show_default=True, metavar="S", help="Longest wait for a reply."
)
@click.option("--picture", metavar="FILE.svg", help="Draw what was sent and what was refused over time.")
@click.option(
    "--save/--no-save", default=True, show_default=True, help="Keep what was learnt; later runs start from it."
)
@click.option("--json", is_flag=True, help="Print what was found as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on the way.")
def probe(**values: Any) -> int:
    """
    Find out at what point a service refuses: how many at once, how many a minute, over which window.

    Asks the same small thing, some at once, then at an even pace that rises step by step until the first refusal.
    Then it waits as it is told and finds out what the limit is. What it may send and cost at most it says before it
    starts.

    A probe uses the quota up while it lasts: others who share the key are refused too.
    """
    from wingbeat.cli.probing import execute

    return execute(values)
