"""The output file: kept in step with the journal, and mended after a crash."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

from wingbeat.errors import JournalError
from wingbeat.journal.store import Journal, OutputMark
from wingbeat.sinks.formats import TextFormat


class Sink(Protocol):
    """Where outcomes become visible once they are durable."""

    def resume(self) -> None:
        """Bring the output into step with the journal before anything is added."""
        ...

    def append(self, lines: Sequence[bytes], seq: int) -> OutputMark:
        """Add committed rows; return how far the output agrees with the journal now."""
        ...

    def finish(self) -> None:
        """Make the output whole at the end of a run, early or not."""
        ...


class AppendedFile:
    """
    A file that grows as answers come, in the order in which they were committed.

    After a crash the file may hold rows past the last mark, or half a row: it is cut back to the mark and the rest
    is written again from the journal, so every committed row stands in it exactly once. A file that is not the one
    that was marked (edited, replaced, other columns) is built anew.

    Args:
        path: The file.
        form: Its format.
        journal: What it shows.
    """

    def __init__(self, path: Path, form: TextFormat, journal: Journal) -> None:
        self._path = path
        self._form = form
        self._journal = journal
        self._mark = OutputMark()

    def resume(self) -> None:
        """Cut the file back to the last mark and add what the journal holds beyond it."""
        mark = self._journal.output_mark()
        if mark.size == 0 or mark.seq > self._journal.last_seq() or not self._agrees(mark):
            self._rebuild()
        else:
            self._mark = mark
            try:
                os.truncate(self._path, mark.size)
                lines = self._journal.lines(after=mark.seq)
                self._mark = self._write(map(self._form.render, lines), self._journal.last_seq())
            except OSError as error:
                raise _unwritable(self._path, error) from None
        self._journal.keep(output=self._mark)

    def append(self, lines: Sequence[bytes], seq: int) -> OutputMark:
        """Add rows that the journal has just committed."""
        try:
            if not self._path.exists() or self._path.stat().st_size != self._mark.size:
                self._rebuild()  # somebody has moved or changed it meanwhile
            else:
                self._mark = self._write([b"".join(map(self._form.render, lines))], seq)
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return self._mark

    def finish(self) -> None:
        """Mark what the file holds; rows that could not be written before are written now."""
        self._journal.keep(output=self._mark)
        if self._mark.seq != self._journal.last_seq() or not self._path.exists():
            self.resume()

    def _agrees(self, mark: OutputMark) -> bool:
        """Read the file up to the mark, and tell whether it is what was written there."""
        header, checksum, left = self._form.header, 0, mark.size
        try:
            with self._path.open("rb") as file:
                if file.read(len(header)) != header:
                    return False
                file.seek(0)
                while chunk := file.read(min(left, 1 << 20)):
                    checksum = zlib.crc32(chunk, checksum)
                    left -= len(chunk)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unwritable(self._path, error) from None
        return left == 0 and checksum == mark.checksum

    def _rebuild(self) -> None:
        size = checksum = 0

        def write(part: Path) -> None:
            nonlocal size, checksum
            with part.open("wb", buffering=1 << 16) as file:
                for chunk in chain([self._form.header], map(self._form.render, self._journal.lines())):
                    size += len(chunk)
                    checksum = zlib.crc32(chunk, checksum)
                    file.write(chunk)

        replace(self._path, write)
        self._mark = OutputMark(self._journal.last_seq(), size, checksum)

    def _write(self, chunks: Iterable[bytes], seq: int) -> OutputMark:
        """Append, and return the mark that holds once all is written."""
        size, checksum = self._mark.size, self._mark.checksum
        with self._path.open("ab", buffering=1 << 16) as file:
            for chunk in chunks:
                size += len(chunk)
                checksum = zlib.crc32(chunk, checksum)
                file.write(chunk)
        return OutputMark(seq, size, checksum)


class BuiltFile:
    """
    A file written whole when a run ends, early or not: Parquet, and whatever must be in the input's order.

    Args:
        path: The file.
        build: Writes a file from journal lines.
        journal: What it shows.
        ordered: Whether rows stand in the input's order.
    """

    def __init__(
        self, path: Path, build: Callable[[Path, Iterable[bytes]], None], journal: Journal, *, ordered: bool
    ) -> None:
        self._path = path
        self._build = build
        self._journal = journal
        self._ordered = ordered

    def resume(self) -> None:
        """Nothing to do: the file is written at the end."""

    def append(self, lines: Sequence[bytes], seq: int) -> OutputMark:  # noqa: ARG002
        """Nothing to do: the file is written at the end."""
        return OutputMark()

    def finish(self) -> None:
        """Write the file and put it in place in one step."""
        replace(self._path, lambda part: self._build(part, self._journal.lines(ordered=self._ordered)))


class Stream:
    """
    An open stream, such as standard output: every row of the run is written to it once, earlier ones first.

    Args:
        stream: Where rows go.
        form: Their format.
        journal: What is shown.
        ordered: Whether rows wait for the end, to stand in the input's order.
    """

    def __init__(self, stream: IO[bytes], form: TextFormat, journal: Journal, *, ordered: bool) -> None:
        self._stream = stream
        self._form = form
        self._journal = journal
        self._ordered = ordered
        self._has_begun = False

    def resume(self) -> None:
        """Write what earlier runs have answered; nothing the second time."""
        if not self._ordered and not self._has_begun:
            self._has_begun = True
            self._write(chain([self._form.header], map(self._form.render, self._journal.lines())))

    def append(self, lines: Sequence[bytes], seq: int) -> OutputMark:  # noqa: ARG002
        """Write rows that the journal has just committed."""
        if not self._ordered:
            self._write(map(self._form.render, lines))
        return OutputMark()

    def finish(self) -> None:
        """Write the rows that have waited for their order."""
        if self._ordered:
            self._write([self._form.header])
            self._write(map(self._form.render, self._journal.lines(ordered=True)))

    def _write(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                self._stream.write(chunk)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise JournalError(f"can't write to the output stream: {error.strerror or error}") from None


def build_text(form: TextFormat) -> Callable[[Path, Iterable[bytes]], None]:
    """Return a builder of whole text files."""

    def build(path: Path, lines: Iterable[bytes]) -> None:
        with path.open("wb") as file:
            file.write(form.header)
            for line in lines:
                file.write(form.render(line))

    return build


def replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside ``path`` and put it in its place in one step, so that no half of it is ever seen."""
    target = Path(os.path.realpath(path))  # a link stays a link
    part = target.with_name(target.name + ".part")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        _remove(part)
        raise _unwritable(path, error) from None
    except BaseException:
        _remove(part)
        raise


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink()


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"can't write `{path}`: {error.strerror or error}",
        hint="what was answered is kept in the journal; mend the cause and run the same command again",
    )
