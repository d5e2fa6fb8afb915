"""Find what an earlier run has answered, by content, whatever the order of the rows now."""

from __future__ import annotations

from array import array

from wingbeat.journal.store import Journal, Kept
from wingbeat.model.record import Record

MOST_REPEATED_KEYS = 10_000


class Bits:
    """A growing row of bits: one bit a row of the input, so ten million rows take 1.25 MB."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __getitem__(self, position: int) -> bool:
        byte = position >> 3
        return byte < len(self._bytes) and bool(self._bytes[byte] & (1 << (position & 7)))

    def add(self, position: int) -> None:
        """Set one bit."""
        byte = position >> 3
        if byte >= len(self._bytes):
            self._bytes.extend(bytes(max(byte + 1 - len(self._bytes), 4096)))
        self._bytes[byte] |= 1 << (position & 7)


class Resumption:
    """
    Match the rows of an input with the outcomes of a journal, each outcome to one row at most.

    Args:
        journal: What earlier runs have left.
        retry_failed: Whether failed rows are asked again.
    """

    def __init__(self, journal: Journal, *, retry_failed: bool) -> None:
        self._journal = journal
        self._retry_failed = retry_failed
        self._claimed = Bits()
        self._last_claimed: dict[bytes, int] = {}
        self._moves: list[tuple[int, int]] = []
        self._dropped = array("q")
        self._last_before = journal.last_seq()
        self.is_empty = self._last_before == 0
        self.answered = 0
        self.failed = 0
        if not self.is_empty:
            journal.prepare_to_find()

    def claim(self, record: Record) -> Kept | None:
        """Return the outcome that a row already has, and take it for that row; None when it must be asked."""
        if self.is_empty:
            return None
        after = self._last_claimed.get(record.key, 0)
        while True:
            found = self._journal.find(record.key, after)
            if not found or found[0].seq > self._last_before:  # the latter was answered by this very run
                return None
            kept = found[0]
            if not self._claimed[kept.seq]:
                break
            after = kept.seq
            if len(self._last_claimed) < MOST_REPEATED_KEYS or record.key in self._last_claimed:
                self._last_claimed[record.key] = after
        self._claimed.add(kept.seq)
        if not kept.ok and self._retry_failed:
            self._dropped.append(kept.seq)
            return None
        if kept.position != record.index:
            self._moves.append((kept.seq, record.index))
        self.answered += kept.ok
        self.failed += not kept.ok
        return kept

    def drop_failed(self) -> None:
        """Forget all failures when they are asked again: for an input that can be matched only while it is asked."""
        if self._retry_failed and not self.is_empty:
            self._journal.drop([seq for seq, _position, ok in self._journal.positions() if not ok])

    def settle(self, *, whole_input: bool) -> None:
        """
        Write down what the matching has shown: moved rows, rows to be asked again, rows that are gone.

        Args:
            whole_input: Whether every row of the input was matched; only then are the others known to be gone.
        """
        if self.is_empty:
            return
        moves = self._moves
        if whole_input:
            moves += [
                (seq, -1)
                for seq, position, _ok in self._journal.positions()
                if position >= 0 and seq <= self._last_before and not self._claimed[seq]
            ]
        if moves:
            self._journal.move(moves)
        if self._dropped:
            self._journal.drop(self._dropped)
