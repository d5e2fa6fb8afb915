"""
The quota bench over real sockets: the library against the simulated service on loopback, in real time.

    python benchmarks/quota/loopback.py                      # 17 cells of 8 minutes side by side, then 3 minutes more
    python benchmarks/quota/loopback.py --minutes 10 --seed 2 --json out.json
    python benchmarks/quota/loopback.py --match tokens --tpm 600000

A cell is two processes: a simulated service, and a client with more prompts than it can send. Where the limit is
unknown, the client is given none, and the service's refusals name neither a limit nor a wait. "Possible" is what the
service would admit if each prompt came, in order, at the first moment at which it fits. "Used" is the part of the limit
that it admitted in the measured minutes, by its own count; a bucket may hold more, saved up while it was not used.
"Refused" is the part of all requests, from the first on.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from math import ceil, floor, isinf
from pathlib import Path
from typing import get_args

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import msgspec
from benchmarks.quota.pair import Arrival, Backlog, Cell, ClientReport, Counted, Enforcement, Pair, tokens_of

from wingbeat.simulator.quota import new_meter

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 300, 60_000
"""Low, so that all cells together leave two cores idle most of the time."""
FAST_PER_MINUTE, FAST_MINUTES = 6_000, 3.0

PLAYED_PROMPTS = 20_000
"""Prompts that are played to find what is possible: an hour of the slowest cell."""

HEADINGS = (
    "| Client is given | Limit a minute | Enforced as | Possible % | Used % | Refused % in all "
    "| of the measured minutes | CPU ms a request | Learnt in the end |\n" + 9 * "| --- " + "|"
)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a cell came to; shares are of 1.

    Args:
        cell: What was measured.
        possible: What can be used by one who sends in order, and always knows when the next prompt fits.
        used: What was admitted in the measured minutes, of the limit.
        refused: Refusals, of all requests.
        refused_measured: Refusals in the measured minutes, of the requests then.
        requests: All requests that arrived.
        refusals: Those of them that were refused.
        cpu_ms: CPU of the client's process for each request.
        by_minute: What was used in each minute from the first request on.
        refusals_by_minute: Refusals in each.
        client: What the client says of itself.
    """

    cell: Cell
    possible: float
    used: float
    refused: float
    refused_measured: float
    requests: int
    refusals: int
    cpu_ms: float
    by_minute: tuple[float, ...]
    refusals_by_minute: tuple[int, ...]
    client: ClientReport


def cells(minutes: float, seed: int = 1, tokens_per_minute: int = TOKENS_PER_MINUTE) -> list[Cell]:
    """Return the cells that run side by side: sixteen, and one in which tokens are harder to guess."""
    sixteen = [
        Cell(
            counted=counted,
            per_minute=REQUESTS_PER_MINUTE if counted == "requests" else tokens_per_minute,
            enforcement=enforcement,
            is_known=is_known,
            minutes=minutes,
            seed=seed,
        )
        for is_known, counted, enforcement in itertools.product((True, False), get_args(Counted), get_args(Enforcement))
    ]
    plain = next(
        cell for cell in sixteen if cell.is_known and (cell.counted, cell.enforcement) == ("tokens", "sliding")
    )
    return [*sixteen, msgspec.structs.replace(plain, mixed_scripts=True)]


def fast_cell(seed: int = 1) -> Cell:
    """Return the cell at a high rate."""
    return Cell(
        counted="requests",
        per_minute=FAST_PER_MINUTE,
        enforcement="sliding",
        is_known=True,
        minutes=FAST_MINUTES,
        seed=seed,
    )


def measure(batch: Sequence[Cell]) -> Iterator[Result]:
    """Run cells side by side, begun at the same moment, and yield what each came to at its end."""
    pairs = [Pair(cell) for cell in batch]
    try:
        for pair in pairs:
            pair.wait_ready()
        for pair in pairs:
            pair.go()
        for pair in pairs:
            yield evaluate(pair.cell, *pair.wait_result())
    finally:
        for pair in pairs:
            pair.close()


