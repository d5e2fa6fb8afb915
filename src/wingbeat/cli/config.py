"""`wingbeat config`: every setting and where it comes from."""

from __future__ import annotations

import os
from importlib import import_module

import click

from wingbeat.cli.settings import check_settings, read_settings, user_file

SECRETS = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
VARIABLES = ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_API_VERSION")


@click.command(short_help="Show every setting and where it comes from.")
@click.argument("command", default="run", type=click.Choice(["run", "plan", "compare", "probe", "simulate"]))
def config(command: str) -> int:
    """
    Show what COMMAND would use when no flag is given, and where each value comes from.

    A flag wins over a WINGBEAT_… variable, that over wingbeat.toml or [tool.wingbeat] in this folder, those over the
    user's file.
    """
    settings = read_settings()
    chosen: click.Command = getattr(import_module(f"wingbeat.cli.{command}"), command)
    check_settings(settings, command, chosen)
    width = max(len(name) for name in (*(str(parameter.name) for parameter in chosen.params), *SECRETS, *VARIABLES))
    for parameter in chosen.params:
        if not isinstance(parameter, click.Option) or parameter.name is None:
            continue
        value: object
        variable = f"WINGBEAT_{command.upper()}_{parameter.name.upper()}"
        name = parameter.name.replace("_", "-")
        if variable in os.environ:
            value, origin = os.environ[variable], variable
        elif (command, parameter.name) in settings.origins:
            value = settings.default_map[command][parameter.name]
            origin = settings.origins[command, parameter.name]
        else:
            value, origin = parameter.default, "default"
        shown = "-" if value is None or value == () or "Sentinel" in type(value).__name__ else value
        click.echo(f"{name:<{width}}  {shown!s:<24}  {origin}")
    for variable in SECRETS:
        click.echo(f"{variable:<{width}}  {'set' if os.environ.get(variable) else '-'!s:<24}  environment")
    for variable in VARIABLES:
        click.echo(f"{variable:<{width}}  {os.environ.get(variable) or '-':<24}  environment")
    click.echo(f"\nuser file: {user_file()}", err=True)
    return 0
