"""Find an identifier that stands twice, in bounded memory whatever the number of rows."""

from __future__ import annotations

import struct
import tempfile
import weakref
from contextlib import ExitStack
from typing import IO

IN_MEMORY = 50_000
BUCKETS = 64
MOST_PAIRS = 100
_PAIR = struct.Struct("<QQ")
_64_BITS = 2**64 - 1


class DuplicateFinder:
    """
    Remember identifiers as 64-bit hashes: the first 50,000 in memory, more in temporary files by hash.

    Two different identifiers could share a hash (chance 3e-8 among a million); so what is found is a pair of
    positions to compare, not a verdict.
    """

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._files: list[IO[bytes]] = []
        self._stack = ExitStack()
        weakref.finalize(self, self._stack.close)  # a scan that breaks off never comes to `find`

    def add(self, identifier: str | int, position: int) -> int | None:
        """Remember an identifier; return the position of an equal one if that is already known."""
        value = hash(identifier) & _64_BITS
        if self._files:
            self._files[value % BUCKETS].write(_PAIR.pack(value, position))
            return None
        earlier = self._first.setdefault(value, position)
        if earlier != position:
            return earlier
        if len(self._first) > IN_MEMORY:
            self._spill()
        return None

    def find(self) -> list[tuple[int, int]]:
        """Return the first positions of equal identifiers that `add` could not tell, in order, and forget all."""
        pairs: list[tuple[int, int]] = []
        with self._stack:
            for file in self._files:
                file.seek(0)
                seen: dict[int, int] = {}
                for value, position in _PAIR.iter_unpack(file.read()):
                    earlier = seen.setdefault(value, position)
                    if earlier != position:
                        pairs.append((earlier, position))
        return sorted(pairs, key=lambda pair: pair[1])[:MOST_PAIRS]

    def _spill(self) -> None:
        self._files = [self._stack.enter_context(tempfile.TemporaryFile()) for _ in range(BUCKETS)]  # noqa: SIM115
        for value, position in self._first.items():
            self._files[value % BUCKETS].write(_PAIR.pack(value, position))
        self._first.clear()