def evaluate(cell: Cell, arrivals: Sequence[Arrival], client: ClientReport) -> Result:
    """Reckon a cell's figures from what arrived, of which there must be something; time begins with the first."""
    since = [each._replace(at_s=each.at_s - arrivals[0].at_s) for each in arrivals]
    begins_s, ends_s = cell.measured_from_min * 60, cell.minutes * 60
    measured = [each for each in since if begins_s <= each.at_s < ends_s]
    minutes = [[each for each in since if each.at_s // 60 == number] for number in range(int(cell.minutes))]
    refusals = _refusals(since)
    return Result(
        cell=cell,
        possible=possible(cell),
        used=_used(cell, measured, ends_s - begins_s),
        refused=refusals / len(since),
        refused_measured=_refusals(measured) / max(1, len(measured)),
        requests=len(since),
        refusals=refusals,
        cpu_ms=1000 * client.cpu_s / len(since),
        by_minute=tuple(_used(cell, minute, 60.0) for minute in minutes),
        refusals_by_minute=tuple(map(_refusals, minutes)),
        client=client,
    )


def possible(cell: Cell) -> float:
    """Play a cell's prompts against the service's own meter, each sent as soon as it fits, and return what is used."""
    meter, prompts, now = new_meter(cell.service.quota, cell.per_minute, 0.0), Backlog(cell), 0.0
    played: list[Arrival] = []
    for number in range(PLAYED_PROMPTS):
        tokens = tokens_of(prompts[number])
        cost = tokens if cell.counted == "tokens" else 1
        while (wait_s := meter.wait_s(now, cost)) > 0:
            if isinf(wait_s):
                raise ValueError(f"{cell.name}: a prompt of {tokens} tokens never fits")
            now += wait_s
        meter.debit(now, cost)
        played.append(Arrival(now, tokens, True))
    # A bucket starts full; and fixed windows begin with the minute here.
    begins_s, ends_s = 60.0 * ceil(now / 120), 60.0 * floor(now / 60)
    return _used(cell, [each for each in played if begins_s <= each.at_s < ends_s], ends_s - begins_s)


def _used(cell: Cell, arrivals: Sequence[Arrival], seconds: float) -> float:
    admitted = [each.tokens if cell.counted == "tokens" else 1 for each in arrivals if each.is_admitted]
    return sum(admitted) / (cell.per_minute * seconds / 60)


def _refusals(arrivals: Sequence[Arrival]) -> int:
    return sum(not each.is_admitted for each in arrivals)


def line(result: Result) -> str:
    """Return a cell's line of the table."""
    cell = result.cell
    limit = f"{cell.per_minute:,} {'input tokens' if cell.counted == 'tokens' else cell.counted}"
    mixed = ", mixed scripts" if cell.mixed_scripts else ""
    failed = f" **{result.client.failed} prompts failed**" if result.client.failed else ""
    refusals = f"{100 * result.refused:.2f} ({result.refusals:,} of {result.requests:,})"
    return (
        f"| {'the limit' if cell.is_known else 'nothing'} | {limit}{mixed} | {cell.enforcement} "
        f"| {100 * result.possible:.1f} | {100 * result.used:.1f} | {refusals} "
        f"| {100 * result.refused_measured:.2f} | {result.cpu_ms:.2f} | {result.client.learnt or '–'}{failed} |"
    )


def _batches(options: argparse.Namespace) -> Iterator[Sequence[Cell]]:
    chosen = [cell for cell in cells(options.minutes, options.seed, options.tpm) if options.match in cell.name]
    for first in range(0, len(chosen), options.jobs):
        yield chosen[first : first + options.jobs]
    # At a high rate the CPU matters, so this one has the machine to itself.
    fast = fast_cell(options.seed)
    if options.match in fast.name:
        yield [fast]


def _options() -> argparse.Namespace:
    said = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="benchmarks/quota/loopback.py", description=said[0], epilog=said[-1])
    parser.add_argument("--minutes", type=float, default=8.0, help="how long each cell runs; 8 by default")
    parser.add_argument("--jobs", type=int, default=17, help="cells side by side; all by default")
    parser.add_argument("--match", default="", help="only cells whose name contains this")
    parser.add_argument("--tpm", type=int, default=TOKENS_PER_MINUTE, help="limit of tokens, where they are limited")
    parser.add_argument("--seed", type=int, default=1, help="seed of prompts, latencies and windows")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for and print it as a table."""
    options = _options()
    began = datetime.datetime.now(datetime.UTC)
    print(
        f"Simulated service on loopback; {began:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}\n\n{HEADINGS}",
        flush=True,
    )
    found: list[Result] = []
    for batch in _batches(options):
        for result in measure(batch):
            found.append(result)
            print(line(result), flush=True)
        if options.json:  # after each batch: a bench that is stopped has measured something
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))


if __name__ == "__main__":
    main()
