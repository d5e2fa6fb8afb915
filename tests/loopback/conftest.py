"""Real processes and real sockets: a simulator that counts, and `wingbeat run` beside it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

KEY = "AIzaSyD-loopback-key-that-nobody-may-see-42"
PROMPTS = Path(__file__).parents[2] / "data" / "prompts.jsonl"
PROGRAM = (sys.executable, "-c", "from wingbeat.cli import main; main()")


class Server:
    """A simulator in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def statistics(self) -> dict[str, Any]:
        """Return what it has counted so far."""
        with urllib.request.urlopen(f"{self.url}/-/statistics", timeout=10) as reply:
            counts: dict[str, Any] = json.load(reply)
        return counts


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Start ``wingbeat simulate`` on a free port."""
    command = [*PROGRAM, "simulate", "--port", "0", "--json", "--count-prompts", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(json.loads(process.stdout.readline())["url"])
        finally:
            process.kill()


def environment(url: str, key: str = KEY) -> dict[str, str]:
    """Return the environment of a run against a simulator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
    return {**kept, "GEMINI_API_KEY": key, "GOOGLE_GEMINI_BASE_URL": url}


class Running:
    """One ``wingbeat run`` as a process; its standard streams go to files, so that nothing blocks it."""

    def __init__(self, arguments: tuple[Any, ...], url: str, key: str = KEY, **more: Any) -> None:
        self._err = Path(f"stderr-{time.monotonic_ns()}.txt")
        self._out = self._err.with_suffix(".out")
        command = [*PROGRAM, "run", "--model", "gemini-2.5-flash", *map(str, arguments)]
        with self._err.open("wb") as err, self._out.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment(url, key), **more)

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text()

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for its end and return its exit code."""
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


def wait_until(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    """Poll until something is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def read_rows(path: str | Path = "out.jsonl") -> list[dict[str, Any]]:
    """Read the whole rows of an output, which may be being written."""
    if not Path(path).exists():
        return []
    lines = Path(path).read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def write_prompts(number: int, name: str = "in.jsonl") -> list[dict[str, Any]]:
    """Write so many real prompts into a file and return its rows."""
    lines = PROMPTS.read_text("utf-8").splitlines()[:number]
    Path(name).write_text("\n".join(lines) + "\n", "utf-8")
    return [json.loads(line) for line in lines]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WINGBEAT_STATE_DIR", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
