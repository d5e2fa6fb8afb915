"""
The queue and its consumers, paced: one request every 60/rpm seconds. Nothing is refused, and nothing is quick.

Terminal 1:  wingbeat simulate --latency 1 --rpm 15 --enforcement sliding
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/5_rate_limiter.py 20 15          (20 prompts at 15 requests a minute: 80 s)

The limiter is our own `pace`. A real one must also count tokens and days, ask again, and survive a crash.
"""

import asyncio
import json
import sys
import time
from itertools import islice
from pathlib import Path

from google import genai
from google.genai import errors

PROMPTS = Path(__file__).resolve().parent.parent / "data" / "prompts.jsonl"
CONSUMERS = 5
QUEUE: asyncio.Queue[str | None] = asyncio.Queue(maxsize=2 * CONSUMERS)
PACE = asyncio.Lock()
COUNTS = {"answers": 0, "refused": 0}


async def pace(rpm: float) -> None:
    """Let one caller through every 60/rpm seconds, in the order in which they ask."""
    async with PACE:
        await asyncio.sleep(60 / rpm)


async def consume(client: genai.client.AsyncClient, rpm: float) -> None:
    while (prompt := await QUEUE.get()) is not None:
        await pace(rpm)
        try:
            await client.models.generate_content(model="gemini-2.5-flash", contents=prompt)
            COUNTS["answers"] += 1
        except errors.APIError as error:
            if error.code != 429:
                raise
            COUNTS["refused"] += 1


async def main(count: int, rpm: float) -> None:
    start = time.perf_counter()
    async with genai.Client().aio as client, asyncio.TaskGroup() as group:
        for _ in range(CONSUMERS):
            group.create_task(consume(client, rpm))
        with PROMPTS.open(encoding="utf-8") as lines:
            for line in islice(lines, count):
                await QUEUE.put(json.loads(line)["prompt"])
        for _ in range(CONSUMERS):
            await QUEUE.put(None)
    wall_s = time.perf_counter() - start
    print(f"rate limiter: {COUNTS['answers']} answers, {COUNTS['refused']} refused, {wall_s:.1f} s")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, float(sys.argv[2]) if len(sys.argv) > 2 else 15))
