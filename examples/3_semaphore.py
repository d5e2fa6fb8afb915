"""
At most so many at once with a semaphore: it limits requests in flight, not requests a minute, and not tasks.

Terminal 1:  wingbeat simulate --latency 1 --rpm 15 --enforcement sliding
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/3_semaphore.py 20

Still a task for every prompt from the start: 20 are nothing, a million are gigabytes.
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
MOST_IN_FLIGHT = 5


async def ask(client: genai.client.AsyncClient, slots: asyncio.Semaphore, prompt: str) -> str | None:
    """Wait for a slot; return the answer, or None when the quota refuses it."""
    async with slots:
        try:
            return (await client.models.generate_content(model=MODEL, contents=prompt)).text
        except errors.APIError as error:
            if error.code != 429:
                raise
            return None


async def main(count: int) -> None:
    with PROMPTS.open(encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in islice(lines, count)]
    slots = asyncio.Semaphore(MOST_IN_FLIGHT)
    async with genai.Client().aio as client:
        start = time.perf_counter()
        replies = await asyncio.gather(*(ask(client, slots, prompt) for prompt in prompts))
        wall_s = time.perf_counter() - start
    answers = [reply for reply in replies if reply is not None]
    print(f"semaphore: {len(answers)} answers, {len(replies) - len(answers)} refused, {wall_s:.1f} s")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
