"""What every source yields: rows as read, good or bad."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

MAX_ROW_BYTES = 32 * 2**20
"""A longer row is refused: no service takes a request of that size (Gemini: 20 MB inline)."""


class Row(msgspec.Struct, frozen=True):
    """One row as read: its line or row number in the file, from 1, and its columns."""

    number: int
    columns: dict[str, Any]


class BadRow(msgspec.Struct, frozen=True):
    """A row that can't be read, and why, in one line."""

    number: int
    reason: str


class Source(Protocol):
    """
    A readable input.

    Attributes:
        name: What to call it in messages.
        unit: What its numbers count: ``line`` or ``row``.
        columns: Column names when the format states them, else None.
        can_reread: Whether `rows` may be called more than once.
    """

    name: str
    unit: str
    columns: tuple[str, ...] | None
    can_reread: bool

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield all rows, in order, holding one at a time."""
        ...
