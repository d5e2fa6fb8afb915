"""One client a function, each run in a process of its own: ``python benchmarks/clients.py NAME URL IN_FLIGHT FILE``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def read_rows(file: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a file, one at a time."""
    with Path(file).open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


HEADERS = {"content-type": "application/json", "x-goog-api-key": "k"}


def bare(url: str, in_flight: int, file: str) -> None:
    """Loop over pyreqwest and msgspec, keeping nothing: the floor."""
    import msgspec
    from pyreqwest.client import ClientBuilder

    target = f"{url}/v1/models/gemini-2.5-flash:generateContent"

    async def main() -> None:
        client = ClientBuilder().no_proxy().default_headers(HEADERS).build()
        prompts = (row["prompt"] for row in read_rows(file))

        async def worker() -> None:
            for prompt in prompts:
                body = msgspec.json.encode({"contents": [{"role": "user", "parts": [{"text": prompt}]}]})
                request = client.post(target).body_bytes(body).build()
                reply = await (await request.send()).bytes()
                msgspec.json.decode(reply)["candidates"][0]["content"]["parts"][0]["text"]

        await asyncio.gather(*(worker() for _ in range(in_flight)))

    _loop(main())


def bare_to_file(url: str, in_flight: int, file: str) -> None:
    """Do the same and append each answer to a file, with no journal."""
    import msgspec
    from pyreqwest.client import ClientBuilder

    target = f"{url}/v1/models/gemini-2.5-flash:generateContent"

    async def main() -> None:
        client = ClientBuilder().no_proxy().default_headers(HEADERS).build()
        rows = read_rows(file)
        with Path(file + ".bare.jsonl").open("wb") as out:  # noqa: ASYNC230 - as a script would

            async def worker() -> None:
                for row in rows:
                    body = msgspec.json.encode({"contents": [{"role": "user", "parts": [{"text": row["prompt"]}]}]})
                    request = client.post(target).body_bytes(body).build()
                    reply = await (await request.send()).bytes()
                    text = msgspec.json.decode(reply)["candidates"][0]["content"]["parts"][0]["text"]
                    out.write(msgspec.json.encode({"id": row["id"], "text": text}) + b"\n")

            await asyncio.gather(*(worker() for _ in range(in_flight)))

    _loop(main())


def google_genai(url: str, in_flight: int, file: str) -> None:
    """Gather over the official client behind a semaphore, writing a file at the end."""
    from google import genai
    from google.genai import types

    async def main() -> None:
        client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url))
        slots = asyncio.Semaphore(in_flight)

        async def one(row: dict[str, str]) -> dict[str, str]:
            async with slots:
                reply = await client.aio.models.generate_content(model="gemini-2.5-flash", contents=row["prompt"])
                return {"id": row["id"], "text": reply.text or ""}

        rows = list(read_rows(file))
        answers = await asyncio.gather(*(one(row) for row in rows))
        with Path(file + ".genai.jsonl").open("w") as out:  # noqa: ASYNC230 - as a script would
            out.writelines(json.dumps(answer) + "\n" for answer in answers)

    asyncio.run(main())


def library(url: str, in_flight: int, file: str) -> None:
    """Stream through `wingbeat.Client`, keeping nothing."""
    import wingbeat

    os.environ.setdefault("GEMINI_API_KEY", "k")

    async def main() -> None:
        limits = wingbeat.Limits(concurrency=in_flight)
        async with wingbeat.Client("gemini-2.5-flash", base_url=url, limits=limits) as client:
            prompts = (row["prompt"] for row in read_rows(file))
            async for outcome in client.stream(prompts):
                assert outcome.ok, outcome

    _loop(main())


def _loop(main: object) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
        return
    uvloop.run(main)  # type: ignore[arg-type]


CLIENTS = {"bare": bare, "bare_to_file": bare_to_file, "google_genai": google_genai, "library": library}

if __name__ == "__main__":
    _, name, url, in_flight, file = sys.argv
    CLIENTS[name](url, int(in_flight), file)
