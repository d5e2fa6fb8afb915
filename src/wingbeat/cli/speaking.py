"""How facts look: a name, a text, and lines that break between words."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable

import click

INDENT = 9


def say_facts(facts: Iterable[tuple[str, str]], *, colour: str, err: bool = True) -> None:
    """
    Write (name, text) lines, the names coloured; on a terminal long texts go on below their beginning.

    Args:
        facts: The lines.
        colour: Colour of the names.
        err: Whether they are talk, for standard error, or what was asked for.
    """
    width = shutil.get_terminal_size().columns if (sys.stderr if err else sys.stdout).isatty() else None
    for name, text in facts:
        click.secho(f"{name:>7}  ", fg=colour, nl=False, err=err)
        if width is not None and width > 2 * INDENT:
            text = f"\n{' ' * INDENT}".join(textwrap.wrap(text, width - INDENT, break_on_hyphens=False))
        click.echo(text, err=err)
