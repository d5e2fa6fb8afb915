"""`wingbeat plan`: play the run in virtual time, and say what it will take. Nothing is sent, and no key is needed."""

from __future__ import annotations

from typing import Any

import click

from wingbeat.cli.run import run

OWN_VALUES = {"dry_run": True, "check": False, "quiet": False}
"""What `wingbeat run` would be told for a mere look; these options of it make no sense here."""


@click.command(
    short_help="Say what a run will take, by playing it in virtual time.",
    # The variables and settings of `run` hold here too, or the plan would be that of another run.
    context_settings={"auto_envvar_prefix": "WINGBEAT_RUN"},
)
@click.option(
    "--expect-output-tokens",
    type=click.FloatRange(min=1),
    metavar="N",
    help="Mean tokens of an answer, thinking included.  [default: 400]",
)
@click.option("--picture", metavar="FILE.svg", help="Draw the planned run over time.")
@click.option("--json", is_flag=True, help="Print the plan as JSON.")
def plan(**values: Any) -> int:
    """
    Say how long a run will take, what it will cost, and what would make it faster.

    The same engine answers INPUT in virtual time, in front of a model of the service. Nothing is sent and no key is
    needed. The options are those of `wingbeat run`: write `plan` in its place.
    """
    from wingbeat.cli.planning import execute

    return execute({**values, **OWN_VALUES})


def _options_of_run() -> list[click.Parameter]:
    own = {parameter.name for parameter in plan.params} | OWN_VALUES.keys()
    return [parameter for parameter in run.params if parameter.name not in own]


plan.params[:0] = _options_of_run()
