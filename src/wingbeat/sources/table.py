"""CSV and TSV, with a header row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wingbeat.errors import SourceError
from wingbeat.sources.bytelines import byte_lines, open_bytes, too_long
from wingbeat.sources.rows import MAX_ROW_BYTES, BadRow, Row


class TableSource:
    """
    Read a table whose first row names the columns; quoted fields may span lines.

    Args:
        path: The file.
        delimiter: What separates fields.

    Raises:
        SourceError: There is no header, or it names a column twice.
    """

    unit = "row"
    can_reread = True

    def __init__(self, path: Path, delimiter: str) -> None:
        self._path = path
        self._delimiter = delimiter
        self.name = str(path)
        self.columns: tuple[str, ...] | None = self._header()

    def _header(self) -> tuple[str, ...]:
        header = next(self._fields(), None)
        if isinstance(header, str):
            raise SourceError(f"`{self.name}` has a header that can't be read: {header}")
        if not header:
            raise SourceError(f"`{self.name}` has no header row", hint="the first row must name the columns")
        if not all(map(_is_utf8, header)):
            raise SourceError(f"the header of `{self.name}` is not UTF-8", hint="save the table as UTF-8")
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise SourceError(f"`{self.name}` names the column `{twice[0]}` twice", hint="rename one of them")
        return tuple(header)

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the rows below the header; the first of them is row 2, as spreadsheets count."""
        header = self.columns
        assert header is not None
        fields = self._fields()
        next(fields, None)
        for number, row in enumerate(fields, 2):
            if isinstance(row, str):
                yield BadRow(number, row)
            elif not row:
                continue
            elif any(_TOO_LONG in value for value in row):
                yield BadRow(number, too_long())
            elif len(row) != len(header):
                yield BadRow(number, f"{len(row)} fields where the header has {len(header)}")
            else:
                bad = next((name for name, value in zip(header, row, strict=True) if not _is_utf8(value)), None)
                if bad is None:
                    yield Row(number, dict(zip(header, row, strict=True)))
                else:
                    yield BadRow(number, f"column `{bad}` is not UTF-8")

    def _fields(self) -> Iterator[list[str] | str]:
        """Yield each row's fields, or why it can't be read."""
        csv.field_size_limit(MAX_ROW_BYTES)
        with open_bytes(self._path) as stream:
            reader = csv.reader(self._lines(stream), delimiter=self._delimiter, strict=True)
            while True:
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    yield _reason(str(error))
                    continue
                if row is None:
                    return
                yield row

    def _lines(self, stream: IO[bytes]) -> Iterator[str]:
        """Yield decoded lines; one that is too long is left empty but for a mark that no header matches."""
        for line in byte_lines(stream, self.name):
            yield (_TOO_LONG if line is None else line.decode("utf-8", "surrogateescape")) + "\n"


_TOO_LONG = "\udfff"
"""Stands for a line that is too long: half a surrogate pair that no decoded byte gives."""


def _is_utf8(value: str) -> bool:
    if value.isascii():
        return True
    return not any("\ud800" <= char <= "\udfff" for char in value)


def _reason(error: str) -> str:
    """Say in the user's words what csv has found."""
    if "expected after" in error:
        return "has text after a closing quote: quotes inside a quoted field must be doubled"
    if "unexpected end" in error:
        return "opens a quote that is never closed"
    if "larger than field limit" in error:
        return f"{too_long()}; perhaps a quote is never closed"
    if "new-line character" in error:
        return "holds a carriage return outside quotes"
    return error
