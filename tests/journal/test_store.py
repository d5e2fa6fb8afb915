import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from wingbeat.errors import JournalBusyError, JournalError, JournalVersionError
from wingbeat.journal import Journal, journal_path
from wingbeat.journal.schema import VERSION
from wingbeat.journal.store import Entry, OutputMark


def entry(position, *, key=None, ok=True):
    """Return an outcome at a position."""
    return Entry(key or b"%016d" % position, position, ok, b'{"id":null,"index":%d,"text":"t"}' % position)


def python(code, *arguments, **options):
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options
    )


KILLED = """
import os, sys
from pathlib import Path
from wingbeat.journal.store import Entry, Journal
journal = Journal(Path(sys.argv[1]))
journal.add([Entry(b"k" * 16, 0, True, b'{"index":0}')])
journal.add([Entry(b"l" * 16, 1, True, b'{"index":1}')])
os.kill(os.getpid(), 9)
"""


@contextmanager
def as_nobody():
    """Drop the rights to pass over file permissions, when we have them."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def guarded():
    """Return a folder that anyone can read and nobody but its owner can change."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_committed_outcomes_are_found_again(tmp_path):
    """What `add` has committed is there when the journal is opened again, with the values kept beside it."""
    with Journal(tmp_path / "j") as journal:
        assert journal.add([entry(0), entry(1, ok=False)], progress={"rows": 2}) == 2
    with Journal(tmp_path / "j") as journal:
        assert list(journal.positions()) == [(1, 0, True), (2, 1, False)]
        assert [kept.position for kept in journal.find(b"%016d" % 1)] == [1]
        assert (journal.count(), journal.last_seq(), journal.read("progress")) == (2, 2, {"rows": 2})
        assert journal.progress().rows == 2
    assert [path.name for path in tmp_path.iterdir()] == ["j"]


def test_a_failed_add_leaves_nothing(tmp_path):
    """An `add` that fails half way keeps none of its outcomes and none of its values."""
    with Journal(tmp_path / "j") as journal:
        with pytest.raises(JournalError):
            journal.add([entry(0), Entry(b"k" * 16, None, True, b"{}")], progress={"rows": 9})
        assert (journal.count(), journal.read("progress")) == (0, None)
        assert journal.add([entry(0)]) == 1


def test_find_walks_through_equal_keys(tmp_path):
    """Outcomes of one key are found one after another, oldest first."""
    with Journal(tmp_path / "j") as journal:
        journal.add([entry(position, key=b"same" * 4) for position in range(5)])
        seen, after = [], 0
        while found := journal.find(b"same" * 4, after):
            after = found[0].seq
            seen.append(found[0].position)
    assert seen == [0, 1, 2, 3, 4]


def test_moved_and_dropped_rows(tmp_path):
    """A moved row carries its new position, one that left the input is not shown, a dropped one is forgotten."""
    with Journal(tmp_path / "j") as journal:
        journal.add([entry(0), entry(1), entry(2)], output=OutputMark(3, 99))
        journal.move([(1, 2), (2, -1), (3, 0)])
        assert list(journal.lines(ordered=True)) == [
            b'{"id":null,"index":0,"text":"t"}',
            b'{"id":null,"index":2,"text":"t"}',
        ]
        assert journal.output_mark() == OutputMark()
        journal.drop([3])
        assert journal.count() == 2


@pytest.mark.slow
def test_second_writer_is_refused(tmp_path):
    """While one process writes, another is refused with a hint; when it has closed, the next may write."""
    with Journal(tmp_path / "j") as journal:
        code = "import sys; from pathlib import Path; from wingbeat.journal import Journal; Journal(Path(sys.argv[1]))"
        refused = python(code, tmp_path / "j")
        assert "JournalBusyError: another process is writing" in refused.stderr
        with pytest.raises(JournalBusyError) as caught:
            Journal(tmp_path / "j")
        assert "wingbeat status" in caught.value.hint
        journal.add([entry(0)])
    with Journal(tmp_path / "j") as journal:
        assert journal.count() == 1


