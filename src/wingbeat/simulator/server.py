"""The simulator on a socket: starts listening, knows its address, and ends without leaving connections behind."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wingbeat.simulator.app import SimulatorApp
from wingbeat.simulator.config import SimulatorConfig
from wingbeat.simulator.protocol import Connection
from wingbeat.simulator.statistics import Statistics

BACKLOG = 4096
"""Connections that may wait to be accepted: thousands of clients that start at once must not be refused."""


class Simulator:
    """
    Serve Gemini's wire on a local port for as long as the context is open.

    Leaving the context drops every connection, answered or not. One simulator serves one event loop.

    Args:
        config: How to behave; the default has no quota, no faults, and the latency of the real models.
        host: Address to listen on. Only this machine can reach the default.
        port: Port to listen on; 0 takes any free one.
        log: Called with one line for each request judged.
    """

    def __init__(
        self,
        config: SimulatorConfig | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config or SimulatorConfig()
        self.host = host
        self._wanted_port = port
        self._log = log
        self._app: SimulatorApp | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    @property
    def port(self) -> int:
        """The port listened on."""
        if self._server is None:
            raise RuntimeError("the simulator is not running; enter its context first")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The address to give to a client, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def statistics(self) -> Statistics:
        """Return what has happened since the start; still there after the end."""
        if self._app is None:
            raise RuntimeError("the simulator has not run yet; enter its context first")
        return self._app.statistics()

    def reset(self) -> None:
        """Forget quotas, draws and counts; open connections stay."""
        if self._app is None:
            raise RuntimeError("the simulator has not run yet; enter its context first")
        self._app.reset(time.monotonic())

    async def __aenter__(self) -> Self:
        """
        Start to listen.

        Raises:
            OSError: The port is taken, or the address is not this machine's.
        """
        loop = asyncio.get_running_loop()
        app = SimulatorApp(self.config, time.monotonic(), self._log)
        self._server = await loop.create_server(
            lambda: Connection(app, loop, self._connections), self.host, self._wanted_port, backlog=BACKLOG
        )
        self._app = app
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._server.wait_closed()
        # Each loss is reported in the next turn of the loop.
        await asyncio.sleep(0)
        self._server = None

    def __repr__(self) -> str:
        """Show where it listens and what it does now."""
        if self._server is None or self._app is None:
            return "Simulator(not running)"
        counters = self._app.counters
        return f"Simulator({self.url}, requests={counters.requests}, in_flight={counters.in_flight})"
