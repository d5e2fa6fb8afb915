"""
The quota bench over real sockets: the library against the bundled simulator on loopback, in real time.

    python benchmarks/quota/loopback.py                      # 16 cells of 8 minutes side by side, then 3 minutes more
    python benchmarks/quota/loopback.py --minutes 10 --json out.json
    python benchmarks/quota/loopback.py --match "unknown, tokens" --jobs 4

A cell is two processes: a simulated service, and a `wingbeat.Client` with more prompts than it can send. Where the limit
is unknown, the client is given none, and the service's refusals name neither a limit nor a wait. "Used" is the part of
the limit that the service admitted in the measured minutes, by its own count; a bucket may hold more, saved up while it
was not used. "Refused" is the part of all requests, from the first on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import itertools
import multiprocessing
import os
import platform
import random
import string
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from wingbeat.client import Client, run_loop
from wingbeat.config import find_service
from wingbeat.learnt import KnownLimit
from wingbeat.ledgers.limits import Limits
from wingbeat.limitbook import FOLDER_VARIABLE, LimitBook
from wingbeat.simulator import LatencyConfig, QuotaConfig, Simulator, SimulatorConfig

Counted = Literal["requests", "tokens"]
Enforcement = Literal["fixed", "sliding", "bucket", "subsecond"]

MODEL = "gemini/gemini-2.5-flash-lite"
"""It answers the bench's prompts in 0.4 to 1.2 s."""
KEY = "test-loopback"

REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE = 300, 60_000
"""Low, so that sixteen cells leave two cores idle most of the time and no delay is of our own making."""
PROMPT_TOKENS = (20, 2_000)
FAST_PER_MINUTE, FAST_MINUTES = 6_000, 3.0

KNOWN_FROM_MIN, UNKNOWN_FROM_MIN = 2.0, 5.0
"""When to begin to measure; in a shorter run a quarter and a half of it."""

BYTES_PER_TOKEN = 4
"""What the simulator counts, and what the client guesses for ASCII."""
BYTES_OUTSIDE_ASCII = 2.5
"""What the client guesses for other scripts; the simulator counts four bytes a token there too."""

READY_S, ENDING_S = 120.0, 60.0
"""How long a process may take to start, all cells at once on few cores, and to end."""
AFTERWARDS_S = 1.0
"""How much longer than the measured minutes a client goes on."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """
    One limit, one way of enforcing it, and what the client knows of it.

    Args:
        counted: What the limit counts; the other is not limited.
        per_minute: The limit.
        enforcement: How the service judges it.
        is_known: Whether the client is given the limit. If not, the service's refusals name neither limit nor wait.
        minutes: How long the cell runs.
        mixed_scripts: Half of the prompts are outside ASCII, so that the client's guess of their tokens is 1.6 times
            too high, or, once it has corrected itself by the mean, too low for the other half.
        seed: Seeds prompts, latencies and the phase of windows.
    """

    counted: Counted
    per_minute: int
    enforcement: Enforcement
    is_known: bool
    minutes: float
    mixed_scripts: bool = False
    seed: int = 1

    @property
    def name(self) -> str:
        """What tells it from the others."""
        mixed = ", mixed scripts" if self.mixed_scripts else ""
        return f"{self.knowledge}, {self.counted}, {self.enforcement}, {self.per_minute:,} a minute{mixed}"

    @property
    def knowledge(self) -> str:
        """Whether the client knows the limit."""
        return "known" if self.is_known else "unknown"

    @property
    def measured_from_min(self) -> float:
        """The minute in which measuring begins."""
        if self.is_known:
            return min(KNOWN_FROM_MIN, self.minutes / 4)
        return min(UNKNOWN_FROM_MIN, self.minutes / 2)

    @property
    def limits(self) -> Limits:
        """What the client is given."""
        if not self.is_known:
            return Limits()
        return Limits(rpm=self.per_minute) if self.counted == "requests" else Limits(tpm=self.per_minute)

    @property
    def service(self) -> SimulatorConfig:
        """How the service is to behave."""
        return SimulatorConfig(
            quota=QuotaConfig(
                rpm=self.per_minute if self.counted == "requests" else None,
                tpm=self.per_minute if self.counted == "tokens" else None,
                enforcement=self.enforcement,
                bare_refusals=not self.is_known,
            ),
            latency=LatencyConfig(jitter=True),
            seed=self.seed,
        )


class Arrival(NamedTuple):
    """One request as the service judged it: seconds since its start, input tokens, and whether it was admitted."""

    at_s: float
    tokens: int
    is_admitted: bool


class ClientReport(msgspec.Struct, frozen=True):
    """What a client says of itself at the end."""

    cpu_s: float
    answered: int
    failed: int
    learnt: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a cell came to; shares are of 1. ``by_minute`` is what was used in each minute from the first request on."""

    cell: Cell
    used: float
    refused: float
    refused_measured: float
    requests: int
    refusals: int
    cpu_ms: float
    by_minute: tuple[float, ...]
    refusals_by_minute: tuple[int, ...]
    client: ClientReport