def test_status_is_read_while_another_writes(tmp_path):
    """A reader sees each commit of a writer at once, and that the journal is being written."""
    with Journal(tmp_path / "j") as journal:
        journal.add([entry(0)])
        with closing(Journal(tmp_path / "j", read_only=True)) as reader:
            assert (reader.count(), reader.is_being_written()) == (1, True)
            journal.add([entry(1)])
            assert reader.count() == 2
            with pytest.raises(JournalError):
                reader.keep(progress={})
    with closing(Journal(tmp_path / "j", read_only=True)) as reader:
        assert not reader.is_being_written()


@pytest.mark.slow
def test_a_look_at_the_lock_does_not_refuse_a_writer(tmp_path):
    """Asking all the time whether a journal is being written never keeps a writer from opening it."""
    Journal(tmp_path / "j").close()
    code = """
import sys
from pathlib import Path
from wingbeat.journal import Journal
reader = Journal(Path(sys.argv[1]), read_only=True)
print("ready", flush=True)
while True:
    reader.is_being_written()
"""
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "j")], stdout=subprocess.PIPE) as peeper:
        try:
            assert peeper.stdout.readline() == b"ready\n"
            for _ in range(20):
                with Journal(tmp_path / "j") as journal:
                    journal.add([entry(0)])
        finally:
            peeper.kill()


def test_killed_writer_is_read_and_resumed(tmp_path):
    """After a kill, a reader sees all that was committed, and so does the next writer."""
    assert python(KILLED, tmp_path / "j").returncode == -9
    with closing(Journal(tmp_path / "j", read_only=True)) as reader:
        assert (reader.count(), reader.is_being_written()) == (2, False)
    with Journal(tmp_path / "j") as journal:
        assert journal.count() == 2


def test_killed_before_the_tables_stand(tmp_path):
    """A journal that a kill left empty is begun again."""
    (tmp_path / "j").touch()
    with Journal(tmp_path / "j") as journal:
        assert journal.add([entry(0)]) == 1


@pytest.mark.parametrize("is_killed", [False, True])
def test_newer_journal_is_left_alone(tmp_path, is_killed):
    """A journal of a newer version is refused, and not a byte of it changes, even after a kill of its writer."""
    path = tmp_path / "j"
    Journal(path).close()
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        f"c.execute('pragma user_version = {VERSION + 1}'); c.commit(); os.kill(os.getpid(), 9)"
    )
    if is_killed:
        assert python(code, path).returncode == -9
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"pragma user_version = {VERSION + 1}")
    names = [path, path.with_name("j-wal")] if is_killed else [path]
    before = [name.read_bytes() for name in names]
    for read_only in (False, True):
        with pytest.raises(JournalVersionError) as caught:
            Journal(path, read_only=read_only)
        assert "newer wingbeat" in str(caught.value)
        assert "upgrade" in caught.value.hint
        assert [name.read_bytes() for name in names] == before
    assert not path.with_name("j.lock").exists()


@pytest.mark.parametrize("is_killed", [False, True])
def test_foreign_database_is_left_alone(tmp_path, is_killed):
    """Someone else's SQLite file is refused, and not a byte of it changes, even with a log beside it."""
    path = tmp_path / "j"
    end = "os.kill(os.getpid(), 9)" if is_killed else "c.close()"
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('pragma journal_mode = wal'); "
        f"c.execute('create table t (x)'); c.execute('insert into t values (1)'); c.commit(); {end}"
    )
    python(code, path)
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(JournalVersionError, match="not a journal of wingbeat"):
            Journal(path, read_only=read_only)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select x from t").fetchall() == [(1,)]


