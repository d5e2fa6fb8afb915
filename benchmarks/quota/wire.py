"""The way from the engine to a server and back, in virtual time: a `Caller` that logs all arrivals."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterator
from random import Random

import msgspec
from benchmarks.quota.delays import Delays
from benchmarks.quota.servers import RateServer

from wingbeat.model.answer import Completion, Failure, FailureKind, Usage
from wingbeat.model.record import Record, Request

Weather = Callable[[float, Random], FailureKind | None]
"""How a request that arrives at a time fails before any limit is asked, or None when it does not."""

_BYTES_PER_TOKEN = 4
"""A prompt's bytes for each of its tokens: what the client assumes at first, so that its estimates are right."""

_REQUEST = Request(prompt="asked")


class Ask(msgspec.Struct, frozen=True):
    """What one record asks for: the units that the server counts, and the tokens of prompt and answer."""

    cost: float
    input_tokens: int
    output_tokens: int


class Asks(msgspec.Struct, frozen=True):
    """
    What the records of a run ask for.

    Args:
        draw: Draws one.
        output_at: Scales the answers of requests that arrive at a time.
    """

    draw: Callable[[Random], Ask]
    output_at: Callable[[float], float] | None = None


def plain(random: Random) -> Ask:
    """Draw an ordinary request: one unit, and tokens that tell nothing of it."""
    return Ask(1.0, int(min(20_000, max(20, random.lognormvariate(6.0, 0.8)))), random.randint(20, 400))


def endless(draw: Callable[[Random], Ask], random: Random, number: int = 8191) -> Iterator[Record]:
    """Yield records without end; what they ask for repeats after ``number`` of them."""
    asks = [draw(random) for _ in range(number)]
    index = 0
    while True:
        yield Record(index, None, b"", _REQUEST, item=asks[index % number])
        index += 1


class Log:
    """
    Every arrival of a run, in order: when, how many units, and whether it was accepted, refused or lost.

    Attributes:
        sent: Units of all of them.
    """

    ACCEPTED, REFUSED, FAILED = 1, 0, 2

    def __init__(self) -> None:
        self.sent = 0.0
        self.at = array("d")
        self.units = array("d")
        self.became = bytearray()

    def __len__(self) -> int:
        return len(self.at)

    def note(self, at: float, units: float, became: int) -> None:
        """Log one arrival."""
        self.sent += units
        self.at.append(at)
        self.units.append(units)
        self.became.append(became)


class Wire:
    """
    Carry requests to a server and its verdicts back, each after its delay.

    A request is judged by the moment of its arrival, even while the client's loop is held up. The same seed and order
    of requests give the same run.

    Args:
        server: Judges.
        delays: How long everything takes.
        random: Source of what the weather draws.
        weather: How requests fail before they are judged, if they do.
        output_at: Scales the answers of requests that arrive at a time.
        counts_output: Whether the units of a request are its output tokens.
    """

    def __init__(
        self,
        server: RateServer,
        delays: Delays,
        random: Random,
        *,
        weather: Weather | None = None,
        output_at: Callable[[float], float] | None = None,
        counts_output: bool = False,
    ) -> None:
        self.log = Log()
        self._server = server
        self._delays = delays
        self._random = random
        self._weather = weather
        self._output_at = output_at
        self._counts_output = counts_output
        self._answering = getattr(server, "answering", None)
        self._loop = asyncio.get_running_loop()

    def prepare(self, record: Record) -> Ask:
        """Return what the record asks for."""
        ask = record.item
        assert isinstance(ask, Ask)
        return ask

    def text_size(self, record: Record) -> tuple[int, int]:
        """Return a size from which the input tokens are estimated right."""
        return (self.prepare(record).input_tokens * _BYTES_PER_TOKEN, 0)

    async def call(self, prepared: Ask, timeout_s: float, watch: object = None) -> Completion | Failure:
        """Ask once. Delays are far below any timeout, and answers come whole."""
        del timeout_s, watch
        reply: asyncio.Future[Completion | Failure] = self._loop.create_future()
        arrives_at = self._loop.time() + self._delays.to_arrival_s()
        self._loop.call_at(arrives_at, self._arrive, arrives_at, prepared, reply)
        return await reply

    def _arrive(self, at: float, ask: Ask, reply: asyncio.Future[Completion | Failure]) -> None:
        failed = self._weather(at, self._random) if self._weather is not None else None
        if failed is not None:
            self.log.note(at, ask.cost, Log.FAILED)
            self._loop.call_at(at + self._delays.to_refusal_s(), _answer, reply, Failure(failed, "no capacity"))
            return
        output_tokens = ask.output_tokens
        if self._output_at is not None:
            output_tokens = max(1, round(output_tokens * self._output_at(at)))
        units = float(output_tokens) if self._counts_output else ask.cost
        verdict = self._server.arrive(at, units)
        if not verdict.accepted:
            self.log.note(at, units, Log.REFUSED)
            failure = Failure(
                FailureKind.RATE_LIMITED, "refused", retry_after_s=verdict.retry_after_s, hints=verdict.hints
            )
            self._loop.call_at(at + self._delays.to_refusal_s(), _answer, reply, failure)
            return
        self.log.note(at, units, Log.ACCEPTED)
        ends_at = at + self._delays.to_answer_s()
        if self._answering is not None:
            self._answering(at, units, units, ends_at)
        completion = Completion("ok", "STOP", Usage(ask.input_tokens, output_tokens), hints=verdict.hints)
        self._loop.call_at(ends_at, _answer, reply, completion)


def _answer(reply: asyncio.Future[Completion | Failure], result: Completion | Failure) -> None:
    if not reply.done():
        reply.set_result(result)
