"""What the engine needs from the world, as protocols; the command line and the client plug parts in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from wingbeat.model.answer import Completion, Failure, Outcome, Usage
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure
from wingbeat.model.record import Record, Request


class Codec(Protocol):
    """One service's wire format, as pure functions."""

    name: str

    def encode(self, request: Request) -> HttpRequest:
        """Turn a request into HTTP."""
        ...

    def decode(self, reply: HttpReply) -> Completion | Failure:
        """Turn any reply into a completion or a failure; never raises."""
        ...

    def streamed(self, request: HttpRequest) -> HttpRequest:
        """Return the request that asks the same for an answer in parts."""
        ...

    def stream(self) -> AnswerStream:
        """Return what puts the parts of one answer together."""
        ...


class AnswerStream(Protocol):
    """One streamed answer on its way; never raises."""

    @property
    def usage(self) -> Usage | None:
        """Tokens that the service has told so far, or None."""
        ...

    def feed(self, data: bytes) -> int:
        """Take the next bytes of the body; return how many parts of the answer they have completed."""
        ...

    def finish(self, reply: HttpReply) -> Completion | Failure:
        """Say what came of it: the status and headers are the reply's, and the body where the status is no 200."""
        ...


class Transport(Protocol):
    """Sends requests; every way to fail comes back as a value."""

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """Send one request and read its whole reply within ``timeout_s`` seconds."""
        ...

    async def stream(
        self, request: HttpRequest, timeout_s: float, take: Callable[[bytes], None]
    ) -> HttpReply | TransportFailure:
        """
        Send one request and hand the body of a 200 on as it comes.

        The reply returned has the body itself only where the status is another.
        """
        ...


class Intake(Protocol):
    """Hands out records one at a time; read only when a lane is free."""

    async def next_record(self) -> Record | None:
        """Return the next record, or None at the end."""
        ...

    def close(self) -> None:
        """Hand out no more records; lanes that wait for one get None."""
        ...


class Delivery(Protocol):
    """Takes outcomes; may make the lane wait, which is how back-pressure reaches the source."""

    def __call__(self, record: Record, outcome: Outcome) -> Awaitable[None] | None:
        """Take one outcome. An awaitable is awaited before the lane takes its next record."""
        ...
