"""How an error looks: one line, a blank line, a hint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import click

from wingbeat.errors import WingbeatError


def report_error(message: str, hint: str | None = None) -> None:
    """Write an error to standard error."""
    text = message[:1].lower() + message[1:] if message[1:2].islower() else message
    click.secho("error", fg="red", bold=True, nl=False, err=True)
    click.echo(f": {text.rstrip('.')}", err=True)
    if hint:
        click.echo("", err=True)
        report_hint(hint)


def report_hint(hint: str) -> None:
    """Write what to do next to standard error."""
    click.secho("hint", fg="cyan", bold=True, nl=False, err=True)
    click.echo(f": {hint}", err=True)


def exit_code_of(work: Callable[[], int], *, as_events: bool) -> int:
    """Carry something out and return its exit code; an error that ends it is an event where events are wanted."""
    try:
        return work()
    except WingbeatError as error:
        if not as_events:
            raise
        report_problem(error, as_event=True)
        return error.exit_code


class Problems:
    """Collect everything that is wrong, so that all of it is said at once."""

    def __init__(self, *, as_events: bool = False) -> None:
        self._as_events = as_events
        self._found: list[WingbeatError] = []

    def __enter__(self) -> Problems:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, WingbeatError) and error.exit_code == 2:
            self._found.append(error)
            return True
        return False

    def stop_if_any(self) -> None:
        """Report all but the last problem, and raise that one."""
        if not self._found:
            return
        *others, last = self._found
        for error in others:
            report_problem(error, as_event=self._as_events)
        raise last


def report_problem(error: WingbeatError, *, as_event: bool) -> None:
    """Write one of several problems to standard error, for a person or for a program."""
    if as_event:
        from wingbeat.report.progress import EventsReporter

        EventsReporter.event("error", message=str(error), hint=error.hint, exit_code=error.exit_code)
        return
    report_error(str(error), error.hint)
    click.echo("", err=True)


def command_line(arguments: Iterable[str] | None = None, *, more: str | None = None) -> str:
    """
    Return the command that continues the user's: as it was written, but without what would start it over.

    Args:
        arguments: What was written after the program's name; the process's own by default.
        more: A flag to add, unless it is there.
    """
    import shlex

    written = [word for word in (sys.argv[1:] if arguments is None else arguments) if word != "--overwrite"]
    if more is not None and more not in written:
        written.append(more)
    return shlex.join(["wingbeat", *written])
