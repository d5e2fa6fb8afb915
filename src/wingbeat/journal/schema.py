"""The journal's tables, and how to open one without harming it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from wingbeat.errors import JournalError, JournalVersionError

APPLICATION_ID = 0x77_62_6A_6C
"""Marks the file as ours ("wbjl"), so that no other SQLite file is ever written to."""

VERSION = 1

TABLES = """
create table meta (
    name  text primary key,  -- run, progress, output, output_name, recent, call
    value text not null      -- JSON
) without rowid;
create table outcomes (
    seq  integer primary key, -- in the order in which they were committed
    key  blob not null,       -- 16 bytes that name the row's content
    idx  integer not null,    -- position in the input, -1 when the input no longer holds the row
    ok   integer not null,    -- 1 answered, 0 failed
    line blob not null        -- the output row as JSON
);
"""

KEY_INDEX = "create index if not exists outcomes_by_key on outcomes (key)"
"""Made when a run is resumed: a fresh run looks nothing up, and is spared the cost of keeping it."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """
    Open a journal, or make a new one.

    Args:
        path: The file.
        read_only: Whether to look only, as while another process writes.

    Raises:
        JournalVersionError: It is newer than this wingbeat, or not a journal.
        JournalError: It can't be opened or made.
    """
    try:
        if read_only:
            connection = _connect_to_read(path)
        else:
            _check_left_over(path)
            connection = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
        connection.isolation_level = None
        try:
            _check(connection, path, read_only=read_only)
        except BaseException:
            connection.close()
            raise
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise _foreign(path) from None
        raise unusable(path, error) from None
    return connection


def unusable(path: Path, error: sqlite3.Error) -> JournalError:
    """Return the error for a journal that SQLite can't read or write, saying what to do."""
    text = str(error)
    if "full" in text:
        return JournalError(
            f"the disk is full: can't write `{path}`",
            hint="free some space, then run the same command again; what was answered is kept",
        )
    if "malformed" in text:
        return JournalError(
            f"the journal `{path}` is damaged: {text}",
            hint="save what it holds: sqlite3 JOURNAL .recover; or move it away and begin again",
        )
    if "readonly" in text or "unable to open" in text:
        return JournalError(
            f"can't open the journal `{path}`: {text}", hint="check the folder's permissions, or choose another output"
        )
    return JournalError(f"the journal `{path}` failed: {text}", hint="what was answered before is kept; try again")


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open without changing the file; in a folder where nothing can be made, as a file that nobody changes."""
    uri = path.absolute().as_uri()
    if not path.exists():
        raise JournalError(f"there is no journal `{path}`", hint="check the path of the output")
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=5.0)
    try:
        connection.execute("pragma user_version").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if _has_wal(path):
            raise
        connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_left_over(path: Path) -> None:
    """Look before writing when a process was killed here: closing a writable connection would fold its log into the
    file, which may be a newer wingbeat's, or nobody's business."""
    if not _has_wal(path):
        return
    connection = _connect_to_read(path)
    try:
        if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
            _check(connection, path, read_only=True)
    finally:
        connection.close()


def _has_wal(path: Path) -> bool:
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0 and path.stat().st_size > 0
    except OSError:
        return False


def _foreign(path: Path) -> JournalVersionError:
    return JournalVersionError(f"`{path}` is not a journal of wingbeat", hint="move it away, or choose another output")


def _check(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    application_id = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    is_empty = connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0
    if application_id == 0 and version == 0 and is_empty and not read_only:
        _prepare(connection)
        connection.execute("begin immediate")
        for statement in TABLES.strip().split(";\n"):
            connection.execute(statement)
        connection.execute(f"pragma application_id = {APPLICATION_ID}")
        connection.execute(f"pragma user_version = {VERSION}")
        connection.execute("commit")
        return
    if application_id != APPLICATION_ID:
        raise _foreign(path)
    if version > VERSION:
        raise JournalVersionError(
            f"`{path}` was written by a newer wingbeat (journal version {version}, this one knows {VERSION})",
            hint="upgrade: pip install --upgrade wingbeat",
        )
    if not read_only:
        _prepare(connection)


def _prepare(connection: sqlite3.Connection) -> None:
    """Write ahead, and wait for the disk at each commit: a power cut loses no more than a kill does."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma cache_size = -4000")
    connection.execute("pragma wal_autocheckpoint = 2000")
