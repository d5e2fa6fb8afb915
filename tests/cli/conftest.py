"""A clean place to run commands in: no keys, no settings, a folder of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from wingbeat.cli.main import run_command

SIM = ("--model", "sim/gemini-2.5-flash", "--simulator", "latency=0")


class Said(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without keys or settings."""
    for name in (
        "GOOGLE_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_GENAI_API_VERSION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WINGBEAT_STATE_DIR", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in process."""

    def run(*arguments: Any) -> Said:
        words = [str(word) for word in arguments]
        monkeypatch.setattr("sys.argv", ["wingbeat", *words])
        code = run_command(words)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def simulate(command: Command) -> Command:
    """Runs ``wingbeat run`` on the simulator."""

    def run(*arguments: Any) -> Said:
        return command("run", *SIM, *arguments)

    return run
