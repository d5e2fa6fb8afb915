"""The `wingbeat` command: finds the verb, reads configuration files, and turns errors into one clear line."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, ClassVar

import click
from click.core import ParameterSource

from wingbeat._version import __version__
from wingbeat.cli.failing import report_error
from wingbeat.cli.settings import INHERITED_FROM, Settings, check_settings, read_settings, with_inherited
from wingbeat.errors import ConfigurationError, WingbeatError


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that starting up is quick."""

    COMMANDS: ClassVar[dict[str, str]] = {
        "compare": "Ask the same prompts one at a time, all at once, and with wingbeat.",
        "config": "Show every setting and where it comes from.",
        "limits": "Show, set or forget what is known of limits.",
        "plan": "Say what a run will take, by playing it in virtual time.",
        "probe": "Find out where a service's limit is.",
        "run": "Answer every prompt of a file.",
        "simulate": "Run a local server that answers like the Gemini API.",
        "status": "Say how far a run is.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """List the verbs."""
        return sorted(self.COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import a verb."""
        if name not in self.COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"wingbeat.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self.COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one names its neighbours."""
        if args and args[0] not in self.COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.COMMANDS, 1)
            also = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(sorted(self.COMMANDS))}"
            ctx.fail(f"there is no command `{args[0]}`{also}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={
        "auto_envvar_prefix": "WINGBEAT",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="Start here: wingbeat run prompts.txt -o answers.jsonl --model sim/gemini-2.5-flash",
)
@click.version_option(__version__, prog_name="wingbeat")
@click.pass_context
def wingbeat(ctx: click.Context) -> None:
    """Answer any number of prompts with hosted language models, as fast as the quota allows, and lose none."""
    settings = read_settings()
    _check_tables(settings)
    name = ctx.invoked_subcommand
    for table in (name, INHERITED_FROM.get(str(name))):
        if table in settings.default_map:
            command = LazyGroup().get_command(ctx, str(table))
            assert command is not None
            check_settings(settings, str(table), command)
    ctx.default_map = with_inherited(settings.default_map)


def _check_tables(settings: Settings) -> None:
    """Refuse a table of a command that there is not, before it is silently ignored."""
    for (name, _option), path in settings.origins.items():
        if name not in LazyGroup.COMMANDS:
            known = ", ".join(f"[{command}]" for command in sorted(LazyGroup.COMMANDS))
            raise ConfigurationError(f"`{path}`: there is no command `{name}`", hint=f"tables are {known}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    _fill_standard_descriptors()
    code = run_command(arguments)
    _let_go_of_closed_output()
    sys.exit(code)


def run_command(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        _refuse_undecodable(sys.argv[1:] if arguments is None else arguments)
        result: Any = wingbeat.main(args=arguments, prog_name="wingbeat", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        report_error(error.format_message(), _usage_hint(error))
        return 2
    except WingbeatError as error:
        report_error(str(error), error.hint)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:
        report_error(str(error))
        return 3
    return result if isinstance(result, int) else 0


def _fill_standard_descriptors() -> None:
    """Open what the caller has closed of 0, 1 and 2, or the journal gets that number and is written to by accident."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lasts


def _let_go_of_closed_output() -> None:
    """Drop what a reader that went away has left unread, or the interpreter fails at its very end (exit code 120)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _refuse_undecodable(arguments: list[str]) -> None:
    """Refuse bytes that are no text: they can stand in no journal, no request and no event."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("WINGBEAT_")}
    for name, value in [
        *((f"argument {number}", value) for number, value in enumerate(arguments, 1)),
        *variables.items(),
    ]:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{name} is not valid UTF-8: {value!r}") from None


def _usage_hint(error: click.ClickException) -> str | None:
    """Say where to look: at the file or variable that a bad value comes from, else at the help."""
    context: click.Context | None = getattr(error, "ctx", None)
    if context is None:
        return None
    parameter: click.Parameter | None = getattr(error, "param", None)
    source = context.get_parameter_source(parameter.name) if parameter is not None and parameter.name else None
    if source in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
        return f"no flag gives it; see where it comes from: wingbeat config {context.info_name}"
    return f"see {context.command_path} --help"
