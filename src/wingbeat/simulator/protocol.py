"""One HTTP/1.1 connection: reads requests, asks the app, and plays its replies in order and on time."""

import asyncio
import socket
import struct
import time
from collections import deque
from functools import lru_cache
from http import HTTPStatus
from typing import cast

import httptools

from wingbeat.simulator.app import MAX_BODY_BYTES, SimulatorApp
from wingbeat.simulator.reply import Ending, Headers, Reply

MAX_PIPELINED = 64
"""Replies owed on one connection before reading pauses."""
TIMER_GRAIN_S = 0.0005
"""Parts due within this are sent at once: uvloop's timers round to milliseconds, and a shorter wait would spin."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Turn:
    """One reply being played: which part is next, and when the last one was due."""

    __slots__ = ("clock", "has_head", "index", "is_counted", "is_framed", "keeps_alive", "reply")

    def __init__(self, reply: Reply, arrived: float, *, keeps_alive: bool, is_framed: bool, is_counted: bool) -> None:
        self.reply = reply
        self.clock = arrived
        self.keeps_alive = keeps_alive
        self.is_framed = is_framed
        self.is_counted = is_counted
        self.index = 0
        self.has_head = False


class Connection(asyncio.Protocol):
    """
    Serve one client: replies leave in the order of the requests, each judged when it has been read whole.

    A client that goes away, or sends what is not HTTP, ends its own connection and disturbs no other.
    """

    def __init__(self, app: SimulatorApp, loop: asyncio.AbstractEventLoop, connections: set["Connection"]) -> None:
        self._app = app
        self._loop = loop
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._turns: deque[_Turn] = deque()
        self._ready: list[tuple[str, str, dict[str, str], bytes, bool, bool]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_deaf = False
        self._is_write_paused = False
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_size = 0

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over an accepted connection."""
        # uvloop's transports do not inherit from asyncio.Transport, hence no isinstance.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._app.counters.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """Forget the replies that nobody waits for."""
        self._connections.discard(self)
        self._app.counters.connections -= 1
        if self._timer is not None:
            self._timer.cancel()
        for turn in self._turns:
            self._count_end(turn)
        self._turns.clear()
        self._is_deaf = True
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, and judge each request that is now whole."""
        if self._is_deaf:
            return
        is_broken = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself is answered; what follows it is in a protocol that isn't spoken here.
            self._is_deaf = True
        except httptools.HttpParserError:
            self._is_deaf = is_broken = True
        if self._ready:
            # The quota is judged by the exact clock; uvloop's own counts whole milliseconds.
            now = time.monotonic()
            for request in self._ready:
                self._judge(*request, now)
            self._ready.clear()
            self._play()
        transport = self._transport
        if transport is None:
            return
        if is_broken and not transport.is_closing():
            if not self._turns:
                transport.write(_BAD_REQUEST)
                transport.close()
            else:
                self._turns[-1].keeps_alive = False
        elif len(self._turns) >= MAX_PIPELINED and not transport.is_closing():
            transport.pause_reading()

    def pause_writing(self) -> None:
        """Hold the next part until the client has read enough."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Go on with the next part."""
        self._is_write_paused = False
        self._play()

    # Called by httptools.

    def on_message_begin(self) -> None:
        """Make room for a new request."""
        self._target = b""
        self._headers = {}
        self._body = []
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may come in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header; of several with a name, the last."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Ask for the body if the client waits for that."""
        if self._headers.get("expect", "").lower() == "100-continue" and not self._turns and self._transport:
            self._transport.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        """Collect the body; what exceeds the limit is dropped, and the app refuses the rest by its length."""
        if self._body_size <= MAX_BODY_BYTES:
            self._body.append(data)
            self._body_size += len(data)

    def on_message_complete(self) -> None:
        """Queue the request; it is judged once the parser has returned, so that its own errors stay apart."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        parser = self._parser
        self._ready.append(
            (
                parser.get_method().decode("latin-1"),
                self._target.decode("latin-1"),
                self._headers,
                body,
                bool(parser.should_keep_alive()) and not parser.should_upgrade(),
                parser.get_http_version() != "1.0",
            )
        )

    # Replies.

    def _judge(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
        keeps_alive: bool,
        is_framed: bool,
        now: float,
    ) -> None:
        is_counted = not target.startswith("/-/")
        if is_counted:
            self._app.counters.begin()
        reply = self._app.respond(method, target, headers, body, now)
        turn = _Turn(reply, self._loop.time(), keeps_alive=keeps_alive, is_framed=is_framed, is_counted=is_counted)
        self._turns.append(turn)

    def _play(self) -> None:
        """Send every part that is due, then set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport = self._transport
        while self._turns and transport is not None and not self._is_write_paused:
            turn = self._turns[0]
            wait_until = self._collect(turn, transport)
            if wait_until is not None:
                self._timer = self._loop.call_at(wait_until, self._play)
                return
            if turn.reply.ending is Ending.HANG:
                return
            self._turns.popleft()
            self._count_end(turn)
            self._end(turn, transport)
            if transport.is_closing():
                return
        if len(self._turns) < MAX_PIPELINED and transport is not None and not transport.is_reading():
            transport.resume_reading()

    def _collect(self, turn: _Turn, transport: asyncio.Transport) -> float | None:
        """Write the parts that are due in one piece; return when the next one is, or None after the last."""
        reply = turn.reply
        parts = reply.parts
        out: list[bytes] = []
        now = -1.0
        wait_until = None
        while turn.index < len(parts):
            delay_s, data = parts[turn.index]
            if delay_s > 0:
                due = turn.clock + delay_s
                if now < 0:
                    now = self._loop.time()
                if due > now + TIMER_GRAIN_S:
                    wait_until = due
                    break
                turn.clock = due
            turn.index += 1
            if not data:
                continue
            if not turn.has_head:
                out.append(self._head(turn))
            out.append(data if reply.length is not None or not turn.is_framed else b"%x\r\n%b\r\n" % (len(data), data))
        if wait_until is None and reply.ending in (Ending.COMPLETE, Ending.TRUNCATE):
            if not turn.has_head:
                out.append(self._head(turn))
            if reply.length is None and turn.is_framed:
                out.append(b"0\r\n\r\n")
        if out:
            transport.write(b"".join(out))
        return wait_until

    def _head(self, turn: _Turn) -> bytes:
        turn.has_head = True
        reply = turn.reply
        if reply.length is None and not turn.is_framed:
            turn.keeps_alive = False
        head = _encode_head(reply.status, reply.headers, turn.keeps_alive)
        if reply.length is not None:
            return b"%bcontent-length: %d\r\n\r\n" % (head, reply.length)
        return head + (b"transfer-encoding: chunked\r\n\r\n" if turn.is_framed else b"\r\n")

    def _end(self, turn: _Turn, transport: asyncio.Transport) -> None:
        match turn.reply.ending:
            case Ending.COMPLETE:
                if not turn.keeps_alive:
                    transport.close()
            case Ending.TRUNCATE:
                transport.close()
            case Ending.RESET:
                # Lingering for no time makes the kernel send RST instead of FIN.
                raw = transport.get_extra_info("socket")
                if raw is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            case Ending.HANG:
                pass

    def _count_end(self, turn: _Turn) -> None:
        if turn.is_counted:
            self._app.counters.end()


@lru_cache(maxsize=4096)
def _encode_head(status: int, headers: Headers, keeps_alive: bool) -> bytes:
    """Return the status line and headers without the framing; the same few heads are sent over and over."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not keeps_alive:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")
