"""
All requests at once with `asyncio.gather`: the time of one request, until the quota or the memory says no.

Terminal 1:  wingbeat simulate --latency 1          (with --rpm 15 --enforcement sliding, ask 20: the quota refuses)
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/2_gather.py 5

Every prompt becomes a task before the first one is answered: nothing limits how many are in flight.
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


async def ask(client: genai.client.AsyncClient, prompt: str) -> str | None:
    """Return the answer, or None when the quota refuses it."""
    try:
        return (await client.models.generate_content(model=MODEL, contents=prompt)).text
    except errors.APIError as error:
        if error.code != 429:
            raise
        return None


async def main(count: int) -> None:
    with PROMPTS.open(encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in islice(lines, count)]
    async with genai.Client().aio as client:
        start = time.perf_counter()
        replies = await asyncio.gather(*(ask(client, prompt) for prompt in prompts))
        wall_s = time.perf_counter() - start
    answers = [reply for reply in replies if reply is not None]
    print(f"gather: {len(answers)} answers, {len(replies) - len(answers)} refused, {wall_s:.1f} s")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
