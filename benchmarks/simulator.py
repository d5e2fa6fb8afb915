"""
Answers a second that the simulator gives on one core, and its CPU time for each.

Run: python benchmarks/simulator.py [--answers 40000] [--in-flight 200]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from pyreqwest.client import Client, ClientBuilder

_MODEL = "gemini-2.5-flash"


def main() -> None:
    """Start a simulator in a process of its own, load it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=40_000)
    parser.add_argument("--in-flight", type=int, default=200)
    options = parser.parse_args()
    program = "from wingbeat.cli.simulate import simulate; simulate()"
    command = [sys.executable, "-c", program, "--port", "0", "--latency", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        asyncio.run(measure(url, server.pid, options.answers, options.in_flight))
    finally:
        server.terminate()
        server.wait()


async def measure(url: str, pid: int, answers: int, in_flight: int) -> None:
    """Ask `answers` prompts with `in_flight` at once; a short warm-up comes first."""
    async with ClientBuilder().base_url(url).build() as client:
        await ask_all(client, 2_000, in_flight)
        cpu_before, own_before, started = cpu_s(pid), time.process_time(), time.perf_counter()
        await ask_all(client, answers, in_flight)
        elapsed = time.perf_counter() - started
        server_cpu, own_cpu = cpu_s(pid) - cpu_before, time.process_time() - own_before
    print(f"{answers} answers, {in_flight} in flight: {elapsed:.2f} s, {answers / elapsed:,.0f} answers/s")
    server_us = server_cpu / answers * 1e6
    print(f"server CPU {server_us:.0f} us an answer: {answers / server_cpu:,.0f} answers/s on one core")
    print(f"client CPU {own_cpu / answers * 1e6:.0f} us an answer")


async def ask_all(client: Client, answers: int, in_flight: int) -> None:
    """Share `answers` prompts among `in_flight` workers."""
    numbers = iter(range(answers))

    async def work() -> None:
        for number in numbers:
            prompt = f"Question {number}: what shaped the harbour towns of the Baltic coast?"
            body = json.dumps({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}).encode()
            request = client.post(f"/v1beta/models/{_MODEL}:generateContent").header("x-goog-api-key", "benchmark")
            reply = await request.header("content-type", "application/json").body_bytes(body).build().send()
            assert reply.status == 200
            await reply.bytes()

    await asyncio.gather(*(work() for _ in range(in_flight)))


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used. Source: proc(5), fields 14 and 15 of `stat`; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