def test_a_file_that_is_no_database(tmp_path):
    """A text in the journal's place is refused and left as it is."""
    (tmp_path / "j").write_text("a diary, not a journal\n" * 100)
    with pytest.raises(JournalVersionError, match="not a journal of wingbeat"):
        Journal(tmp_path / "j")
    assert [path.name for path in tmp_path.iterdir()] == ["j"]
    assert (tmp_path / "j").read_text().startswith("a diary")


def test_a_damaged_journal_says_so(tmp_path):
    """A journal with overwritten pages raises JournalError wherever the damage is met, never a bare SQLite error."""
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add([entry(position) for position in range(2000)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = b"\xa5" * 8192
    path.write_bytes(content)
    with Journal(path) as journal, pytest.raises(JournalError, match="damaged"):
        list(journal.lines())


def test_no_journal_to_read(tmp_path):
    """Reading a journal that is not there says so, and makes none."""
    with pytest.raises(JournalError, match="there is no journal"):
        Journal(tmp_path / "j", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_can_not_be_written(guarded):
    """In a folder without permission, writing names the file and says what to do; reading works."""
    Journal(guarded / "old").close()
    guarded.chmod(0o555)
    with as_nobody():
        with pytest.raises(JournalError) as caught:
            Journal(guarded / "new")
        assert str(guarded) in str(caught.value)
        assert "permissions" in caught.value.hint
        with closing(Journal(guarded / "old", read_only=True)) as reader:
            assert (reader.count(), reader.is_being_written()) == (0, False)


def test_file_that_can_not_be_written(guarded):
    """A journal without permission to write is refused with a hint, and nothing of it changes."""
    Journal(guarded / "j").close()
    (guarded / "j").chmod(0o444)
    guarded.chmod(0o777)
    before = (guarded / "j").read_bytes()
    with as_nobody():
        with pytest.raises(JournalError) as caught, Journal(guarded / "j") as journal:
            journal.add([entry(0)])
        assert "permissions" in caught.value.hint
    assert (guarded / "j").read_bytes() == before


FILLING = """
import resource, signal, sys
from pathlib import Path
from wingbeat.errors import JournalError
from wingbeat.journal.store import Entry, Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
kept = 0
try:
    while True:
        journal.add([Entry(b"%016d" % kept, kept, True, b'{"index":%d,"text":"' % kept + b"x" * 5000 + b'"}')])
        kept += 1
except JournalError as error:
    print(kept, error, "/", error.hint)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.add([Entry(b"%016d" % kept, kept, True, b'{"index":%d}' % kept)])
journal.close()
"""


@pytest.mark.slow
def test_a_file_that_can_not_grow(tmp_path):
    """When the disk takes no more, `add` raises JournalError, keeps what was committed, and works on later."""
    told = python(FILLING, tmp_path / "j")
    assert told.returncode == 0, told.stderr
    kept = int(told.stdout.split()[0])
    assert kept > 10
    assert "disk" in told.stdout
    assert "what was answered" in told.stdout
    with Journal(tmp_path / "j") as journal:
        assert [position for _, position, _ in journal.positions()] == list(range(kept + 1))


@pytest.mark.slow
def test_a_full_disk(tmp_path):
    """On a full disk `add` says so; what was committed stays, and once there is room it goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not mounted or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("can't mount a small disk here")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        kept = 0
        with Journal(disk / "j") as journal:

            def fill():
                nonlocal kept
                while kept < 1000:
                    journal.add([Entry(b"%016d" % kept, kept, True, b'{"index":%d}' % kept + b" " * 5000)])
                    kept += 1

            with pytest.raises(JournalError) as caught:
                fill()
            assert "the disk is full" in str(caught.value)
            assert "free some space" in caught.value.hint
            assert kept > 10
            ballast.unlink()
            journal.add([entry(kept)])
        with Journal(disk / "j") as journal:
            assert [position for _, position, _ in journal.positions()] == list(range(kept + 1))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_journal_lies_beside_its_output():
    """The journal's name is the output's with an ending, so that no two outputs share one."""
    assert journal_path(Path("a/out.jsonl")) == Path("a/out.jsonl.journal")
