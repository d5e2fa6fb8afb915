"""One simulated service and one client of it, as two processes that talk over a loopback socket in real time."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import string
import tempfile
import time
from collections.abc import Sequence
from math import ceil
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple

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
"""Simulated, it answers nine in ten prompts of the bench in 0.5 to 1.5 s, the median in 0.8 s."""
KEY = "test-loopback"

PROMPT_TOKENS = (20, 2_000)
"""Sizes of prompts where tokens are limited; where requests are, 40 tokens is the most."""
MORE_THAN_ENOUGH = 1_000_000

BYTES_PER_TOKEN = 4
"""What the simulator counts for all text, and the client guesses for ASCII; outside of it, it guesses 2.5."""
CYRILLIC = "".join(map(chr, range(0x430, 0x450)))
"""Two bytes each in UTF-8."""

KNOWN_FROM_MIN, UNKNOWN_FROM_MIN = 2.0, 5.0
"""When measuring begins; in a short run after a quarter of it, or half of it."""

READY_S, ENDING_S = 120.0, 60.0
"""How long a process may take to load, many at once on few cores, and to end."""
AFTERWARDS_S = 1.0
"""How much longer than its cell a client goes on, as its clock starts before the first request arrives."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """
    One limit, one way of enforcing it, and what the client knows of it.

    Args:
        counted: What the limit counts; the other is not limited.
        per_minute: The limit.
        enforcement: How the service judges it.
        is_known: Whether the client is given the limit. If not, the service's refusals name neither limit nor wait.
        minutes: How long the cell runs, from the first request on.
        mixed_scripts: Every second prompt is outside ASCII, where the client's guess of its tokens is 1.6 times too
            high, or, once it has corrected itself by the mean, too low for the prompts between.
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
        knowledge = "known" if self.is_known else "unknown"
        return f"{knowledge}, {self.counted}, {self.enforcement}, {self.per_minute:,} a minute{mixed}"

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
    """
    What a client says of itself at the end.

    Args:
        cpu_s: CPU time of its process from opening the client to closing it, in all threads.
        answered: Prompts answered.
        failed: Prompts that failed for good.
        learnt: The limits that it would start its next run from.
    """

    cpu_s: float
    answered: int
    failed: int
    learnt: str


class Backlog(Sequence[str]):
    """More prompts than can be sent, of the sizes wanted; each is made when it is asked for."""

    def __init__(self, cell: Cell) -> None:
        self._random = random.Random(f"prompts:{cell.seed}:{cell.name}")
        self._mixes = cell.mixed_scripts
        self._most_tokens = PROMPT_TOKENS[1] if cell.counted == "tokens" else 2 * PROMPT_TOKENS[0]
        length = PROMPT_TOKENS[1] * BYTES_PER_TOKEN
        self._latin = "".join(self._random.choices(string.ascii_lowercase + 6 * " ", k=length))
        self._cyrillic = "".join(self._random.choices(CYRILLIC, k=length))

    def __len__(self) -> int:
        return MORE_THAN_ENOUGH

    def __getitem__(self, index: Any) -> Any:
        """Return the prompt of a number; nobody asks for slices."""
        if index >= len(self):
            raise IndexError(index)
        size = BYTES_PER_TOKEN * self._random.randint(PROMPT_TOKENS[0], self._most_tokens)
        head = f"{index:08d} "
        if self._mixes and index % 2:
            return head + self._cyrillic[: (size - len(head)) // 2]
        return head + self._latin[: size - len(head)]


def tokens_of(prompt: str) -> int:
    """Return the tokens that the service counts."""
    return ceil(len(prompt.encode()) / BYTES_PER_TOKEN)


class Pair:
    """
    A service and its client, loaded side by side and begun when told.

    Close it whatever happens: that ends both processes.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        context = multiprocessing.get_context("spawn")
        self._service_end, service = context.Pipe()
        self._client_end, client = context.Pipe()
        self._processes = (
            context.Process(target=_serve, args=(cell, service), daemon=True),
            context.Process(target=_ask, args=(cell, client), daemon=True),
        )
        for process in self._processes:
            process.start()
        # Only the children hold these ends now, so a child that dies is noticed at once.
        service.close()
        client.close()
        self._url = ""

    def __repr__(self) -> str:
        return f"<Pair {self.cell.name}>"

    def wait_ready(self) -> None:
        """Wait until the service listens and the client is loaded."""
        self._url = self._received(self._service_end, READY_S)
        self._received(self._client_end, READY_S)

    def go(self) -> None:
        """Let the client begin."""
        self._client_end.send(self._url)

    def wait_result(self) -> tuple[list[Arrival], ClientReport]:
        """Wait for the client's end and return what service and client have counted."""
        report = self._received(self._client_end, self.cell.minutes * 60 + AFTERWARDS_S + ENDING_S)
        self._service_end.send("stop")
        return self._received(self._service_end, ENDING_S), report

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.terminate()
            process.join()
        self._service_end.close()
        self._client_end.close()

    def _received(self, end: Connection, timeout_s: float) -> Any:
        with contextlib.suppress(EOFError):
            if end.poll(timeout_s):
                return end.recv()
        raise RuntimeError(f"{self.cell.name}: a process has ended or hangs")


def _serve(cell: Cell, main: Connection) -> None:
    """Serve in this process until told to stop, then hand over every arrival."""
    arrivals: list[Arrival] = []

    def note(line: str) -> None:
        # As in: 12.345 test… generateContent gemini-2.5-flash-lite in=20 out=61 ok 0.644s
        words = line.split()
        tokens = next(int(word.removeprefix("in=")) for word in words if word.startswith("in="))
        arrivals.append(Arrival(float(words[0]), tokens, "429" not in words))

    async def serve() -> None:
        simulator = Simulator(cell.service, log=note)
        async with simulator:
            main.send(simulator.url)
            await asyncio.to_thread(main.recv)
        counts, admitted = simulator.statistics(), sum(each.is_admitted for each in arrivals)
        if (counts.answered, counts.requests) != (admitted, len(arrivals)):
            raise RuntimeError(f"the log has {admitted} of {len(arrivals)} requests admitted, the simulator {counts}")

    run_loop(serve())
    main.send(arrivals)


def _ask(cell: Cell, main: Connection) -> None:
    """Send prompts from this process for as long as the cell lasts, then hand over the client's report."""
    for name in tuple(os.environ):
        if name.startswith(("GOOGLE_", "GEMINI_", "WINGBEAT_")):
            del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GEMINI_API_KEY": KEY, FOLDER_VARIABLE: folder}
        main.send("ready")
        url = main.recv()
        client = Client(MODEL, base_url=url, limits=cell.limits)
        prompts = Backlog(cell)
        before_s = time.process_time()
        run_loop(_ask_all(client, prompts, cell.minutes * 60 + AFTERWARDS_S))
        cpu_s = time.process_time() - before_s
        route = LimitBook().find(find_service(MODEL, base_url=url))
        learnt = ", ".join(map(_said, () if route is None else route.limits))
        main.send(ClientReport(cpu_s, client.statistics.answered, client.statistics.failed, learnt))


async def _ask_all(client: Client, prompts: Sequence[str], seconds: float) -> None:
    """Ask until the time is over."""
    async with client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), contextlib.aclosing(client.stream(prompts)) as outcomes:
                async for _outcome in outcomes:
                    pass


def _said(limit: KnownLimit) -> str:
    window = f" in {limit.window_s:g} s" if limit.window_s else ""
    return f"{limit.limit:,.0f} {limit.resource.replace('_', ' ')}{window} ({limit.enforcement})"
