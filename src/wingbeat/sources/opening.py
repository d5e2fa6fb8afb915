"""Which source an input argument means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from wingbeat.errors import SourceError
from wingbeat.sources.jsonl import JsonlSource
from wingbeat.sources.parquet import ParquetSource
from wingbeat.sources.rows import Source
from wingbeat.sources.table import TableSource
from wingbeat.sources.text import PromptSource, TextSource

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "txt",
}


def open_source(argument: str, repeat: int = 1) -> Source:
    """
    Open what an input argument names: ``-``, a file by its ending, or a prompt in quotes.

    Args:
        argument: ``-`` for JSON Lines on standard input, a path (``.gz`` may follow the ending), or a prompt.
        repeat: How often to ask a prompt in quotes.

    Raises:
        SourceError: There is no such file, its ending is unknown, or ``repeat`` does not apply.
    """
    if argument == "-":
        _refuse_repeat(repeat)
        return JsonlSource(stream=standard_input())
    if not argument.strip():
        raise SourceError("the prompt is empty", hint="give a file, `-`, or a prompt in quotes")
    path = Path(argument)
    if not _names_a_file(argument, path):
        return PromptSource(argument, repeat)
    _refuse_repeat(repeat)
    if not path.exists():
        raise SourceError(f"there is no file `{argument}`", hint="check the path; a prompt needs a space in it")
    if path.is_dir():
        raise SourceError(f"`{argument}` is a folder, not a file", hint="name one file; a prompt needs a space in it")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    match FORMATS.get(suffix):
        case "jsonl":
            source: Source = JsonlSource(path)
        case "csv":
            source = TableSource(path, ",")
        case "tsv":
            source = TableSource(path, "\t")
        case "parquet":
            source = ParquetSource(path)
        case "txt":
            source = TextSource(path)
        case _:
            known = " ".join(sorted(FORMATS))
            raise SourceError(
                f"can't tell the format of `{argument}`", hint=f"known endings: {known}; `.gz` may follow"
            )
    return source


def _names_a_file(argument: str, path: Path) -> bool:
    """Tell a path from a prompt: what exists, or has a known ending, or could be nothing but a path, is a path."""
    try:
        if path.exists():
            return True
    except (OSError, ValueError):
        return False
    if path.suffix.lower() in (*FORMATS, ".gz") and "\n" not in argument:
        return True
    if any(char.isspace() for char in argument):
        return False
    return "/" in argument or (path.suffix not in ("", ".") and path.suffix.isascii())


def _refuse_repeat(repeat: int) -> None:
    if repeat != 1:
        raise SourceError("`--repeat` goes with a prompt in quotes", hint="leave it out, or give a prompt")


def standard_input() -> IO[bytes]:
    """
    Return standard input as bytes, through a reader of its own.

    A thread that waits in ``sys.stdin`` itself keeps the interpreter from ending: it aborts on that object's lock.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):
        return sys.stdin.buffer
