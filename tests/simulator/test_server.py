import asyncio
import contextlib
import json

import pytest

from wingbeat.simulator import Simulator, SimulatorConfig

from .ask import body

TARGET = "/v1beta/models/gemini-2.5-flash:generateContent"


def simulator(text: str = "", **more) -> Simulator:
    """Return a simulator that answers at once unless `text` says otherwise."""
    return Simulator(SimulatorConfig.parse(f"latency=0,{text}"), **more)


def request(prompt: str = "Why?", target: str = TARGET, extra: str = "", payload: bytes | None = None) -> bytes:
    """Return the bytes of one request."""
    raw = json.dumps(body(prompt)).encode() if payload is None else payload
    head = f"POST {target} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: k\r\n{extra}content-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one reply, whole or in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    data = b""
    if "content-length" in headers:
        data = await reader.readexactly(int(headers["content-length"]))
    else:
        while size := int(await reader.readline(), 16):
            data += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    return int(head[0].split()[1]), headers, data


async def settled(predicate) -> None:
    """Wait until `predicate` holds, giving the loop its turns."""
    async with asyncio.timeout(5):
        while not predicate():  # noqa: ASYNC110 -- the counters have no event to wait for
            await asyncio.sleep(0.001)


async def test_connection_stays_open_between_requests():
    """One connection serves request after request."""
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        for number in range(3):
            writer.write(request(f"p{number}"))
            assert (await read_reply(reader))[0] == 200
        assert running.statistics().connections == 1
        writer.close()
        await settled(lambda: running.statistics().connections == 0)


async def test_pipelined_requests_are_answered_in_order():
    """Requests sent in one go, slow and fast, are answered in their order."""
    async with simulator("latency=model,latency_scale=0.001") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        models = ["gemini-2.5-pro", "gemini-2.0-flash", "gemini-2.5-flash"] * 40
        writer.write(b"".join(request(target=TARGET.replace("gemini-2.5-flash", model)) for model in models))
        got = [json.loads((await read_reply(reader))[2])["modelVersion"] for _ in models]
        assert got == models
        writer.close()


async def test_requests_may_come_in_fragments():
    """A request cut at every byte is read as if it came whole."""
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        whole = request("Straße")
        for index in range(len(whole)):
            writer.write(whole[index : index + 1])
            await writer.drain()
        assert (await read_reply(reader))[0] == 200
        writer.close()


async def test_chunked_body_and_expect_continue():
    """A body in chunks is read, and a client that waits for 100 Continue gets it."""
    raw = json.dumps(body()).encode()
    head = f"POST {TARGET} HTTP/1.1\r\nhost: x\r\nx-goog-api-key: k\r\ntransfer-encoding: chunked\r\n"
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(f"{head}expect: 100-continue\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (9, raw[:9], len(raw) - 9, raw[9:]))
        assert (await read_reply(reader))[0] == 200
        writer.close()


async def test_large_body_is_read_whole():
    """A prompt of megabytes is counted to its last byte."""
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request("x" * 4_000_000))
        status, _, data = await read_reply(reader)
        assert (status, json.loads(data)["usageMetadata"]["promptTokenCount"]) == (200, 1_000_000)
        writer.close()


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\nHELLO\r\n\r\n"]
)
async def test_garbage_ends_its_own_connection_only(garbage: bytes):
    """Bytes that are not HTTP get a 400 and a closed connection; others go on."""
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        bad_reader, bad_writer = await asyncio.open_connection("127.0.0.1", running.port)
        bad_writer.write(garbage)
        assert (await bad_reader.read()).startswith(b"HTTP/1.1 400")
        bad_writer.close()
        writer.write(request())
        assert (await read_reply(reader))[0] == 200
        writer.close()


async def test_connection_close_is_honoured():
    """A client that asks to close gets its answer and then the end."""
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request(extra="connection: close\r\n"))
        _, headers, _ = await read_reply(reader)
        assert headers["connection"] == "close"
        assert await reader.read() == b""
        writer.close()


async def test_old_clients_get_streams_without_chunks():
    """An HTTP/1.0 client gets a stream that ends with the connection."""
    stream = TARGET.replace("generate", "streamGenerate") + "?alt=sse"
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request(target=stream).replace(b"HTTP/1.1", b"HTTP/1.0"))
        raw = await reader.read()
        assert b"chunked" not in raw
        assert raw.endswith(b"}\r\n\r\n")
        writer.close()


async def test_stream_comes_in_chunks():
    """A stream is chunked and its parts arrive apart in time."""
    stream = TARGET.replace("generate", "streamGenerate") + "?alt=sse"
    async with simulator("latency=model,latency_scale=0.01") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request(target=stream))
        _, headers, data = await read_reply(reader)
        assert headers["transfer-encoding"] == "chunked"
        assert data.count(b"data: ") > 1
        writer.close()


async def test_reset_comes_before_any_byte():
    """The reset fault breaks the connection without a status line."""
    async with simulator("fault.reset=1") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request())
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_truncated_body_is_shorter_than_promised():
    """The truncate fault closes the connection before the promised length."""
    async with simulator("fault.truncate=1") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request())
        with pytest.raises(asyncio.IncompleteReadError):
            await read_reply(reader)
        writer.close()


async def test_hang_is_in_flight_until_the_client_leaves():
    """A hanging request counts as in flight, and no longer when its client has gone."""
    async with simulator("fault.hang=1") as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request())
        await settled(lambda: running.statistics().in_flight == 1)
        writer.close()
        await settled(lambda: running.statistics().in_flight == 0)
        assert running.statistics().peak_in_flight == 1


async def test_leaving_the_context_drops_connections():
    """Leaving the context ends hanging connections at once, and the counts stay readable."""
    async with simulator("fault.hang=1") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request())
        await settled(lambda: running.statistics().in_flight == 1)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert running.statistics().requests == 1
    writer.close()


@pytest.mark.slow
async def test_hundreds_of_connections_at_once():
    """Four hundred clients that connect together are all answered, and the peak is counted."""

    async def one(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request(f"p{number}"))
        status = (await read_reply(reader))[0]
        writer.close()
        return status

    async with simulator("latency=0.5,count_prompts=true") as running:
        assert await asyncio.gather(*(one(number) for number in range(400))) == [200] * 400
        counted = running.statistics()
        assert counted.answered == len(counted.answers_by_prompt) == 400
        assert counted.peak_in_flight > 100


async def test_admin_paths_are_not_counted():
    """Reading the statistics over HTTP is no request of its own, nor in flight."""
    async with simulator() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"GET /-/statistics HTTP/1.1\r\nhost: x\r\n\r\n")
        _, _, data = await read_reply(reader)
        counted = json.loads(data)
        assert (counted["requests"], counted["in_flight"], counted["connections"]) == (0, 0, 1)
        writer.close()
