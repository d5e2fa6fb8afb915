"""
A bounded queue and a fixed number of consumers: memory stays flat, however many prompts there are.

Terminal 1:  wingbeat simulate --latency 1 --rpm 15 --enforcement sliding
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/4_queue.py 20

The file is read only as fast as prompts are answered. The quota still refuses what comes too fast.
"""

import asyncio
import json
import sys
import time
from itertools import islice
from pathlib import Path

from google import genai
from google.genai import errors

MODEL = "gemini-2.5-flash"
PROMPTS = Path(__file__).resolve().parent.parent / "data" / "prompts.jsonl"
CONSUMERS = 5


async def consume(client: genai.client.AsyncClient, queue: asyncio.Queue[str | None], counts: dict[str, int]) -> None:
    """Answer prompts until None, the end mark, comes."""
    while (prompt := await queue.get()) is not None:
        try:
            await client.models.generate_content(model=MODEL, contents=prompt)
            counts["answers"] += 1
        except errors.APIError as error:
            if error.code != 429:
                raise
            counts["refused"] += 1


async def main(count: int) -> None:
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2 * CONSUMERS)
    counts = {"answers": 0, "refused": 0}
    async with genai.Client().aio as client:
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONSUMERS):
                group.create_task(consume(client, queue, counts))
            with PROMPTS.open(encoding="utf-8") as lines:
                for line in islice(lines, count):
                    await queue.put(json.loads(line)["prompt"])
            for _ in range(CONSUMERS):
                await queue.put(None)
        wall_s = time.perf_counter() - start
    print(f"queue: {counts['answers']} answers, {counts['refused']} refused, {wall_s:.1f} s")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
