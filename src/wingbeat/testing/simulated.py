"""A transport that plays the simulator in process, on the loop's own clock: hours of service in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import msgspec

from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault
from wingbeat.simulator import Ending, SimulatorApp


class Served(msgspec.Struct, frozen=True):
    """One request as the service saw it: loop seconds of sending and arrival, and the status it was answered with."""

    sent_at: float
    arrived_at: float
    status: int


class SimulatedTransport:
    """
    Carry each request to a `SimulatorApp` after a random delay, and its reply back when it is due.

    The same seed and order of requests give the same delays. Meant for `run_virtual`.

    Args:
        app: The service; its clock is the event loop's.
        key: API key that requests are sent with.
        delay_spread_s: Longest delay from sending to arrival; it varies evenly between 0 and this.
        seed: Seeds the delays.
    """

    def __init__(
        self, app: SimulatorApp, *, key: str = "simulated", delay_spread_s: float = 0.0, seed: int = 0
    ) -> None:
        self.app = app
        self.served: list[Served] = []
        self._headers = {"x-goog-api-key": key}
        self._delay_spread_s = delay_spread_s
        self._random = Random(seed)

    def __repr__(self) -> str:
        return f"<SimulatedTransport {len(self.served)} served>"

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """Send one request and return its whole reply, or how it was lost."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request)
        except TimeoutError:
            return TransportFailure(TransportFault.TIMEOUT, f"no whole reply within {timeout_s:g} s")

    async def stream(
        self, request: HttpRequest, timeout_s: float, take: Callable[[bytes], None]
    ) -> HttpReply | TransportFailure:
        """Send one request and hand the body of an answer on part by part, each when it is due."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request, take)
        except TimeoutError:
            return TransportFailure(TransportFault.TIMEOUT, f"no whole reply within {timeout_s:g} s")

    async def close(self) -> None:
        """Nothing to close."""

    async def _exchange(
        self, request: HttpRequest, take: Callable[[bytes], None] | None = None
    ) -> HttpReply | TransportFailure:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        if self._delay_spread_s:
            await asyncio.sleep(self._random.uniform(0.0, self._delay_spread_s))
        now = loop.time()
        reply = self.app.respond(request.method, request.path, self._headers, request.body, now)
        self.served.append(Served(sent_at, now, reply.status))
        body = reply.body
        if take is None or reply.status != 200:
            await asyncio.sleep(reply.duration_s)
        else:
            body = b""
            for delay_s, data in reply.parts:
                await asyncio.sleep(delay_s)
                take(data)
        if reply.ending is Ending.HANG:
            await loop.create_future()
        if reply.ending is not Ending.COMPLETE:
            return TransportFailure(TransportFault.RESET, "the connection was lost: the simulator cut it")
        return HttpReply(reply.status, {name.lower(): value for name, value in reply.headers}, body)
