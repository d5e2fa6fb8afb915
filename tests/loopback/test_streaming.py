"""Answers in parts over real sockets: each part when it comes, and the connection gone when nobody wants the rest."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from wingbeat.cli.main import run_command
from wingbeat.model.answer import Completion
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault
from wingbeat.model.record import Request
from wingbeat.providers.gemini import GeminiCodec
from wingbeat.simulator import Simulator, SimulatorConfig
from wingbeat.transport import HttpTransport

from .conftest import KEY, read_rows, write_prompts

CODEC = GeminiCodec("gemini-2.5-flash")
ASK = CODEC.streamed(CODEC.encode(Request(prompt="What is a wing? " * 20)))


class Scripted:
    """A server that sends one piece of a chunked body each time it is told to."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.left = asyncio.Event()
        self._served = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        sending = asyncio.ensure_future(self._send(writer))
        leaving = asyncio.ensure_future(reader.read())
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            self.left.set()
        for task in (sending, leaving):
            task.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._served.set()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            piece = await self.pieces.get()
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if not piece:
                return

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[HttpTransport]:
        """Listen, and yield a transport to it."""
        async with await asyncio.start_server(self._serve, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            async with HttpTransport(f"http://127.0.0.1:{port}", CODEC.auth_headers(KEY)) as transport:
                yield transport
            await self._served.wait()


def test_a_part_is_handed_on_before_the_next_is_sent() -> None:
    """Nothing holds a part back until the answer is whole."""

    async def main() -> list[bytes]:
        server = Scripted()
        got: asyncio.Queue[bytes] = asyncio.Queue()
        seen = []
        async with server.serving() as transport:
            task = asyncio.create_task(transport.stream(ASK, 30.0, got.put_nowait))
            for piece in (b"data: a\r\n\r\n", b"data: b", b"\r\n\r\n"):
                server.pieces.put_nowait(piece)
                seen.append(await got.get())
            server.pieces.put_nowait(b"")
            reply = await task
            assert isinstance(reply, HttpReply)
            assert (reply.status, reply.body) == (200, b"")
        return seen

    assert asyncio.run(main()) == [b"data: a\r\n\r\n", b"data: b", b"\r\n\r\n"]


def test_a_key_that_is_echoed_in_two_pieces_is_masked() -> None:
    """Where a gateway writes the key into an answer, it is masked wherever the pieces are cut."""

    async def main() -> bytes:
        server = Scripted()
        got: list[bytes] = []
        async with server.serving() as transport:
            task = asyncio.create_task(transport.stream(ASK, 30.0, got.append))
            for piece in (b"a " + KEY[:7].encode(), KEY[7:].encode() + b" b AIza", b"? ", KEY.encode(), b""):
                server.pieces.put_nowait(piece)
            await task
        return b"".join(got)

    assert asyncio.run(main()) == b"a *** b AIza? ***"


def test_cancelling_a_stream_closes_its_connection() -> None:
    """A loser's connection is closed, so that the service can stop writing."""

    async def main() -> None:
        server = Scripted()
        got: asyncio.Queue[bytes] = asyncio.Queue()
        async with server.serving() as transport:
            task = asyncio.create_task(transport.stream(ASK, 30.0, got.put_nowait))
            server.pieces.put_nowait(b"data: a\r\n\r\n")
            await got.get()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(server.left.wait(), 10.0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("fault.hang=1,latency=0", TransportFault.TIMEOUT),
        ("fault.slow_drip=1,drip=9,latency=0", TransportFault.TIMEOUT),
        ("fault.truncate=1,latency=0", TransportFault.RESET),
    ],
)
@pytest.mark.slow
def test_a_stream_that_breaks_is_a_failure(config: str, fault: TransportFault) -> None:
    """A stream that hangs, takes too long, or ends too soon comes back as a value."""

    async def main() -> HttpReply | TransportFailure:
        async with (
            Simulator(SimulatorConfig.parse(config)) as simulator,
            HttpTransport(simulator.url, CODEC.auth_headers(KEY)) as transport,
        ):
            return await transport.stream(ASK, 0.5, lambda _data: None)

    result = asyncio.run(main())
    assert isinstance(result, TransportFailure)
    assert result.fault is fault


def test_a_streamed_answer_is_the_whole_one() -> None:
    """Over real sockets, asked both ways, the answer is the same; and a refusal has its body."""

    async def ask(config: str, request: HttpRequest, *, streamed: bool) -> object:
        async with (
            Simulator(SimulatorConfig.parse(config)) as simulator,
            HttpTransport(simulator.url, CODEC.auth_headers(KEY)) as transport,
        ):
            if not streamed:
                reply = await transport.send(request, 30.0)
                assert isinstance(reply, HttpReply)
                return CODEC.decode(reply)
            stream = CODEC.stream()

            def take(data: bytes) -> None:
                stream.feed(data)

            reply = await transport.stream(CODEC.streamed(request), 30.0, take)
            assert isinstance(reply, HttpReply)
            return stream.finish(reply)

    request = CODEC.encode(Request(prompt="What is a wing? " * 20))
    streamed = asyncio.run(ask("latency=0", request, streamed=True))
    assert isinstance(streamed, Completion)
    assert streamed == asyncio.run(ask("latency=0", request, streamed=False))
    assert asyncio.run(ask("fault.error_503=1,latency=0", request, streamed=True)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang=0.02", "slow_drip=0.01,drip=20"])
def test_hedges_answer_what_hangs_or_drips(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--hedge`, requests that hang or drip are answered by a second one, once each, for at most 5 % more."""
    rows = write_prompts(300)
    code = run_command(
        [
            *("run", "in.jsonl", "-o", "out.jsonl", "--model", "sim/gemini-2.5-flash", "--hedge", "--json"),
            *("--concurrency", "20", "--timeout", "30", "--simulator", f"latency=0.05,seed=5,fault.{fault}"),
        ]
    )
    said = capsys.readouterr()
    assert code == 0, said.err
    events = [json.loads(line) for line in said.err.splitlines()]
    end = events[-1]
    assert next(event for event in events if event["event"] == "plan")["hedge"] is True
    assert sorted(row["index"] for row in read_rows()) == list(range(len(rows)))
    assert all(row["text"] for row in read_rows())
    assert end["hedges_won"] >= 1
    assert end["hedged"] >= end["hedges_won"]
    assert 0 < end["hedges_share"] <= 0.05
    assert end["sent"] == sum(row["attempts"] for row in read_rows())
