"""What foreign code does to a run: cancel its own waits, send odd bytes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import wingbeat
from wingbeat import Client, Limits

from .conftest import MODEL


async def cancelled_wait() -> None:
    """Await something that was cancelled by somebody else."""
    never = asyncio.ensure_future(asyncio.sleep(60))
    never.cancel()
    await never


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_call_that_meets_a_cancellation_fails_alone(concurrency: int):
    """A call that awaits something cancelled fails its own item; every other item keeps its place in the list."""

    async def call(item: int) -> int:
        if item == 5:
            await cancelled_wait()
        return item

    outcomes = await wingbeat.map(call, range(20), limits=Limits(concurrency=concurrency))
    assert [outcome.value for outcome in outcomes] == [item if item != 5 else None for item in range(20)]
    assert outcomes[5].error.kind == "call_error"


async def test_a_source_that_meets_a_cancellation_is_no_quiet_end():
    """A source that awaits something cancelled ends the stream with an error, not as if it had been read to its end."""

    async def source() -> AsyncIterator[str]:
        yield "Why?"
        await cancelled_wait()
        yield "Who?"

    async with Client(MODEL, simulator="latency=0") as client:
        with pytest.raises(RuntimeError, match="the source was cancelled"):
            async for _outcome in client.stream(source()):
                pass


async def test_header_bytes_that_are_no_text_harm_nothing(monkeypatch: pytest.MonkeyPatch):
    """An error reply whose headers hold any bytes is judged like any other."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Oh\r\nX-Bad: \xff\xfe\x80\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        limits = Limits(max_attempts=2)
        async with Client("gemini-2.5-flash", base_url=url, limits=limits) as client:
            [outcome] = await client.gather(["Why?"])
    assert outcome.error.kind == "server_error"


def test_a_script_that_ends_at_once_ends_well(tmp_path):
    """The interpreter may end right after the client: nothing of the HTTP library runs on into its end."""
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, wingbeat\n"
        "async def main():\n"
        "    async with wingbeat.Client('sim/gemini-2.5-flash', simulator='latency=0') as client:\n"
        "        async for _ in client.stream(f'Name river {i}.' for i in range(30)): pass\n"
        "asyncio.run(main())\n"
    )
    for _ in range(3):
        assert subprocess.run([sys.executable, str(script)], timeout=60, check=False).returncode == 0
