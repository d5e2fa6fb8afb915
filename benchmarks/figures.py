"""
The figures that the project states, measured side by side in one go: ratios of medians over interleaved rounds.

    python benchmarks/figures.py start        # 5 prompts of 1.0 s, whole process
    python benchmarks/figures.py throughput   # 20,000 prompts file to file against a server that answers at once
    python benchmarks/figures.py in-flight    # 5,000 in flight, 1.0 s each, whole process
    python benchmarks/figures.py memory       # peak memory of 1,000,000 prompts against 10,000

It needs the packages of ``pip install '.[test]'``; nginx is used when it is installed. Times are of whole processes,
from start to exit, as a shell would see them. Nothing is asserted: machines differ, ratios less so.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from servers import simulator, static_server

HERE = Path(__file__).parent


class Sample:
    """What one run of one process took."""

    def __init__(self, wall_s: float, cpu_s: float, peak_mb: float) -> None:
        self.wall_s = wall_s
        self.cpu_s = cpu_s
        self.peak_mb = peak_mb


def measure(command: Sequence[str]) -> Sample:
    """Run a command to its end."""
    before = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "GEMINI_API_KEY": "k", "GOOGLE_API_KEY": ""},
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - before
    if status != 0:
        sys.exit(f"{' '.join(command)} failed:\n{said.decode()[-2000:]}")
    return Sample(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def rounds(ways: dict[str, Callable[[], Sequence[str]]], number: int) -> dict[str, list[Sample]]:
    """Run every way once a round, one after the other, so that a busy moment strikes all alike."""
    found: dict[str, list[Sample]] = {name: [] for name in ways}
    for round_number in range(1, number + 1):
        for name, make in ways.items():
            found[name].append(measure(make()))
            print(f"  round {round_number}, {name}: {found[name][-1].wall_s:.2f} s", file=sys.stderr)
    return found


def table(title: str, found: dict[str, list[Sample]], prompts: int, floor: str, peer: str | None = None) -> None:
    """Print medians, spread, and ratios to the floor and to a peer."""
    print(f"\n{title}")
    print(f"{'':34} {'wall s':>8} {'spread':>13} {'prompts/s':>10} {'CPU ms':>7} {'peak MB':>8}  ratio")
    medians = {name: statistics.median(sample.wall_s for sample in samples) for name, samples in found.items()}
    for name, samples in found.items():
        walls = sorted(sample.wall_s for sample in samples)
        cpu_ms = statistics.median(sample.cpu_s for sample in samples) / prompts * 1000
        peak = max(sample.peak_mb for sample in samples)
        said = f"{medians[floor] / medians[name]:.0%} of {floor}"
        if peer is not None and name != peer:
            said += f", {medians[peer] / medians[name]:.1f} × {peer}"
        print(
            f"{name:34} {medians[name]:8.2f} {walls[0]:6.2f}–{walls[-1]:<6.2f} {prompts / medians[name]:10,.0f} "
            f"{cpu_ms:7.3f} {peak:8.0f}  {said}"
        )


def prompts_file(folder: str, number: int) -> str:
    """Write a file of different prompts."""
    path = Path(folder) / f"{number}.jsonl"
    if not path.exists():
        with path.open("w") as out:
            for i in range(number):
                row = {"id": f"row-{i}", "prompt": f"Question {i}: which is the longest river of country {i % 200}?"}
                out.write(json.dumps(row) + "\n")
    return str(path)


def client(name: str, url: str, in_flight: int, file: str) -> list[str]:
    """Return the command of a client."""
    return [sys.executable, str(HERE / "clients.py"), name, url, str(in_flight), file]


def command_line(url: str, file: str, in_flight: int) -> list[str]:
    """Return the command of a whole run, to a fresh output."""
    output = Path(f"{file}.answers.jsonl")
    output.unlink(missing_ok=True)
    for old in output.parent.glob(output.name + ".journal*"):
        old.unlink()
    arguments = ["run", file, "-o", str(output), "-m", "gemini-2.5-flash", "--base-url", url]
    return [sys.executable, "-m", "wingbeat", *arguments, "--concurrency", str(in_flight), "-q"]


def start(folder: str, number: int) -> None:
    """Measure five prompts of 1.0 s."""
    file = prompts_file(folder, 5)
    with simulator("--latency", "1.0") as url:
        ways = {
            "wingbeat run": lambda: command_line(url, file, 64),
            "google-genai, gather": lambda: client("google_genai", url, 64, file),
            "bare pyreqwest loop": lambda: client("bare", url, 5, file),
        }
        found = rounds(ways, number)
    table("5 prompts, 1.0 s latency, whole process", found, 5, "bare pyreqwest loop", "google-genai, gather")


def throughput(folder: str, number: int) -> None:
    """Measure 20,000 prompts against a server that answers at once."""
    prompts, in_flight = 20_000, 200
    file = prompts_file(folder, prompts)
    with static_server() as (server, url):
        ways = {
            "bare pyreqwest loop": lambda: client("bare", url, in_flight, file),
            "bare loop appending to a file": lambda: client("bare_to_file", url, in_flight, file),
            "wingbeat.Client.stream": lambda: client("library", url, in_flight, file),
            "wingbeat run (file to file)": lambda: command_line(url, file, in_flight),
            "google-genai, gather + semaphore": lambda: client("google_genai", url, in_flight, file),
        }
        found = rounds(ways, number)
    title = f"{prompts:,} prompts, {in_flight} in flight, whole process; server: {server}"
    table(title, found, prompts, "bare pyreqwest loop", "google-genai, gather + semaphore")


def in_flight(folder: str, number: int) -> None:
    """Measure 5,000 prompts of 1.0 s, all in flight."""
    prompts = 5_000
    file = prompts_file(folder, prompts)
    with simulator("--latency", "1.0") as url:
        ways = {
            "bare pyreqwest loop": lambda: client("bare", url, prompts, file),
            "wingbeat run (file to file)": lambda: command_line(url, file, prompts),
            "google-genai, gather + semaphore": lambda: client("google_genai", url, prompts, file),
        }
        found = rounds(ways, number)
    table(
        "5,000 in flight, 1.0 s latency, whole process",
        found,
        prompts,
        "bare pyreqwest loop",
        "google-genai, gather + semaphore",
    )


def memory(folder: str, number: int) -> None:
    """Measure the peak memory of a long run against a short one."""
    del number
    with static_server() as (server, url):
        for prompts in (10_000, 1_000_000):
            file = prompts_file(folder, prompts)
            sample = measure(command_line(url, file, 200))
            output = Path(f"{file}.answers.jsonl")
            journal = Path(f"{output}.journal").stat().st_size / 2**20
            written = output.stat().st_size / 2**20
            print(
                f"{prompts:>9,} prompts: peak {sample.peak_mb:.1f} MB, {sample.wall_s:.1f} s, "
                f"{sample.cpu_s / prompts * 1e6:.0f} µs CPU a prompt, output {written:.0f} MB, "
                f"journal {journal:.0f} MB (server: {server})"
            )


FIGURES = {"start": start, "throughput": throughput, "in-flight": in_flight, "memory": memory}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = FIGURES.values() if arguments.figure == "all" else [FIGURES[arguments.figure]]
    with tempfile.TemporaryDirectory() as folder:
        for figure in chosen:
            figure(folder, arguments.rounds)


if __name__ == "__main__":
    main()
