"""`wingbeat compare`: the same requests one at a time, all at once, and with wingbeat, timed and drawn."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from wingbeat.cli.options import generation_options, limit_options, service_options

DEFAULT_MODEL = "sim/gemini-2.5-flash"
DEFAULT_PICTURE = "comparison.svg"


@click.command(short_help="Ask the same prompts one at a time, all at once, and with wingbeat.")
@click.argument("input", metavar="PROMPT")
@click.option(
    "-n", "--requests", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N", help="Requests."
)
@service_options
@generation_options
@limit_options
@click.option(
    "--svg", metavar="FILE", default=DEFAULT_PICTURE, show_default=True, help="Where the picture goes; - for none."
)
@click.option("--json", is_flag=True, help="Print the figures as JSON.")
def compare(**values: Any) -> int:
    """
    Ask the same thing N times in three ways, time each from connecting to the last answer, and draw it.

    PROMPT is a prompt in quotes, asked N times, or a file whose first N rows are asked. Without --model the bundled
    simulator answers; a small --rpm shows where asking all at once breaks.
    """
    from wingbeat.cli.wanted import read_wanted
    from wingbeat.client import run_loop
    from wingbeat.comparing import Comparison
    from wingbeat.errors import SourceError
    from wingbeat.limitbook import Memory
    from wingbeat.report.comparison import comparison_table, comparison_text, figures
    from wingbeat.report.timeline import timeline_svg
    from wingbeat.sources.text import PromptSource

    wanted = read_wanted({**_RUN_DEFAULTS, **values, "model": values["model"] or DEFAULT_MODEL})
    source = wanted.source
    if isinstance(source, PromptSource):
        source = PromptSource(values["input"], values["requests"])
    rows = zip(range(values["requests"]), source.rows(), strict=False)
    records = [wanted.builder.build(position, row) for position, row in rows]
    bad = next((record for record in records if record.fault is not None), None)
    if bad is not None:
        raise SourceError(f"row {bad.index + 1} of `{source.name}` can't be asked: {bad.fault}")
    if not records:
        raise SourceError(f"`{source.name}` holds no rows")

    def say(text: str) -> None:
        click.secho(text, dim=True, err=True)

    memory = Memory(wanted.service, wanted.limits, fresh=values["fresh_limits"])
    comparison = Comparison(
        wanted.service, memory.start.limits, records, simulator=wanted.simulator, say=say, memory=memory
    )
    modes = run_loop(comparison.run())
    first = figures(modes[0], modes[0].wall_s)
    found = [figures(mode, None if first.lost else first.wall_s) for mode in modes]
    if values["json"]:
        sys.stdout.write(msgspec.json.encode({"model": wanted.service.route_name, "modes": found}).decode() + "\n")
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(comparison_table(found))
    else:
        click.echo(comparison_text(found))
    if values["svg"] != "-":
        simulated = wanted.service.kind == "sim"
        subtitle = f"{wanted.service.route_name}, {'simulated answers, ' if simulated else ''}{_limits(values)}"
        title = f"{len(records)} {'request' if len(records) == 1 else 'requests'}, three ways"
        Path(values["svg"]).write_text(timeline_svg(modes, title=title, subtitle=subtitle), "utf-8")
        click.echo(f"\npicture: {values['svg']}", err=True)
    return 0


def _limits(values: dict[str, Any]) -> str:
    said = [f"{values[name]:,.0f} {unit}" for name, unit in _UNITS.items() if values[name] is not None]
    return ", ".join(said) or "no rate limit given"


_UNITS = {"rpm": "requests/min", "tpm": "input tokens/min", "rpd": "requests/day"}

_RUN_DEFAULTS: dict[str, Any] = {
    "template": None,
    "repeat": 1,
    "output": "-",
    "overwrite": False,
    "journal": None,
    "limit": None,
    "sample": None,
    "sample_seed": 0,
    "keep_columns": False,
}
