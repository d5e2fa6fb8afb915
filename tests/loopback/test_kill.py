"""SIGKILL at any instant: nothing that was shown is lost or asked again, and every row ends with one answer."""

import csv
import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from .conftest import PROGRAM, Running, Server, read_rows, serving, wait_until, write_prompts

pytestmark = pytest.mark.slow

CONCURRENCY = 16
LATENCY_S = 0.1
ANSWERED_IN_A_GROUP = 2 * CONCURRENCY
"""Most answers within the 100 ms that a group may take: those in flight at its start, and those sent meanwhile."""


def shown(name: str) -> set[str]:
    """Return the ids of the rows that an output shows whole."""
    if name.endswith(".jsonl"):
        return {row["id"] for row in read_rows(name)}
    if not Path(name).exists():
        return set()
    whole = Path(name).read_bytes().rpartition(b"\n")[0].decode()
    return {row["id"] for row in csv.DictReader(whole.splitlines(keepends=True)) if row["error_message"] is not None}


def status(name: str) -> dict[str, Any]:
    """Return what ``wingbeat status`` says."""
    done = subprocess.run([*PROGRAM, "status", name, "--json"], capture_output=True, check=False, timeout=30)
    counts: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {"done": 0}
    return counts


def kill_at_random(name: str, rows: list[dict[str, Any]], server: Server, seeds: range) -> dict[str, int]:
    """Kill a run again and again, let it end, check each promise, and return how often each row was asked."""
    arguments = ("in.jsonl", "-o", name, "--concurrency", CONCURRENCY, "--rpm", 1_000_000, "--quiet")
    prompts = {row["id"]: row["prompt"] for row in rows}
    settled: list[tuple[set[str], dict[str, int]]] = []
    for seed in seeds:
        random = Random(seed)
        before = server.statistics()["requests"]
        run = Running(arguments, server.url)
        if random.random() < 0.8:
            wanted = before + random.randint(1, 60)
            wait_until(lambda: server.statistics()["requests"] >= wanted or run.process.poll() is not None)  # noqa: B023
        else:
            wait_until(lambda: Path(f"{name}.journal").exists() or run.process.poll() is not None)  # noqa: B023
        said = status(name)["done"] if random.random() < 0.5 else 0
        run.process.kill()
        run.process.wait()
        wait_until(lambda: server.statistics()["in_flight"] == 0)
        settled.append((shown(name), server.statistics()["answers_by_prompt"]))
        assert status(name)["done"] >= said
    last = Running(arguments, server.url)
    assert last.wait() == 0, last.err
    counts = server.statistics()["answers_by_prompt"]
    for visible, at_the_time in settled:
        for row_id in visible:
            assert counts[prompts[row_id]] == at_the_time[prompts[row_id]], f"{row_id} was shown and asked again"
    assert len(settled[-1][0]) > 0
    again = sum(count - 1 for count in counts.values())
    assert again <= len(seeds) * (CONCURRENCY + ANSWERED_IN_A_GROUP)
    assert counts.keys() == set(prompts.values())
    assert max(counts.values()) <= 1 + len(seeds)
    return counts


@pytest.mark.parametrize("first_seed", [0, 100])
def test_a_killed_run_loses_nothing(first_seed: int):
    """After eight kills and the same command again: one answer per row, and asked twice at most what was under way."""
    rows = write_prompts(400)
    with serving("--latency", str(LATENCY_S)) as server:
        kill_at_random("out.jsonl", rows, server, range(first_seed, first_seed + 8))
    answered = read_rows()
    assert Path("out.jsonl").read_bytes().count(b"\n") == len(answered) == 400
    assert sorted(row["index"] for row in answered) == list(range(400))
    assert all(row["text"] and row["error"] is None for row in answered)
    assert {row["id"] for row in answered} == {row["id"] for row in rows}


def test_a_killed_run_to_a_table_loses_nothing():
    """The same holds for a CSV, whose rows may span lines."""
    rows = write_prompts(200)
    with serving("--latency", str(LATENCY_S)) as server:
        kill_at_random("out.csv", rows, server, range(200, 204))
    with open("out.csv", newline="") as file:
        answered = list(csv.DictReader(file))
    assert sorted(int(row["index"]) for row in answered) == list(range(200))
    assert all(row["text"] and not row["error_kind"] for row in answered)
