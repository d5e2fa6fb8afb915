"""
`wingbeat.map` around the official client: keep your own call, and get quota, retry, and a journal around it.

Terminal 1:  wingbeat simulate --latency 1 --rpm 15 --enforcement sliding
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/7_own_client.py 20 15

Add journal="answers.journal" to `wingbeat.map`, and a second run asks for nothing that the first has answered.
"""

import asyncio
import json
import sys
import time
from itertools import islice
from pathlib import Path

from google import genai

import wingbeat

PROMPTS = Path(__file__).resolve().parent.parent / "data" / "prompts.jsonl"


async def main(count: int, rpm: float) -> None:
    with PROMPTS.open(encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in islice(lines, count)]
    async with genai.Client().aio as client:

        async def ask(prompt: str) -> str | None:
            return (await client.models.generate_content(model="gemini-2.5-flash", contents=prompt)).text

        start = time.perf_counter()
        mapped = wingbeat.map(ask, prompts, limits=wingbeat.Limits(rpm=rpm))
        outcomes = await mapped
        wall_s = time.perf_counter() - start
    answers = sum(outcome.ok for outcome in outcomes)
    print(f"own client: {answers} answers, {mapped.statistics.refused} refused and asked again, {wall_s:.1f} s")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, float(sys.argv[2]) if len(sys.argv) > 2 else 15))
