"""The file of known limits: what it holds, who may read it, and what it survives."""

import datetime
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wingbeat.config import Service
from wingbeat.errors import ConfigurationError
from wingbeat.ledgers.limits import Limits
from wingbeat.limitbook import LimitBook, Memory, state_folder
from wingbeat.model.limit import LearntLimit

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
KEY = "AIzaSyD-a-key-that-nobody-may-see-42"
SERVICE = Service("gemini", "gemini-2.5-flash", "https://api.example", None, KEY)
OTHER_KEY = Service("gemini", "gemini-2.5-flash", "https://api.example", None, "another key")
OTHER_MODEL = Service("gemini", "gemini-2.5-pro", "https://api.example", None, KEY)
OTHER_HOST = Service("gemini", "gemini-2.5-flash", "https://gateway.example", None, KEY)
SIMULATED = Service("sim", "gemini-2.5-flash", None, None, "simulated")
REQUESTS = LearntLimit("requests", 1000, enforcement="window", origin="told")


@pytest.fixture
def book(tmp_path: Path) -> LimitBook:
    """An empty book, in a folder that is not there yet."""
    return LimitBook(tmp_path / "deep" / "state")


def limits_of(book: LimitBook, service: Service = SERVICE) -> list[float]:
    """The limits that a book holds of a service's route."""
    route = book.find(service)
    return [] if route is None else [limit.limit for limit in route.limits]


def test_what_is_remembered_is_found(book: LimitBook):
    """A limit comes back with all that is known of it, under its own route only."""
    book.remember(SERVICE, [REQUESTS], NOW)
    route = LimitBook(book.path.parent).find(SERVICE)
    assert route is not None
    assert [limit.learnt() for limit in route.limits] == [REQUESTS]
    assert route.limits[0].learnt_at == NOW
    assert [limits_of(book, each) for each in (OTHER_KEY, OTHER_MODEL, OTHER_HOST, SIMULATED)] == [[]] * 4


def test_an_empty_book_leaves_no_file(book: LimitBook):
    """Looking something up, forgetting, and learning nothing make no file."""
    book.find(SERVICE)
    book.forget()
    book.remember(SERVICE, [LearntLimit("requests", 5, origin="user")], NOW)
    assert not book.path.parent.exists()


def test_the_key_is_not_in_the_file(book: LimitBook):
    """The file holds neither the key nor a digest that two files share."""
    elsewhere = LimitBook(book.path.parent / "elsewhere")
    for each in (book, elsewhere):
        each.remember(SERVICE, [REQUESTS], NOW)
        assert KEY not in each.path.read_text()
    digests = {each.routes()[0].route.key for each in (book, elsewhere)}
    assert len(digests) == 2
    assert all(len(digest) == 12 for digest in digests)


def test_only_the_user_may_read_it(book: LimitBook):
    """File and lock have mode 0600, and the folder that is made 0700."""
    book.remember(SERVICE, [REQUESTS], NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in book.path.parent.iterdir()}
    assert modes.pop("limits.json") == 0o600
    assert set(modes.values()) <= {0o600}
    assert stat.S_IMODE(book.path.parent.stat().st_mode) == 0o700


def test_learning_leaves_what_the_user_set(book: LimitBook):
    """A learnt limit stands beside a set one; setting again replaces the set one."""
    book.set(SERVICE, [REQUESTS], NOW)
    book.remember(SERVICE, [LearntLimit("requests", 300)], NOW)
    assert limits_of(book) == [1000, 300]
    book.set(SERVICE, [LearntLimit("requests", 500)], NOW)
    assert limits_of(book) == [500, 300]


def test_forgetting_is_for_one_route_or_all(book: LimitBook):
    """A route is forgotten for its key, for all keys when there is none, and everything on request."""
    keyless = Service("gemini", "gemini-2.5-flash", "https://api.example", None, "")
    everyone = (SERVICE, OTHER_KEY, OTHER_MODEL, OTHER_HOST)
    for each in everyone:
        book.remember(each, [REQUESTS], NOW)
    assert len(book.forget(OTHER_KEY)) == 1
    assert [len(limits_of(book, each)) for each in everyone] == [1, 0, 1, 1]
    book.remember(OTHER_KEY, [REQUESTS], NOW)
    assert len(book.forget(keyless)) == 2
    assert [len(limits_of(book, each)) for each in everyone] == [0, 0, 1, 1]
    assert len(book.forget()) == 2
    assert book.routes() == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"version": 1}',
        b'{"version": 1, "salt": "none", "routes": []}',
        b'{"version": 0, "salt": "00000000000000000000000000000000"}',
        b'{"version": 1, "salt": "00000000000000000000000000000000", "routes": [{"route": {}, "limits": []}]}',
    ],
)
def test_a_broken_file_is_put_aside(book: LimitBook, content: bytes):
    """What can't be read is kept as `.bad`, said once, and a new file is begun."""
    said: list[str] = []
    book = LimitBook(book.path.parent, warn=said.append)
    book.path.parent.mkdir(parents=True)
    book.path.write_bytes(content)
    assert limits_of(book) == []
    book.remember(SERVICE, [REQUESTS], NOW)
    assert limits_of(book) == [1000]
    assert book.path.with_name("limits.json.bad").read_bytes() == content
    assert len(said) == 1
    assert "limits.json.bad" in said[0]


