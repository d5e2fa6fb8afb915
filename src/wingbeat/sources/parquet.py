"""Parquet, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wingbeat.errors import ConfigurationError, SourceError
from wingbeat.sources.rows import BadRow, Row

BATCH_ROWS = 1024


def import_pyarrow() -> Any:
    """
    Import pyarrow when Parquet is used.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigurationError(
            "Parquet needs the package `pyarrow`", hint="install it: pip install 'wingbeat[parquet]'"
        ) from None
    return pyarrow


class ParquetSource:
    """
    Read a Parquet file's rows.

    Raises:
        SourceError: The file is missing or is no Parquet file.
    """

    unit = "row"
    can_reread = True

    def __init__(self, path: Path) -> None:
        self._pyarrow = import_pyarrow()
        self._path = path
        self.name = str(path)
        with self._open() as file:
            self.columns: tuple[str, ...] | None = tuple(file.schema_arrow.names)
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise SourceError(f"`{self.name}` names the column `{twice[0]}` twice", hint="rename one of them")

    def _open(self) -> Any:
        if not self._path.exists():
            raise SourceError(f"there is no file `{self._path}`", hint="check the path")
        try:
            return self._pyarrow.parquet.ParquetFile(self._path)
        except (self._pyarrow.ArrowException, OSError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SourceError(f"`{self.name}` is not a Parquet file: {first}") from None

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield the rows, counted from 1."""
        number = 0
        with self._open() as file:
            try:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    for row in _batch_rows(batch, number):
                        number += 1
                        yield row
            except (self._pyarrow.ArrowException, OSError) as error:
                raise SourceError(f"`{self.name}` is broken after row {number}: {error}") from None


def _batch_rows(batch: Any, before: int) -> Iterator[Row | BadRow]:
    """Yield the rows of a batch; one that Python has no value for (bad UTF-8, a date too far) spoils no other."""
    try:
        values = batch.to_pylist()
    except (ValueError, ArithmeticError):
        for position in range(batch.num_rows):
            number = before + 1 + position
            try:
                yield Row(number, batch.slice(position, 1).to_pylist()[0])
            except (ValueError, ArithmeticError) as error:
                yield BadRow(number, f"can't be read: {str(error).splitlines()[0]}")
    else:
        yield from (Row(before + 1 + position, columns) for position, columns in enumerate(values))
