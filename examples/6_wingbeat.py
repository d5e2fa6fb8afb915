"""
The same with wingbeat, in one line: within the quota, asked again when refused, and at once where the quota allows.

Terminal 1:  wingbeat simulate --latency 1 --rpm 15 --enforcement sliding
Terminal 2:  export GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:8080 GEMINI_API_KEY=anything
             python examples/6_wingbeat.py 20 15

Compare 5 prompts with 5 prompts of 5_rate_limiter.py: a job of up to half a minute's quota goes at once.
"""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import wingbeat

PROMPTS = Path(__file__).resolve().parent.parent / "data" / "prompts.jsonl"


def main(count: int, rpm: float) -> None:
    with PROMPTS.open(encoding="utf-8") as lines:
        prompts = [json.loads(line)["prompt"] for line in islice(lines, count)]
    start = time.perf_counter()
    outcomes = wingbeat.run(prompts, model="gemini-2.5-flash", limits=wingbeat.Limits(rpm=rpm))
    wall_s = time.perf_counter() - start
    answers = sum(outcome.ok for outcome in outcomes)
    refused = sum(outcome.attempts for outcome in outcomes) - len(outcomes)
    print(f"wingbeat: {answers} answers, {refused} refused and asked again, {wall_s:.1f} s")


main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, float(sys.argv[2]) if len(sys.argv) > 2 else 15)
