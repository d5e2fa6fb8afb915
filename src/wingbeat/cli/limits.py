"""`wingbeat limits`: what is known of services' limits: shown, set and forgotten."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from wingbeat.cli.failing import report_hint
from wingbeat.cli.options import POSITIVE

if TYPE_CHECKING:
    from wingbeat.config import Service
    from wingbeat.learnt import KnownRoute
    from wingbeat.model.limit import LearntLimit


class LimitVerbs(click.Group):
    """The verbs below `wingbeat limits`; an unknown one names those that there are."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"there is no command `limits {args[0]}`; known are `limits`, `limits set` and `limits forget`")
        return super().resolve_command(ctx, args)


@click.group(cls=LimitVerbs, invoke_without_command=True, short_help="Show, set or forget what is known of limits.")
@click.option("--json", is_flag=True, help="Print it as JSON.")
@click.pass_context
def limits(ctx: click.Context, json: bool) -> int:
    """
    Show what is known of services' limits: what runs have learnt, and what you have set.

    A run starts with what is known: from what was learnt within a day, at half of what is older, and without what
    was learnt more than 30 days ago. What you set holds until you forget it.

    Kept for each host, API key and model. Instead of the key a digest is kept that can't be turned back.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from wingbeat.limitbook import LimitBook

    book = LimitBook(warn=_warn)
    routes = book.routes()
    if json:
        _print_json(routes, file=str(book.path))
    elif routes:
        _show(routes)
    else:
        click.echo("no limits are known yet", err=True)
        report_hint(
            "a run learns them from a service's refusals and headers; or say them: "
            "wingbeat limits set gemini-2.5-flash --rpm 1000"
        )
    return 0


@limits.command("set", short_help="Say what a model's limits are.")
@click.argument("model", metavar="MODEL")
@click.option("--rpm", type=POSITIVE, metavar="N", help="Most requests a minute.")
@click.option("--tpm", type=POSITIVE, metavar="N", help="Most input tokens a minute.")
@click.option("--otpm", type=POSITIVE, metavar="N", help="Most output tokens a minute.")
@click.option("--rpd", type=POSITIVE, metavar="N", help="Most requests a day.")
@click.option("--tpd", type=POSITIVE, metavar="N", help="Most input tokens a day.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Most requests in flight.")
@click.option("--base-url", metavar="URL", help="Where the model is asked, as for run.")
@click.option("--json", is_flag=True, help="Print what is kept now as JSON.")
def set_limits(model: str, base_url: str | None, json: bool, **values: Any) -> int:
    """
    Say what MODEL's limits are, for the API key in the environment; every later run keeps to them.

    A limit that is given to a run itself wins. Limits that are not named stay as they are.
    """
    import datetime

    from wingbeat.errors import ConfigurationError
    from wingbeat.limitbook import LimitBook

    given = _given(values)
    if not given:
        raise ConfigurationError(
            f"no limit of {model!r} is given", hint="add --rpm, --tpm, --otpm, --rpd, --tpd or --concurrency"
        )
    service = _find_service(model, base_url, needs_key=True)
    book = LimitBook(warn=_warn)
    route = book.set(service, given, datetime.datetime.now(datetime.UTC))
    if json:
        _print_json([route], file=str(book.path))
    else:
        _show([route])
    return 0


@limits.command(short_help="Forget what is known of a model's limits, or of all.")
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--all", "everything", is_flag=True, help="Forget every limit of every model.")
@click.option("--base-url", metavar="URL", help="Where the model is asked, as for run.")
@click.option("--json", is_flag=True, help="Print what is forgotten as JSON.")
def forget(model: str | None, everything: bool, base_url: str | None, json: bool) -> int:
    """
    Forget what was learnt and what was set of MODEL's limits; the next run finds them out anew.

    For the API key in the environment; without one, for every key.
    """
    from wingbeat.errors import ConfigurationError
    from wingbeat.limitbook import LimitBook

    if everything == (model is not None) or (everything and base_url is not None):
        raise ConfigurationError("forget one model or all", hint="write wingbeat limits forget MODEL, or --all alone")
    service = None if model is None else _find_service(model, base_url, needs_key=False)
    book = LimitBook(warn=_warn)
    gone = book.forget(service)
    if json:
        _print_json(gone, file=str(book.path))
    elif gone:
        for route in gone:
            click.echo(f"forgotten: {route.route.api}/{route.route.model} at {route.route.host}", err=True)
    else:
        click.echo("nothing was known, so nothing is forgotten", err=True)
        if not everything:
            report_hint("see what is known: wingbeat limits")
    return 0


def _given(values: dict[str, Any]) -> list[LearntLimit]:
    """Return the limits of a command line; a value that no run would take is refused."""
    from wingbeat.learnt import SETTABLE
    from wingbeat.ledgers.limits import Limits
    from wingbeat.model.limit import LearntLimit

    found = []
    for (resource, window_s), name in SETTABLE.items():
        value = values[name]
        if value is not None:
            Limits(concurrency=value) if name == "concurrency" else Limits(rpm=value)
            found.append(LearntLimit(resource, float(value), window_s, origin="user"))
    return found


def _find_service(model: str, base_url: str | None, *, needs_key: bool) -> Service:
    from wingbeat.config import find_service
    from wingbeat.errors import ConfigurationError
    from wingbeat.transport import check_base_url

    service = find_service(model, base_url=base_url, needs_key=needs_key)
    if service.base_url is None:
        raise ConfigurationError(
            f"of {model!r} nothing is kept: its simulator is a new one in each run",
            hint="give the run its limits: wingbeat run … --rpm N",
        )
    check_base_url(service.base_url)
    return service


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)


def _show(routes: Sequence[KnownRoute]) -> None:
    import datetime
    import shutil

    from wingbeat.cli.known import known_lines

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in known_lines(routes, datetime.datetime.now(datetime.UTC), width):
        click.echo(f"{click.style(line.strong, bold=True)}{line.plain}{click.style(line.dim, dim=True)}")


def _print_json(routes: Sequence[KnownRoute], *, file: str) -> None:
    import datetime

    import msgspec

    from wingbeat.cli.known import use_of

    now = datetime.datetime.now(datetime.UTC)
    found = []
    for route in routes:
        facts = msgspec.to_builtins(route.route)
        facts["limits"] = [
            {
                **msgspec.to_builtins(limit),
                "age_s": round(max(0.0, (now - limit.learnt_at).total_seconds())),
                "use": use_of(limit.trust(now)),
            }
            for limit in route.limits
        ]
        found.append(facts)
    sys.stdout.write(msgspec.json.encode({"file": file, "routes": found}).decode() + "\n")
