"""
The ladder of `examples/`, run as a reader runs it, against a simulator in a process of its own.

What is asserted is what the simulator saw: how many requests were in flight at once, and how many it refused.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("google.genai")
pytestmark = [pytest.mark.slow]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("[1-9]_*.py"))
LATENCY_S = 0.3
PROGRAM = "from wingbeat.cli import main; main()"


class Ran(NamedTuple):
    """What a script printed, and what the simulator saw of it."""

    answers: int
    refused: int
    wall_s: float
    seen: dict[str, Any]


@contextmanager
def simulator(*options: str) -> Iterator[str]:
    """Run a simulator on a free port; yield its address."""
    command = [sys.executable, "-c", PROGRAM, "simulate", "--port", "0", "--json", "--latency", str(LATENCY_S)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


def run(script: str, *arguments: object, options: tuple[str, ...] = ()) -> Ran:
    """Run one script against a simulator of its own; its quota slides, so that no window ends during a run."""
    path = next(path for path in SCRIPTS if path.stem == script)
    with simulator("--enforcement", "sliding", *options) as url:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "GEMINI_"))}
        done = subprocess.run(
            [sys.executable, str(path), *map(str, arguments)],
            env={**environment, "GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "anything"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with urllib.request.urlopen(f"{url}/-/statistics", timeout=10) as reply:
            seen = json.load(reply)
    said = re.fullmatch(r"[a-z ]+: (\d+) answers, (\d+) refused(?: and asked again)?, ([\d.]+) s\n", done.stdout)
    assert said is not None, done.stdout
    return Ran(int(said[1]), int(said[2]), float(said[3]), seen)


def test_sequential_takes_one_latency_after_the_other():
    """One request at a time: never two in flight, and the time is at least the number times the latency."""
    ran = run("1_sequential", 5)
    assert (ran.answers, ran.refused) == (5, 0)
    assert ran.seen["peak_in_flight"] == 1
    assert ran.wall_s >= 5 * LATENCY_S - 0.1


def test_gather_has_everything_in_flight_at_once():
    """With `gather`, as many requests are in flight as there are prompts."""
    ran = run("2_gather", 5)
    assert (ran.answers, ran.refused) == (5, 0)
    assert ran.seen["peak_in_flight"] == 5


@pytest.mark.parametrize("script", ["2_gather", "3_semaphore", "4_queue"])
def test_quota_refuses_who_only_counts_what_is_in_flight(script: str):
    """Over a quota of 15, `gather`, semaphore and queue all lose what does not fit."""
    ran = run(script, 20, options=("--rpm", "15"))
    assert (ran.answers, ran.refused) == (15, 5)
    assert (ran.seen["answered"], ran.seen["refused"]) == (15, 5)


@pytest.mark.parametrize("script", ["3_semaphore", "4_queue"])
def test_semaphore_and_queue_bound_what_is_in_flight(script: str):
    """Semaphore and consumers keep at most five requests in flight."""
    ran = run(script, 12)
    assert (ran.answers, ran.refused) == (12, 0)
    assert ran.seen["peak_in_flight"] == 5


def test_rate_limiter_is_never_refused():
    """Paced at the quota's rate, twenty prompts pass a quota of five in half a second without a refusal."""
    ran = run("5_rate_limiter", 20, 300, options=("--rpm", "5", "--window", "0.5"))
    assert (ran.answers, ran.refused) == (20, 0)
    assert ran.seen["refused"] == 0
    assert ran.wall_s >= 19 * 60 / 300


@pytest.mark.parametrize("script", ["6_wingbeat", "7_own_client"])
def test_wingbeat_sends_at_once_what_fits(script: str):
    """A job of half a minute's quota goes at once, and nothing of it is refused."""
    ran = run(script, 20, 40, options=("--rpm", "40"))
    assert (ran.answers, ran.refused) == (20, 0)
    assert ran.seen["refused"] == 0
    assert ran.seen["peak_in_flight"] == 20


@pytest.mark.parametrize("script", ["6_wingbeat", "7_own_client"])
def test_wingbeat_asks_again_what_is_refused(script: str):
    """Refusals that name no quota are waited out, and every prompt is answered."""
    ran = run(script, 20, 400, options=("--fault", "error_429=0.2"))
    assert ran.answers == ran.seen["answered"] == 20
    assert ran.refused == ran.seen["faults"]["error_429"] > 0


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_examples_stay_short_and_say_how_to_run_them(path: Path):
    """Each script is at most 60 lines, and its docstring holds the command that runs it."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    assert f"python examples/{path.name}" in text.split('"""')[1]
    assert path.stem[0] >= "6" or "wingbeat" not in text.split('"""')[2]