class Backlog(Sequence[str]):
    """More prompts than can be sent, of the sizes wanted; each is made when it is asked for."""

    def __init__(self, cell: Cell, length: int = 1_000_000) -> None:
        self._length = length
        self._random = random.Random(f"prompts:{cell.seed}:{cell.name}")
        self._mixes = cell.mixed_scripts
        letters = self._random.choices(string.ascii_lowercase + "      ", k=PROMPT_TOKENS[1] * BYTES_PER_TOKEN)
        self._latin = "".join(letters)
        self._cyrillic = "".join(chr(0x430 + self._random.randrange(32)) for _ in letters)
        self._most_tokens = PROMPT_TOKENS[1] if cell.counted == "tokens" else 2 * PROMPT_TOKENS[0]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # nobody asks for slices
        if index >= self._length:
            raise IndexError(index)
        size = BYTES_PER_TOKEN * self._random.randint(PROMPT_TOKENS[0], self._most_tokens)
        head = f"{index:08d} "
        if self._mixes and index % 2:
            return head + self._cyrillic[: (size - len(head)) // 2]
        return head + self._latin[: size - len(head)]


def cells(minutes: float) -> list[Cell]:
    """Return the cells that run side by side: sixteen, and one in which tokens are harder to guess."""
    sixteen = [
        Cell(
            counted=counted,
            per_minute=REQUESTS_PER_MINUTE if counted == "requests" else TOKENS_PER_MINUTE,
            enforcement=enforcement,
            is_known=is_known,
            minutes=minutes,
        )
        for is_known, counted, enforcement in itertools.product((True, False), get_args(Counted), get_args(Enforcement))
    ]
    hard = msgspec.structs.replace(next(each for each in sixteen if each.counted == "tokens"), mixed_scripts=True)
    return [*sixteen, msgspec.structs.replace(hard, enforcement="sliding")]


def fast_cell(minutes: float = FAST_MINUTES) -> Cell:
    """Return the cell at a high rate, which runs alone."""
    return Cell(counted="requests", per_minute=FAST_PER_MINUTE, enforcement="sliding", is_known=True, minutes=minutes)


def measure(batch: Sequence[Cell]) -> list[Result]:
    """Run cells side by side, begun at the same moment, and return what they came to."""
    pairs = [Pair(cell) for cell in batch]
    try:
        for pair in pairs:
            pair.wait_ready()
        for pair in pairs:
            pair.go()
        return [pair.result() for pair in pairs]
    finally:
        for pair in pairs:
            pair.close()


class Pair:
    """A simulated service and its client, each a process of its own, started at once but told when to begin."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        context = multiprocessing.get_context("spawn")
        self._service_end, service = context.Pipe()
        self._client_end, client = context.Pipe()
        self._processes = [
            context.Process(target=_serve, args=(cell, service), daemon=True),
            context.Process(target=_ask, args=(cell, client), daemon=True),
        ]
        for process in self._processes:
            process.start()
        service.close()
        client.close()

    def wait_ready(self) -> None:
        """Wait until the service listens and the client has been loaded."""
        self._url = self._received(self._service_end, READY_S)
        self._received(self._client_end, READY_S)

    def go(self) -> None:
        """Let the client begin."""
        self._client_end.send(self._url)

    def result(self) -> Result:
        """Wait for the client's end and return what service and client counted."""
        client = self._received(self._client_end, self.cell.minutes * 60 + AFTERWARDS_S + ENDING_S)
        self._service_end.send("stop")
        arrivals = self._received(self._service_end, ENDING_S)
        return evaluate(self.cell, arrivals, client)

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.terminate()
            process.join()

    def _received(self, end: Connection, timeout_s: float) -> object:
        try:
            if end.poll(timeout_s):
                return end.recv()
        except EOFError:
            pass
        raise SystemExit(f"{self.cell.name}: a process has ended or hangs; its error is above")


def evaluate(cell: Cell, arrivals: Sequence[Arrival], client: ClientReport) -> Result:
    """Reckon a cell's figures; time is counted from the first request."""
    if not arrivals:
        raise SystemExit(f"{cell.name}: the service has seen no request")
    since_s = [(each.at_s - arrivals[0].at_s, each) for each in arrivals]
    begins_s, ends_s = cell.measured_from_min * 60, cell.minutes * 60

    def used(begins_s: float, ends_s: float) -> float:
        units = (
            each.tokens if cell.counted == "tokens" else 1
            for at_s, each in since_s
            if each.is_admitted and begins_s <= at_s < ends_s
        )
        return sum(units) / (cell.per_minute * (ends_s - begins_s) / 60)

    def refusals(begins_s: float, ends_s: float) -> int:
        return sum(not each.is_admitted and begins_s <= at_s < ends_s for at_s, each in since_s)

    minutes = [(60.0 * number, 60.0 * number + 60) for number in range(int(cell.minutes))]
    refused = sum(not each.is_admitted for each in arrivals)
    measured = sum(begins_s <= at_s < ends_s for at_s, _each in since_s)
    return Result(
        cell=cell,
        used=used(begins_s, ends_s),
        refused=refused / len(arrivals),
        refused_measured=refusals(begins_s, ends_s) / max(1, measured),
        requests=len(arrivals),
        refusals=refused,
        cpu_ms=1000 * client.cpu_s / len(arrivals),
        by_minute=tuple(used(*minute) for minute in minutes),
        refusals_by_minute=tuple(refusals(*minute) for minute in minutes),
        client=client,
    )


def _serve(cell: Cell, main: Connection) -> None:
    """Serve in this process until told to stop, then hand over every arrival."""
    arrivals: list[Arrival] = []

    def note(line: str) -> None:
        # As in: 12.345 test… generateContent gemini-2.5-flash-lite in=20 out=61 ok 0.644s
        pieces = line.split()
        tokens = next(int(piece[3:]) for piece in pieces if piece.startswith("in="))
        arrivals.append(Arrival(float(pieces[0]), tokens, "429" not in pieces))

    async def serve() -> None:
        simulator = Simulator(cell.service, log=note)
        async with simulator:
            main.send(simulator.url)
            await asyncio.get_running_loop().run_in_executor(None, main.recv)
        counts = simulator.statistics()
        admitted = sum(each.is_admitted for each in arrivals)
        assert (admitted, len(arrivals)) == (counts.answered, counts.answered + counts.refused), counts

    run_loop(serve())
    main.send(arrivals)


def _ask(cell: Cell, main: Connection) -> None:
    """Send prompts from this process for as long as the cell lasts, then hand over what the client says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GEMINI_", "WINGBEAT_"))]:
            del os.environ[name]
        os.environ |= {"GEMINI_API_KEY": KEY, FOLDER_VARIABLE: folder}
        main.send("ready")
        url = main.recv()
        client = Client(MODEL, base_url=url, limits=cell.limits)
        before_s = time.process_time()
        failed = run_loop(_ask_for(client, Backlog(cell), cell.minutes * 60 + AFTERWARDS_S))
        cpu_s = time.process_time() - before_s
        route = LimitBook().find(find_service(MODEL, base_url=url))
        learnt = ", ".join(map(_said, () if route is None else route.limits))
        main.send(ClientReport(cpu_s, client.statistics.answered, failed, learnt))


async def _ask_for(client: Client, prompts: Sequence[str], seconds: float) -> int:
    """Ask until the time is over; return how many prompts failed for good."""
    failed = 0
    async with client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async with contextlib.aclosing(client.stream(prompts)) as outcomes:
                    async for outcome in outcomes:
                        failed += outcome.error is not None
    return failed


def _said(limit: KnownLimit) -> str:
    window = f" in {limit.window_s:g} s" if limit.window_s else ""
    return f"{limit.limit:,.0f} {limit.resource.replace('_', ' ')}{window} ({limit.enforcement})"


HEADINGS = (
    "| Client knows | Limit a minute | Enforced as | Used % | Refused % in all | of these minutes | CPU ms a request "
    "| Learnt in the end |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def line(result: Result) -> str:
    """Return one line of the table."""
    cell = result.cell
    limit = f"{cell.per_minute:,} {'input tokens' if cell.counted == 'tokens' else cell.counted}"
    mixed = ", mixed scripts" if cell.mixed_scripts else ""
    failed = f" **{result.client.failed} failed**" if result.client.failed else ""
    refusals = f"{100 * result.refused:.2f} ({result.refusals} of {result.requests:,})"
    return (
        f"| {'the limit' if cell.is_known else 'nothing'} | {limit}{mixed} | {cell.enforcement} "
        f"| {100 * result.used:.1f} | {refusals} | {100 * result.refused_measured:.2f} | {result.cpu_ms:.2f} "
        f"| {result.client.learnt or '–'}{failed} |"
    )


def _batches(chosen: Sequence[Cell], jobs: int) -> Iterator[Sequence[Cell]]:
    for first in range(0, len(chosen), jobs):
        yield chosen[first : first + jobs]


def _options() -> argparse.Namespace:
    said = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="benchmarks/quota/loopback.py", description=said[0], epilog=said[-1])
    parser.add_argument("--minutes", type=float, default=8.0, help="how long each cell runs; 8 by default")
    parser.add_argument("--jobs", type=int, default=17, help="cells side by side; all by default")
    parser.add_argument("--match", default="", help="only cells whose name contains this")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for and print it as a table."""
    options = _options()
    chosen = [cell for cell in cells(options.minutes) if options.match in cell.name]
    # At a high rate the CPU counts, so this one has the machine for itself.
    batches = [*_batches(chosen, options.jobs), *([fast] for fast in [fast_cell()] if options.match in fast.name)]
    found: list[Result] = []
    began = datetime.datetime.now(datetime.UTC)
    print(
        f"Simulated service on loopback; {began:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}\n\n{HEADINGS}"
    )
    for batch in batches:
        for result in measure(batch):
            found.append(result)
            print(line(result), flush=True)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))


if __name__ == "__main__":
    main()
