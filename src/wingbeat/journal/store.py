"""Find, add and list outcomes. Synchronous; one thread at a time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from filelock import FileLock, Timeout

from wingbeat.errors import JournalBusyError, JournalError
from wingbeat.journal.schema import KEY_INDEX, connect, unusable

ROWS_A_STATEMENT = 250
"""Rows inserted by one statement. SQLite's binding lets go of the interpreter lock at each statement and must win it
back from the event loop: a statement a row costs more in that than in writing."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Entry(NamedTuple):
    """One outcome to be kept: its row's key and position, whether it is an answer, and the output row as JSON."""

    key: bytes
    position: int
    ok: bool
    line: bytes


class Kept(NamedTuple):
    """One outcome found again."""

    seq: int
    position: int
    ok: bool


class Progress(msgspec.Struct):
    """How far a run is, kept beside the outcomes so that it can be read at a glance."""

    rows: int | None = None
    answered: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    failures: dict[str, int] = {}
    updated_at: float = 0.0


class OutputMark(msgspec.Struct, frozen=True):
    """How far the output file is known to agree with the journal: so many bytes, of this CRC-32, hold all outcomes up
    to ``seq``."""

    seq: int = 0
    size: int = 0
    checksum: int = 0


LOCK_WAIT_S = 0.2
"""How long to wait for the lock: longer than `Journal.is_being_written` holds it, which is no other writer."""


def journal_path(output: Path) -> Path:
    """Return where the journal of an output lies: beside it."""
    return output.with_name(output.name + ".journal")


class Journal:
    """
    Keep outcomes so that a process killed at any moment loses none that was committed.

    Only one process may write; others may read meanwhile.

    Args:
        path: The SQLite file; made when missing.
        read_only: Whether to look only.

    Raises:
        JournalBusyError: Another process writes it.
        JournalError: It can't be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        if not read_only:
            try:
                self._lock.acquire(timeout=LOCK_WAIT_S, poll_interval=0.02)
            except Timeout:
                raise JournalBusyError(
                    f"another process is writing `{path}`", hint="wait for it, or see how far it is: wingbeat status"
                ) from None
            except OSError as error:
                raise JournalError(
                    f"can't write beside the output: {error.strerror or error}: `{path}.lock`",
                    hint="check the folder's permissions, or choose another output",
                ) from None
        try:
            self._connection = connect(path, read_only=read_only)
        except BaseException:
            self._unlock()
            raise

    def __repr__(self) -> str:
        return f"<Journal {self.path}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let others write it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # unlinked while held: whoever waits for it makes a new one
                Path(self._lock.lock_file).unlink()
            self._lock.release()

    def is_being_written(self) -> bool:
        """True while some process holds the journal for writing."""
        if not Path(self._lock.lock_file).exists():
            return False
        try:
            with self._lock.acquire(timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def read(self, name: str) -> Any:
        """Return a value kept by `keep`, or None."""
        row = self._execute("select value from meta where name = ?", (name,)).fetchone()
        return None if row is None else _decode(row[0])

    def keep(self, **values: Any) -> None:
        """Keep JSON values by name, all or none."""
        with self._transaction():
            self._keep(values)

    def add(self, entries: Sequence[Entry], **values: Any) -> int:
        """
        Commit outcomes, with values to keep, all or none; on return they survive a crash.

        Returns:
            The number of the last outcome.
        """
        with self._transaction():
            for start in range(0, len(entries), ROWS_A_STATEMENT):
                part = entries[start : start + ROWS_A_STATEMENT]
                rows = ", ".join(["(?, ?, ?, ?)"] * len(part))
                values_of_rows = [value for entry in part for value in entry]
                self._connection.execute(f"insert into outcomes (key, idx, ok, line) values {rows}", values_of_rows)
            self._keep(values)
            return self._last_seq()

    def count(self) -> int:
        """Return how many outcomes are kept."""
        return int(self._execute("select count(*) from outcomes").fetchone()[0])

    def counts(self) -> tuple[int, int]:
        """Return how many rows of the input are answered, and how many have failed."""
        found = dict(self._rows("select ok, count(*) from outcomes where idx >= 0 group by ok", ()))
        return int(found.get(1, 0)), int(found.get(0, 0))

    def has_answers(self) -> bool:
        """True when anything was answered; failures alone bind nobody to the options that led to them."""
        return self._execute("select 1 from outcomes where ok = 1 limit 1").fetchone() is not None

    def last_seq(self) -> int:
        """Return the number of the last outcome; 0 when there is none."""
        return self._last_seq()

    def find(self, key: bytes, after: int = 0, most: int = 1) -> list[Kept]:
        """Return the next outcomes of a key, oldest first, numbered above ``after``."""
        sql = "select seq, idx, ok from outcomes where key = ? and seq > ? order by seq limit ?"
        return [Kept(seq, index, bool(ok)) for seq, index, ok in self._rows(sql, (key, after, most))]

    def prepare_to_find(self) -> None:
        """Make `find` fast."""
        self._execute(KEY_INDEX)

    def move(self, moves: Iterable[tuple[int, int]]) -> None:
        """Give outcomes other positions in the input, as (number, position), and mark the output as out of date."""
        with self._transaction():
            for seq, index in moves:
                line = self._execute("select line from outcomes where seq = ?", (seq,)).fetchone()[0]
                row = _decode(line)
                row["index"] = index
                self._connection.execute(
                    "update outcomes set idx = ?, line = ? where seq = ?", (index, _encode(row), seq)
                )
            self._keep({"output": OutputMark()})

    def drop(self, seqs: Iterable[int]) -> None:
        """Forget outcomes for good (failed rows that are asked again), and mark the output as out of date."""
        with self._transaction():
            self._connection.executemany("delete from outcomes where seq = ?", ((seq,) for seq in seqs))
            self._keep({"output": OutputMark()})

    def lines(self, *, after: int = 0, ordered: bool = False) -> Iterator[bytes]:
        """Yield the output rows of the current input, as JSON: in order of commit, or of the input."""
        order = "idx" if ordered else "seq"
        sql = f"select line from outcomes where seq > ? and idx >= 0 order by {order}"
        for (line,) in self._rows(sql, (after,)):
            yield line

    def line(self, seq: int) -> bytes:
        """Return one output row, as JSON."""
        return bytes(self._execute("select line from outcomes where seq = ?", (seq,)).fetchone()[0])

    def positions(self) -> Iterator[tuple[int, int, bool]]:
        """Yield (number, position, ok) of every outcome."""
        for seq, index, ok in self._rows("select seq, idx, ok from outcomes"):
            yield seq, index, bool(ok)

    def progress(self) -> Progress:
        """Return how far the run is."""
        kept = self.read("progress")
        return Progress() if kept is None else msgspec.convert(kept, Progress)

    def output_mark(self) -> OutputMark:
        """Return how far the output file agrees with the journal."""
        kept = self.read("output")
        return OutputMark() if kept is None else msgspec.convert(kept, OutputMark)

    def _last_seq(self) -> int:
        return int(self._execute("select coalesce(max(seq), 0) from outcomes").fetchone()[0])

    def _keep(self, values: dict[str, Any]) -> None:
        self._connection.executemany(
            "insert into meta (name, value) values (?, ?) on conflict (name) do update set value = excluded.value",
            [(name, _encode(value).decode()) for name, value in values.items()],
        )

    def _execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
        cursor = self._execute(sql, values)
        try:
            yield from cursor
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise unusable(self.path, error) from None