def test_a_newer_file_is_left_alone(book: LimitBook):
    """A file of a newer version is neither read nor written, whatever it holds."""
    book.path.parent.mkdir(parents=True)
    content = '{"version": 2, "routes": "of another shape"}'
    book.path.write_text(content)
    for use in (
        book.routes,
        lambda: book.find(SERVICE),
        lambda: book.remember(SERVICE, [REQUESTS], NOW),
        lambda: book.set(SERVICE, [REQUESTS], NOW),
        book.forget,
    ):
        with pytest.raises(ConfigurationError, match="newer wingbeat"):
            use()
    assert book.path.read_text() == content
    assert not book.path.with_name("limits.json.bad").exists()


def test_a_folder_that_is_none_is_told(tmp_path: Path):
    """Where nothing can be written the error names the file and the variable that moves it."""
    (tmp_path / "file").write_text("")
    book = LimitBook(tmp_path / "file")
    with pytest.raises(ConfigurationError, match=r"limits\.json") as caught:
        book.set(SERVICE, [REQUESTS], NOW)
    assert caught.value.hint is not None
    assert "WINGBEAT_STATE_DIR" in caught.value.hint


def test_a_failed_write_leaves_the_old_file(book: LimitBook, monkeypatch: pytest.MonkeyPatch):
    """When the disk is full the old file stands, and nothing is left beside it."""
    book.remember(SERVICE, [REQUESTS], NOW)
    before = book.path.read_bytes()

    def full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        book.remember(SERVICE, [LearntLimit("requests", 5)], NOW)
    assert book.path.read_bytes() == before
    assert not list(book.path.parent.glob(".limits-*"))
    assert limits_of(book) == [1000]


@pytest.mark.slow
def test_processes_at_once_lose_nothing(book: LimitBook):
    """Eight processes that write at the same time leave every route that any of them has kept."""
    program = (
        "import datetime, sys\n"
        "from pathlib import Path\n"
        "from wingbeat.config import Service\n"
        "from wingbeat.limitbook import LimitBook\n"
        "from wingbeat.model.limit import LearntLimit\n"
        "book = LimitBook(Path(sys.argv[1]))\n"
        "for number in range(10):\n"
        "    service = Service('gemini', f'm{sys.argv[2]}-{number}', 'https://api.example', None, 'key')\n"
        "    book.remember(service, [LearntLimit('requests', 7)], datetime.datetime.now(datetime.UTC))\n"
    )
    command = [sys.executable, "-c", program, str(book.path.parent)]
    running = [subprocess.Popen([*command, str(number)]) for number in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8
    assert len(book.routes()) == 80
    assert len({each.route.key for each in book.routes()}) == 1


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch):
    """`WINGBEAT_STATE_DIR` names the folder; without it the platform's rules do."""
    monkeypatch.setenv("WINGBEAT_STATE_DIR", "~/somewhere")
    assert state_folder() == Path("~/somewhere").expanduser()
    monkeypatch.delenv("WINGBEAT_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_folder().name == "wingbeat"


def test_a_run_remembers_what_it_found_out(tmp_path: Path):
    """What a run learns is what the next one starts with; what it merely started with keeps its date and value."""
    first = Memory(SERVICE, Limits(), folder=tmp_path)
    assert first.start.learnt == ()
    first.keep([REQUESTS])
    second = Memory(SERVICE, Limits(), folder=tmp_path)
    assert [limit.limit for limit in second.start.learnt] == [1000]
    before = (tmp_path / "limits.json").read_bytes()
    second.keep(second.start.learnt)
    assert (tmp_path / "limits.json").read_bytes() == before
    assert [each.limit for each in second.basis()] == [REQUESTS]


def test_nothing_is_kept_of_a_simulator_of_the_run(tmp_path: Path):
    """A simulator started for the run has no past and no future."""
    memory = Memory(SIMULATED, Limits(), folder=tmp_path)
    memory.keep([REQUESTS])
    assert not memory.is_kept
    assert list(tmp_path.iterdir()) == []


def test_trouble_with_the_file_is_noted_once(tmp_path: Path):
    """A run goes on without memory when the file can't be used, and says so once."""
    (tmp_path / "limits.json").write_text(json.dumps({"version": 99}))
    memory = Memory(SERVICE, Limits(), folder=tmp_path)
    memory.keep([REQUESTS])
    memory.keep([REQUESTS])
    assert len(memory.troubles) == 1
    assert "newer wingbeat" in memory.troubles[0]
    assert not memory.is_kept
