"""One way to get answers: a caller, and the ledgers that all its lanes share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, Protocol

from wingbeat.engine.admission import Admission
from wingbeat.engine.ports import Codec, Transport
from wingbeat.engine.purse import Purse
from wingbeat.ledgers.breaker import Breaker
from wingbeat.ledgers.budget import Budget
from wingbeat.ledgers.concurrency import START, Concurrency
from wingbeat.ledgers.estimate import TokenEstimator
from wingbeat.ledgers.hedge import Hedging
from wingbeat.ledgers.limits import DEFAULT_TIMEOUT_S, MOST_CONCURRENCY
from wingbeat.ledgers.prices import Prices
from wingbeat.ledgers.quota import Quota
from wingbeat.ledgers.retry import DEFAULT_MAX_ATTEMPTS, RetryBudget
from wingbeat.ledgers.watch import Watch
from wingbeat.model.answer import Completion, Failure, FailureKind
from wingbeat.model.http import HttpRequest, TransportFailure, TransportFault
from wingbeat.model.record import Record, Request

_FAULT_KINDS = {
    TransportFault.CONNECT: FailureKind.CONNECTION,
    TransportFault.RESET: FailureKind.CONNECTION,
    TransportFault.PROTOCOL: FailureKind.CONNECTION,
    TransportFault.TIMEOUT: FailureKind.TIMEOUT,
}


class Caller(Protocol):
    """Asks once, whoever does the asking: a codec over HTTP, or a function of the user's own."""

    def prepare(self, record: Record) -> Any:
        """Turn a record into what `call` takes; done once, whatever the number of attempts."""
        ...

    def text_size(self, record: Record) -> tuple[int, int]:
        """Return the bytes of the record's text, and how many of them are outside ASCII."""
        ...

    async def call(self, prepared: Any, timeout_s: float, watch: Watch | None = None) -> Completion | Failure:
        """
        Ask once; every way to fail comes back as a value.

        Args:
            prepared: What `prepare` has returned.
            timeout_s: Longest wait for the whole answer.
            watch: Told when parts of the answer come, by a caller that can have it in parts; None asks for it whole.
        """
        ...


class HttpCaller:
    """Ask a service by its codec over a transport."""

    def __init__(self, codec: Codec, transport: Transport) -> None:
        self._codec = codec
        self._transport = transport

    def prepare(self, record: Record) -> HttpRequest:
        """Encode the record's request."""
        assert record.request is not None
        return self._codec.encode(record.request)

    def text_size(self, record: Record) -> tuple[int, int]:
        """Measure the prompt and the system text."""
        return (0, 0) if record.request is None else text_size(record.request)

    async def call(self, prepared: HttpRequest, timeout_s: float, watch: Watch | None = None) -> Completion | Failure:
        """Send, and decode whatever comes back; as a stream for whoever watches."""
        if watch is not None:
            return await self._stream(prepared, timeout_s, watch)
        reply = await self._transport.send(prepared, timeout_s)
        if isinstance(reply, TransportFailure):
            return Failure(_FAULT_KINDS[reply.fault], reply.detail)
        return self._codec.decode(reply)

    async def _stream(self, prepared: HttpRequest, timeout_s: float, watch: Watch) -> Completion | Failure:
        """Ask for the answer in parts; what was told of its tokens is kept when it is cut off."""
        loop = asyncio.get_running_loop()
        stream = self._codec.stream()

        def take(data: bytes) -> None:
            parts = stream.feed(data)
            if parts:
                watch.came(loop.time(), parts, stream.usage)

        reply = await self._transport.stream(self._codec.streamed(prepared), timeout_s, take)
        if isinstance(reply, TransportFailure):
            return Failure(_FAULT_KINDS[reply.fault], reply.detail, usage=stream.usage)
        result = stream.finish(reply)
        if isinstance(result, Completion) and not watch.parts:
            watch.came(loop.time(), 1, result.usage)
        return result


def text_size(request: Request) -> tuple[int, int]:
    """Return the UTF-8 bytes of a request's text, system text included, and how many are outside ASCII."""
    if request.prompt is not None:
        size = _size(request.prompt)
    else:
        texts = [turn.text for turn in request.messages]
        for turn in request.contents or ():
            parts = turn.get("parts") if isinstance(turn, dict) else None
            found = [part.get("text") for part in parts or () if isinstance(part, dict)]
            texts += [text for text in found if isinstance(text, str)]
        sizes = [_size(text) for text in texts]
        size = (sum(size[0] for size in sizes), sum(size[1] for size in sizes))
    if request.system is None:
        return size
    system = _system_size(request.system)
    return size[0] + system[0], size[1] + system[1]


def _size(text: str) -> tuple[int, int]:
    if text.isascii():
        return len(text), 0
    total = len(text.encode("utf-8", "replace"))
    ascii_only = len(text.encode("ascii", "ignore"))
    return total, total - ascii_only


_system_size = lru_cache(maxsize=8)(_size)


class Route:
    """
    A caller with its ledgers; every lane of every run on it shares them.

    Args:
        caller: Asks once.
        name: Route and model, as written into every outcome.
        quota: Known limits.
        concurrency: Most requests in flight, from the start; None finds out how many are good.
        most_concurrency: Highest that may be found out.
        start_concurrency: Where finding out starts.
        prices: What tokens cost, or None when no price is known.
        budget: Most to spend.
        max_attempts: Most attempts a record gets; refusals for quota do not count.
        timeout_s: Longest wait for one reply.
        record_timeout_s: Longest time from a record's first request to its outcome, or None for no end.
        hedging: Which requests are late and what pays for a second one, or None for one request at a time.
        day_resets: Says when the service's day quota resets, for a person.
        random: Source of all jitter.
    """

    def __init__(
        self,
        caller: Caller,
        name: str,
        *,
        quota: Quota,
        concurrency: int | None,
        most_concurrency: int = MOST_CONCURRENCY,
        start_concurrency: int = START,
        prices: Prices | None = None,
        budget: Budget | None = None,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        record_timeout_s: float | None = None,
        hedging: Hedging | None = None,
        day_resets: Callable[[], str] = lambda: "the end of the service's day",
        random: Random | None = None,
    ) -> None:
        self.caller = caller
        self.name = name
        self.prices = prices
        self.purse = Purse(budget or Budget())
        self.max_attempts = max_attempts
        self.timeout_s = timeout_s
        self.record_timeout_s = record_timeout_s
        self.hedging = hedging
        self.day_resets = day_resets
        self.random = random or Random()
        self.estimator = TokenEstimator()
        self.retry_budget = RetryBudget()
        if concurrency is None:
            slots = Concurrency(most_concurrency, start=start_concurrency, timeout_s=timeout_s)
        else:
            slots = Concurrency(concurrency, timeout_s=timeout_s)
        self.admission = Admission(quota, slots, Breaker())

    def __repr__(self) -> str:
        return f"<Route {self.name} {self.admission!r}>"

    @property
    def quota(self) -> Quota:
        """The route's limits."""
        return self.admission.quota

    @property
    def breaker(self) -> Breaker:
        """Whether the service is up."""
        return self.admission.breaker
