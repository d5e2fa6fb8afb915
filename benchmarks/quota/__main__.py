"""
The quota bench: the production engine in virtual time against servers that enforce limits in every way known to us.

    python benchmarks/quota                                  # all rows, seeds 1-5
    python benchmarks/quota --rows 1,2,8 --seeds 1-20 --jobs 2
    python benchmarks/quota --quick --rows 8 --match "1,000" --states
    python benchmarks/quota --rows 1 --peers                 # what other clients do against the same servers
    python benchmarks/quota --rows 10                        # servers with no quota but a capacity
    python benchmarks/quota --json all.json --pictures out/  # every figure, and a picture of each first seed

Each figure is the worst over the seeds, with the median in brackets. "Used" is the part of what the server would have
admitted in the measured minutes, "over" the arrivals that brought any minute above a limit that the client knew.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import msgspec
from benchmarks.quota import capacity
from benchmarks.quota.capacity import BARS, CapacityResult, run_capacity
from benchmarks.quota.drawing import Drawn, run_svg, sheet_svg
from benchmarks.quota.measuring import Measured, measure
from benchmarks.quota.peers import PEERS, NotPlayed, Played, is_comparable, play
from benchmarks.quota.scenario import Scenario
from benchmarks.quota.scenarios import CAPACITY_ROW, named, scenarios
from benchmarks.quota.table import HEADINGS, OURS, line, missed_bars, not_played_line, peer_line

QUICK_MINUTES = 15.0

CAPACITY_MINUTES, POD_LOST_S = 12.0, 300.0


class Task(NamedTuple):
    """One run: which scenario, client and seed, and how."""

    name: str
    client: str
    seed: int
    is_quick: bool
    finds_concurrency: bool

    @property
    def scenario(self) -> Scenario:
        """The scenario, changed as asked."""
        scenario = msgspec.structs.replace(named(self.name), finds_concurrency=self.finds_concurrency)
        return scenario.shortened(QUICK_MINUTES) if self.is_quick else scenario


Result = Measured | Played | NotPlayed


def main() -> None:
    """Measure what was asked for and print it."""
    options = _options()
    chosen = _chosen(options.rows, options.match)
    tasks = [
        Task(scenario.name, client, seed, options.quick, not options.fixed)
        for scenario in chosen
        for client in _clients(scenario, peers=options.peers)
        for seed in options.seeds
    ]
    began = time.perf_counter()
    print(f"{len(tasks)} runs: the worst of {len(options.seeds)} seeds, the median in brackets")
    print(HEADINGS)
    ours: dict[str, list[Measured]] = {}
    theirs: dict[tuple[str, str], list[Played]] = {}
    for name, client, results in _measured(tasks, options.jobs, len(options.seeds)):
        own = [result for result in results if isinstance(result, Measured)]
        played = [result for result in results if isinstance(result, Played)]
        if own:
            ours[name] = own
            print(line(named(name), own), flush=True)
        elif played:
            theirs[name, client] = played
            print(peer_line(named(name), client, played), flush=True)
        elif isinstance(results[0], NotPlayed):
            print(not_played_line(named(name), client, results[0]), flush=True)
        if own and options.states:
            print(f"       {own[0].state}{f'; {own[0].stopped}' if own[0].stopped else ''}")
    missed = sum(bool(missed_bars(named(name).bar, runs)) for name, runs in ours.items())
    print(f"{len(ours) - missed} of {len(ours)} bars met in {time.perf_counter() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(_as_data(ours, theirs), indent=1), encoding="utf-8")
    if options.pictures:
        _draw(ours, theirs, options.seeds[0], options.pictures)
    if CAPACITY_ROW in options.rows or not (options.rows or options.match):
        _measure_capacity(options.seeds, options.jobs)


def _options() -> argparse.Namespace:
    said = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="benchmarks/quota", description=said[0], epilog=said[-1])
    parser.add_argument("--rows", type=lambda text: text.split(","), default=[], help="as 1,2,8; all by default")
    parser.add_argument("--match", default="", help="only scenarios whose name contains this")
    parser.add_argument("--seeds", type=_seeds, default=None, help="as 1-20 or 1,5,7; 1-5 by default, 1-2 when quick")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MINUTES:g} minutes a run at most")
    parser.add_argument("--peers", action="store_true", help="run other clients too, as far as they are installed")
    parser.add_argument("--fixed", action="store_true", help="find no concurrency, but take the most from the start")
    parser.add_argument("--states", action="store_true", help="print what the client knew of the limits in the end")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--pictures", type=Path, help="draw the runs of the first seed into this directory")
    options = parser.parse_args()
    if options.seeds is None:
        options.seeds = [1, 2] if options.quick else [1, 2, 3, 4, 5]
    return options


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _chosen(rows: list[str], match: str) -> list[Scenario]:
    return [item for item in scenarios() if (not rows or item.row in rows) and match in item.name]


def _clients(scenario: Scenario, *, peers: bool) -> list[str]:
    return [OURS, *(peer.name for peer in PEERS if peers and is_comparable(scenario, peer))]


def _measured(tasks: list[Task], jobs: int, seeds: int) -> Iterator[tuple[str, str, list[Result]]]:
    """Yield the results of all seeds of one scenario and client, as they come."""
    with multiprocessing.Pool(jobs) as pool:
        results = pool.imap(_one, tasks) if jobs > 1 else map(_one, tasks)
        for task in tasks[::seeds]:
            yield task.name, task.client, [next(results) for _ in range(seeds)]


def _one(task: Task) -> Result:
    if task.client == OURS:
        return measure(task.scenario, task.seed)
    return play(next(peer for peer in PEERS if peer.name == task.client), task.scenario, task.seed)


def _measure_capacity(seeds: list[int], jobs: int) -> None:
    """Run the servers that have no quota but a capacity; their figures are others, and so is their table."""
    tasks = [(model, seed, lost) for model in BARS for lost in (None, POD_LOST_S) for seed in seeds]
    print(capacity.HEADINGS)
    with multiprocessing.Pool(jobs) as pool:
        for result in pool.imap(_one_capacity, tasks):
            print(capacity.line(result), flush=True)


def _one_capacity(task: tuple[str, int, float | None]) -> CapacityResult:
    model, seed, lost = task
    return run_capacity(model, seed, CAPACITY_MINUTES, lose_pod_at_s=lost)


def _as_data(
    ours: dict[str, list[Measured]], theirs: dict[tuple[str, str], list[Played]]
) -> dict[str, dict[str, list[dict[str, object]]]]:
    data: dict[str, dict[str, list[dict[str, object]]]] = {}
    for name, runs in ours.items():
        recoveries = [[recovery._asdict() for recovery in run.recoveries] for run in runs]
        data[name] = {
            OURS: [
                run._asdict() | {"trace": run.trace._asdict(), "recoveries": recovery}
                for run, recovery in zip(runs, recoveries, strict=True)
            ]
        }
    for (name, client), played in theirs.items():
        data[name][client] = [run._asdict() | {"trace": run.trace._asdict()} for run in played]
    return data


def _draw(
    ours: dict[str, list[Measured]], theirs: dict[tuple[str, str], list[Played]], seed: int, directory: Path
) -> None:
    """Draw the first seed's run of every scenario and client, and all of them on one sheet."""
    directory.mkdir(parents=True, exist_ok=True)
    firsts: list[tuple[str, str, Measured | Played]] = []
    for name, runs in ours.items():
        firsts.append((name, "", runs[0]))
        firsts += [(name, client, played[0]) for (theirs_name, client), played in theirs.items() if theirs_name == name]
    drawn = []
    for name, client, run in firsts:
        unit: Literal["requests", "tokens"] = "requests" if named(name).counts_requests else "tokens"
        picture = Drawn(name, run.trace, run.used, run.refused, run.refusals, seed, unit=unit, client=client)
        drawn.append(picture)
        file = re.sub(r"[^a-z0-9]+", "-", f"{named(name).row} {name} {client}".lower()).strip("-")
        (directory / f"{file}.svg").write_text(run_svg(picture), encoding="utf-8")
    (directory / "all.svg").write_text(sheet_svg(drawn, title="Quota bench"), encoding="utf-8")


if __name__ == "__main__":
    main()
