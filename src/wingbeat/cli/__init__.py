"""The command line: verbs, each in a file of its own, imported when it is used."""

from wingbeat.cli.main import main

__all__ = ["main"]
