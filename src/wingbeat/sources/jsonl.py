"""JSON Lines: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from wingbeat.sources.bytelines import byte_lines, open_bytes, open_stream, too_long
from wingbeat.sources.rows import BadRow, Row


class JsonlSource:
    """
    Read a file of JSON objects, one a line; empty lines are passed over.

    Args:
        path: The file, or None to read ``stream``.
        stream: An open byte stream (standard input), read once.
        name: What to call it in messages.
    """

    unit = "line"
    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path | None = None, stream: IO[bytes] | None = None, name: str = "standard input") -> None:
        self._path = path
        self._stream = stream
        self.name = str(path) if path is not None else name
        self.can_reread = path is not None

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the objects."""
        with ExitStack() as stack:
            if self._path is not None:
                stream = stack.enter_context(open_bytes(self._path))
            else:
                assert self._stream is not None
                stream = open_stream(self._stream, self.name)
            decode = msgspec.json.Decoder().decode
            for number, line in enumerate(byte_lines(stream, self.name), 1):
                if line is None:
                    yield BadRow(number, too_long())
                    continue
                try:
                    value = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    if line.strip():
                        yield BadRow(number, _reason(line, error))
                    continue
                if type(value) is dict:
                    yield Row(number, value)
                else:
                    yield BadRow(number, f"a JSON object is expected, not {_kind(value)}")


def _reason(line: bytes, error: Exception) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: byte 0x{line[wrong.start]:02x} at position {wrong.start}"
    if b"\x00" in line:
        return f"holds a NUL byte at position {line.index(0)}"
    if isinstance(error, RecursionError):
        return "invalid JSON: nested too deeply"
    return f"invalid JSON: {error}"


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
