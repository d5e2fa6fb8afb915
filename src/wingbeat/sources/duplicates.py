"""Find an identifier that stands twice, in bounded memory whatever the number of rows."""

from __future__ import annotations

import struct
import tempfile
import weakref
from contextlib import ExitStack
from hashlib import blake2b
from typing import IO

IN_MEMORY = 50_000
BUCKETS = 64
_PAIR = struct.Struct("<QQ")


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
        text = f"{type(identifier).__name__}:{identifier}"
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        if self._files:
            self._files[value % BUCKETS].write(_PAIR.pack(value, position))
            return None
        earlier = self._first.setdefault(value, position)
        if earlier != position:
            return earlier
        if len(self._first) > IN_MEMORY:
            self._spill()
        return None

    def find(self) -> tuple[int, int] | None:
        """Return the positions of the first two equal identifiers that `add` could not tell, and forget all."""
        with self._stack:
            best: tuple[int, int] | None = None
            for file in self._files:
                file.seek(0)
                seen: dict[int, int] = {}
                for value, position in _PAIR.iter_unpack(file.read()):
                    earlier = seen.setdefault(value, position)
                    if earlier != position and (best is None or position < best[1]):
                        best = (earlier, position)
            return best

    def _spill(self) -> None:
        self._files = [self._stack.enter_context(tempfile.TemporaryFile()) for _ in range(BUCKETS)]  # noqa: SIM115
        for value, position in self._first.items():
            self._files[value % BUCKETS].write(_PAIR.pack(value, position))
        self._first.clear()
