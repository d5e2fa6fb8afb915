"""Lines of a byte stream, with a bound on their length, so that a line of 100 MB costs no memory."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wingbeat.errors import SourceError
from wingbeat.sources.rows import MAX_ROW_BYTES

_BOM = b"\xef\xbb\xbf"


def open_bytes(path: Path) -> IO[bytes]:
    """
    Open a file for reading, through gzip when its first bytes say so.

    Raises:
        SourceError: It is missing, not readable, not a file, or not in a byte-oriented encoding.
    """
    try:
        raw = path.open("rb")
        start = raw.peek(4)[:4]
    except FileNotFoundError:
        raise SourceError(f"there is no file `{path}`", hint="check the path") from None
    except IsADirectoryError:
        raise SourceError(f"`{path}` is a folder, not a file", hint="name one file") from None
    except OSError as error:
        raise SourceError(f"can't read `{path}`: {error.strerror or error}") from None
    try:
        return _unpacked(raw, start, str(path))
    except BaseException:
        raw.close()
        raise


def open_stream(stream: IO[bytes], name: str) -> IO[bytes]:
    """
    Read an open stream, through gzip when its first bytes say so. Waits for the first bytes.

    Raises:
        SourceError: It can't be read, or is not in a byte-oriented encoding.
    """
    if not isinstance(stream, io.BufferedReader):
        return stream
    try:
        return _unpacked(stream, stream.peek(4)[:4], name)
    except OSError as error:
        raise SourceError(f"can't read `{name}`: {error.strerror or error}") from None


class _Gunzip(gzip.GzipFile):
    """A gzip stream that closes the file below it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


def _unpacked(raw: io.BufferedReader, start: bytes, name: str) -> IO[bytes]:
    if start[:2] == b"\x1f\x8b":
        return io.BufferedReader(_Gunzip(raw), 1 << 18)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"`{name}` is UTF-16, not UTF-8", hint=f"convert it: iconv -f UTF-16 -t UTF-8 '{name}'")
    return raw


def byte_lines(stream: IO[bytes], name: str) -> Iterator[bytes | None]:
    """
    Yield lines without their line ends; None stands for a line longer than `MAX_ROW_BYTES`, which is skipped.

    Raises:
        SourceError: The stream breaks off (torn gzip, failing disk).
    """
    first = True
    try:
        while line := stream.readline(MAX_ROW_BYTES + 2):
            if first:
                first = False
                line = line.removeprefix(_BOM)
            if line.endswith(b"\n"):
                yield line[:-2] if line.endswith(b"\r\n") else line[:-1]
            elif len(line) <= MAX_ROW_BYTES:
                yield line
            else:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(1 << 20)
                yield None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"`{name}` is torn: {error}", hint="the gzip file is incomplete; make it again") from None
    except OSError as error:
        raise SourceError(f"can't read on in `{name}`: {error.strerror or error}") from None


def too_long() -> str:
    """Return the reason for a row that is too long."""
    return f"the row is longer than {MAX_ROW_BYTES // 2**20} MiB"
