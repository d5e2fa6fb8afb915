"""
One request after the other: the time is the number of requests times the latency of one.

Terminal 1:  wingbeat simulate --latency 1
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/1_sequential.py 5

Only the official client is used (pip install google-genai). The time runs from the first request to the last answer.
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


async def main(count: int) -> None:
    with PROMPTS.open(encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in islice(lines, count)]
    answers, refused = [], 0
    async with genai.Client().aio as client:
        start = time.perf_counter()
        for prompt in prompts:
            try:
                reply = await client.models.generate_content(model=MODEL, contents=prompt)
                answers.append(reply.text)
            except errors.APIError as error:
                if error.code != 429:
                    raise
                refused += 1
        wall_s = time.perf_counter() - start
    print(f"sequential: {len(answers)} answers, {refused} refused, {wall_s:.1f} s")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
