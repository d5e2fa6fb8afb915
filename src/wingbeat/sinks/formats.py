"""How one output row looks in each format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from wingbeat.sources.parquet import import_pyarrow

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

OWN_COLUMNS = (
    "id",
    "index",
    "text",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "thinking_tokens",
    "cached_tokens",
    "cost_usd",
    "latency_s",
    "attempts",
    "model",
    "error_kind",
    "error_message",
)
"""Columns of the flat formats; JSON Lines nests the tokens in ``usage`` and the error in ``error``."""

_USAGE = ("input_tokens", "output_tokens", "thinking_tokens", "cached_tokens")


class TextFormat(Protocol):
    """A format that can be appended to, row by row."""

    header: bytes

    def render(self, line: bytes) -> bytes:
        """Turn a journal line into the bytes of one row, line end included."""
        ...


class JsonlFormat:
    """JSON Lines: the journal's own lines."""

    header = b""

    def render(self, line: bytes) -> bytes:
        """Add the line end."""
        return line + b"\n"


class CsvFormat:
    """
    A flat table with a header.

    Args:
        delimiter: What separates fields.
        columns: Input columns to carry along.
    """

    def __init__(self, delimiter: str, columns: Sequence[str]) -> None:
        self._delimiter = delimiter
        self._columns = flat_columns(columns)
        self.header = self._row(self._columns)

    def render(self, line: bytes) -> bytes:
        """Flatten one row."""
        row = flatten(line)
        return self._row([_cell(row.get(name)) for name in self._columns])

    def _row(self, values: Sequence[Any]) -> bytes:
        text = io.StringIO()
        # Only characters of the line end are quoted by csv, and a bare carriage return must be.
        csv.writer(text, delimiter=self._delimiter, lineterminator="\r\n").writerow(values)
        return text.getvalue().removesuffix("\r\n").encode("utf-8", "replace") + b"\n"


def write_parquet(path: Path, lines: Iterable[bytes], columns: Sequence[str]) -> None:
    """Write rows to a Parquet file, a thousand at a time; identifiers and input columns are written as text."""
    pyarrow = import_pyarrow()
    names = flat_columns(columns)
    types = {
        "index": pyarrow.int64(),
        **dict.fromkeys(_USAGE, pyarrow.int64()),
        "cost_usd": pyarrow.float64(),
        "latency_s": pyarrow.float64(),
        "attempts": pyarrow.int64(),
    }
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in names])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _chunks(lines, 1024):
            table = {
                name: [row.get(name) if name in types else _string(row.get(name)) for row in rows] for name in names
            }
            writer.write_table(pyarrow.Table.from_pydict(table, schema=schema))


def flat_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a flat output: identifier and position, the input's own, then ours."""
    carried = tuple(carried_name(name) for name in columns if name != "id")
    return ("id", "index", *carried, *OWN_COLUMNS[2:])


RESERVED = frozenset({*OWN_COLUMNS, "usage", "error", "value"})


def carried_name(name: str) -> str:
    """
    Return the name of an input column in the output: its own, unless that is one of ours.

    No two names become one: ``text`` becomes ``input_text``, and so ``input_text`` becomes ``input_input_text``.
    """
    bare = name
    while bare not in RESERVED and bare.startswith("input_"):
        bare = bare.removeprefix("input_")
    return f"input_{name}" if bare in RESERVED and (bare != "id" or name == "id") else name


def flatten(line: bytes) -> dict[str, Any]:
    """Return a journal line as one level of columns."""
    row: dict[str, Any] = _decode(line)
    usage = row.pop("usage", None) or {}
    error = row.pop("error", None) or {}
    row.update((name, usage.get(name)) for name in _USAGE)
    row["error_kind"] = error.get("kind")
    row["error_message"] = error.get("message")
    return row


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        return _encode(value).decode()
    return value


def _string(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _encode(value).decode()


def _chunks(lines: Iterable[bytes], size: int) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        rows.append(flatten(line))
        if len(rows) == size:
            yield rows
            rows = []
    if rows:
        yield rows
