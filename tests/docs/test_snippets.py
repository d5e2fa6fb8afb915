"""
Every code block of README.md and docs/ is run, so that the documentation can't lie.

A page is one test. Its blocks run in order, in one temporary folder that holds `data/`, `examples/` and a short
`prompts.jsonl`, with `GOOGLE_GEMINI_BASE_URL` and `GEMINI_API_KEY` set to a simulator: pages are written for the real
service. Python blocks find a list `prompts`; those of the reference find `wingbeat` imported. What follows the language
on the fence decides:

    ```python              is executed; all Python blocks of a page share their names, and `await` works at the top.
    ```python notebook     is executed inside a running event loop, as a notebook does.
    ```python raises=NAME  must raise the exception NAME.
    ```console             each line after `$ ` is run by bash (lines after `> ` continue it) and must exit with 0.
                           `$ export NAME=VALUE` holds for the rest of the page.
    ```console exit=N      the last command must exit with N.
    ```console check       every line shown must be printed; numbers may differ, and a line `…` stands for any others.
    ```console server      `wingbeat simulate` is started, and answers the page's requests to port 8080 from then on.
    ```console slow        is run only if WINGBEAT_SLOW_DOCS is set: it waits for minutes of quota.
    ```toml and ```json    must parse.
    … norun                is not run: installing, and what takes somebody else's library or service.

Simulated answers come quickly: after 20 ms where a command says nothing of latency, after 0.2 s where it says one
second. Other languages (`text`, `sh`) are not run.
"""

import ast
import asyncio
import builtins
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import wingbeat

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROWS = [json.loads(line) for line in (ROOT / "data" / "prompts.jsonl").read_text("utf-8").splitlines()[:5]]
ADDRESS = "http://127.0.0.1:8080"
PROGRAM = "from wingbeat.cli import main; main()"


class Block(NamedTuple):
    """One fenced block: where it begins, its language, the words after that, and its text."""

    line: int
    language: str
    words: frozenset[str]
    text: str

    def word(self, name: str) -> str | None:
        """Return the value of ``name=value`` on the fence."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), None)


def read_blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks."""
    text = page.read_text("utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 2, found[1], frozenset(found[2].split()), found[3])
        for found in FENCE.finditer(text)
    ]


@contextmanager
def simulator(*options: str) -> Iterator[str]:
    """Run a simulator on a free port; yield its address."""
    command = [sys.executable, "-c", PROGRAM, "simulate", *options, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


class Page:
    """Runs one page's blocks, in order."""

    def __init__(self, path: Path, url: str, stack: ExitStack) -> None:
        self._path = path
        self._url = url
        self._stack = stack
        self._names: dict[str, Any] = {"__name__": "__main__", "prompts": [row["prompt"] for row in ROWS]}
        if "reference" in path.parts:
            self._names["wingbeat"] = wingbeat

    def run(self, block: Block) -> None:
        """Run one block as its fence says."""
        if "norun" in block.words or ("slow" in block.words and not os.environ.get("WINGBEAT_SLOW_DOCS")):
            return
        match block.language:
            case "python":
                self._run_python(block)
            case "console":
                self._run_console(block)
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)

    def _run_python(self, block: Block) -> None:
        source = "\n" * (block.line - 1) + block.text
        code = compile(source, str(self._path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

        async def inside() -> None:
            if (awaitable := eval(code, self._names)) is not None:
                await awaitable

        wanted = block.word("raises")
        with ExitStack() as stack:
            if wanted is not None:
                stack.enter_context(pytest.raises(getattr(wingbeat, wanted, None) or getattr(builtins, wanted)))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", DeprecationWarning)
            if code.co_flags & CO_COROUTINE or "notebook" in block.words:
                asyncio.run(inside())
            else:
                exec(code, self._names)

    def _run_console(self, block: Block) -> None:
        printed = ""
        commands, said = _read_session(block.text)
        expected = [0] * (len(commands) - 1) + [int(block.word("exit") or 0)]
        for command, code in zip(commands, expected, strict=True):
            command = re.sub(r"\blatency([ =])1\b(?!\.)", r"latency\g<1>0.2", command)
            if command.startswith("export "):
                for pair in shlex.split(command)[1:]:
                    name, _, value = pair.partition("=")
                    os.environ[name] = value.replace(ADDRESS, self._url)
            elif "server" in block.words:
                self._url = self._stack.enter_context(simulator(*shlex.split(command)[2:]))
                os.environ["GOOGLE_GEMINI_BASE_URL"] = self._url
            else:
                printed += self._run_command(command.replace(ADDRESS, self._url), code)
        if "check" in block.words:
            seen = _loosely(printed)
            for line in said:
                assert line.strip() == "…" or _loosely(line) in seen, f"not printed: {line!r}, but:\n{printed}"

    @staticmethod
    def _run_command(command: str, code: int) -> str:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        if " sim/" in command and "simulator" not in command:
            environment |= {"WINGBEAT_RUN_SIMULATOR": "latency=0.02", "WINGBEAT_COMPARE_SIMULATOR": "latency=0.02"}
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == code, f"{command}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def _read_session(text: str) -> tuple[list[str], list[str]]:
    """Split a terminal session into commands and what they printed."""
    commands: list[str] = []
    said: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif line.startswith("> ") and commands:
            commands[-1] += "\n" + line[2:]
        elif line.strip():
            said.append(line)
    return commands, said


def _loosely(text: str) -> str:
    """Return a text without what differs from run to run: numbers, units of time, and the width of gaps."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*( (ms|s)\b)?", "#", text)).strip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page_runs_as_it_is_written(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every block of the page does what the page says."""
    blocks = read_blocks(path)
    for name in ("data", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GEMINI_", "WINGBEAT_RUN"))]:
        monkeypatch.delenv(name)
    with ExitStack() as stack:
        url = stack.enter_context(simulator("--latency", "0.02"))
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
        monkeypatch.setenv("GEMINI_API_KEY", "anything")
        page = Page(path, url, stack)
        for block in blocks:
            try:
                page.run(block)
            except BaseException as error:
                error.add_note(f"in {path.relative_to(ROOT)}, the block at line {block.line}")
                raise


def test_few_blocks_are_left_out():
    """At most one block in six is marked as not to be run; the reference shows signatures, and is not counted."""
    pages = [page for page in PAGES if "reference" not in page.parts]
    runnable = [block for page in pages for block in read_blocks(page) if block.language in ("python", "console")]
    left_out = [block for block in runnable if "norun" in block.words]
    assert len(left_out) <= max(2, len(runnable) / 6), left_out
