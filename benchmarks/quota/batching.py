"""A server with no quota but a capacity, as vLLM has: continuous batching, an endless queue, and memory for so much."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import log
from random import Random
from typing import NamedTuple

PREFILL_TOKENS = 4096
"""Most prompt tokens that one step takes in on one pod (vLLM: ``max_num_batched_tokens``, 2,048 to 8,192)."""

MOST_OUTPUT_TOKENS = 2048
"""Every request asks for at most so many, as careful users do."""


class Model(NamedTuple):
    """
    One kind of server: pods alike, in lock-step, behind one first-come-first-served queue.

    One step writes one token of every running sequence and takes
    ``step_s + sequence_s * sequences + prefill_s * prompt tokens``, each counted per pod.

    Args:
        name: What the rows of a table call it.
        says: What it stands for.
        sequences: Most running at once, of all pods (vLLM: ``max_num_seqs`` times pods).
        step_s: Seconds that a step takes at least: the weights are read once.
        sequence_s: Seconds that each running sequence adds.
        prefill_s: Seconds that each prompt token adds.
        kv_tokens: Tokens that the memory of all pods holds.
        prompt_tokens: Mean length of a prompt; lognormal with sigma 0.8.
        output_tokens: Mean length of an answer, before it is cut; lognormal with sigma 1.
    """

    name: str
    says: str
    sequences: int
    step_s: float
    sequence_s: float
    prefill_s: float
    kv_tokens: int
    prompt_tokens: float
    output_tokens: float
    pods: int = 2

    def lengths(self, random: Random) -> tuple[int, int]:
        """Draw the prompt and output tokens of one request."""
        prompt = random.lognormvariate(log(self.prompt_tokens) - 0.32, 0.8)
        output = random.lognormvariate(log(self.output_tokens) - 0.5, 1.0)
        return max(1, int(prompt)), min(MOST_OUTPUT_TOKENS, max(1, int(output)))


MODELS = {
    # Steps of some 30 ms at 128 sequences a pod, a quarter of the time for prompts: 8B weights on one large GPU.
    "A": Model("A", "256 sequences, mixed work", 256, 0.015, 0.000_1, 0.000_02, 2_000_000, 800.0, 300.0),
    # Reading the weights is nearly the whole step, and the memory is full a little before the sequences are.
    "B": Model("B", "128 sequences, short of memory", 128, 0.035, 0.000_1, 0.000_02, 280_000, 1500.0, 400.0),
    # Every sequence slows all others: no queue below 512, but tokens come ever more slowly.
    "C": Model("C", "512 sequences, short of compute", 512, 0.007, 0.000_8, 0.000_01, 4_000_000, 300.0, 300.0),
}


class Sequence:
    """One request inside the server."""

    __slots__ = ("arrived_at", "ends_at_step", "first_token_at", "is_running", "output", "prompt", "tag", "written")

    def __init__(self, arrived_at: float, prompt: int, output: int, tag: object = None) -> None:
        self.arrived_at = arrived_at
        self.prompt = prompt
        self.output = output
        self.written = 0
        self.ends_at_step = 0
        self.first_token_at: float | None = None
        self.is_running = False
        self.tag = tag


class BatchingServer:
    """
    Serve what arrives, step by step. The caller owns the clock: it begins a step, lets its time pass, and ends it.

    When the memory is full, the sequence that was admitted last goes back to the head of the queue, and its text so
    far has to be read again (vLLM: preemption by recomputation). A request whose client has left is dropped.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pods = model.pods
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.step = 0
        self.preempted = 0
        self._kv = 0
        self._ends: list[tuple[int, int, Sequence]] = []
        self._number = 0
        self._entered: list[Sequence] = []

    def __repr__(self) -> str:
        return f"<BatchingServer {self.model.name} {len(self.running)} running, {len(self.waiting)} waiting>"

    @property
    def most_running(self) -> int:
        """Most sequences at once, with the pods that are left."""
        return self.model.sequences * self.pods // self.model.pods

    def arrive(self, sequence: Sequence) -> None:
        """Queue one request."""
        self.waiting.append(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Drop a request whose client has gone."""
        if sequence.is_running:
            self._stop(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def lose_pod(self) -> None:
        """Take one pod away; what ran on it goes back to the head of the queue."""
        self.pods -= 1
        while len(self.running) > self.most_running:
            self._put_back(self.running[-1])

    def add_pod(self) -> None:
        """Add one pod."""
        self.pods += 1

    def begin_step(self) -> float | None:
        """Admit what fits and return how long the next step takes; None when there is nothing to do."""
        model = self.model
        room = model.kv_tokens * self.pods // model.pods
        while self.running and self._kv + len(self.running) > room:
            self._put_back(self.running[-1])
        prefill = 0
        while self.waiting and len(self.running) < self.most_running:
            head = self.waiting[0]
            held = head.prompt + head.written
            if prefill and prefill + held > PREFILL_TOKENS * self.pods:
                break
            if self.running and self._kv + held + len(self.running) + 1 > room:
                break
            prefill += held
            self._start(self.waiting.popleft())
        if not self.running:
            return None
        return model.step_s + (model.sequence_s * len(self.running) + model.prefill_s * prefill) / self.pods

    def end_step(self, now: float) -> list[Sequence]:
        """Write one token of every sequence and return those that have ended."""
        self.step += 1
        self._kv += len(self.running)
        for sequence in self._entered:
            if sequence.first_token_at is None:
                sequence.first_token_at = now
        self._entered.clear()
        ended: list[Sequence] = []
        while self._ends and self._ends[0][0] <= self.step:
            at_step, _number, sequence = heappop(self._ends)
            if sequence.is_running and sequence.ends_at_step == at_step:
                self._stop(sequence)
                ended.append(sequence)
        return ended

    def _start(self, sequence: Sequence) -> None:
        sequence.is_running = True
        sequence.ends_at_step = self.step + sequence.output - sequence.written
        self._kv += sequence.prompt + sequence.written
        self.running.append(sequence)
        self._entered.append(sequence)
        self._number += 1
        heappush(self._ends, (sequence.ends_at_step, self._number, sequence))

    def _stop(self, sequence: Sequence) -> None:
        sequence.is_running = False
        sequence.written = sequence.output - (sequence.ends_at_step - self.step)
        self._kv -= sequence.prompt + sequence.written
        self.running.remove(sequence)

    def _put_back(self, sequence: Sequence) -> None:
        self._stop(sequence)
        self.preempted += 1
        self.waiting.appendleft(sequence)


class Kept(NamedTuple):
    """What a fixed number in flight yields, in the steady state."""

    in_flight: int
    tokens_per_s: float
    time_to_first_p99_s: float
    latency_p99_s: float


def keep_in_flight(model: Model, in_flight: int, *, pods: int | None = None, seed: int = 0, seconds: float) -> Kept:
    """Keep exactly so many requests in flight, without an engine, and measure the second half of the time."""
    random, server, now = Random(seed), BatchingServer(model), 0.0
    server.pods = pods or model.pods
    for _ in range(in_flight):
        server.arrive(Sequence(now, *model.lengths(random)))
    tokens, firsts, latencies = 0.0, [], []
    while now < seconds:
        taken = server.begin_step()
        assert taken is not None
        now += taken
        for sequence in server.end_step(now):
            if now > seconds / 2:
                assert sequence.first_token_at is not None
                tokens += sequence.output
                firsts.append(sequence.first_token_at - sequence.arrived_at)
                latencies.append(now - sequence.arrived_at)
            server.arrive(Sequence(now, *model.lengths(random)))
    return Kept(in_flight, tokens / (now - seconds / 2), p99(firsts), p99(latencies))


def best_in_flight(model: Model, *, pods: int | None = None, seed: int = 0, seconds: float = 1200.0) -> Kept:
    """Return what the best of many fixed numbers in flight yields: the most that the server can do."""
    share = (pods or model.pods) / model.pods
    sizes = sorted({max(1, int(model.sequences * share * part)) for part in (0.8, 0.9, 1.0, 1.1, 1.3)})
    tried = [keep_in_flight(model, size, pods=pods, seed=seed, seconds=seconds) for size in sizes]
    return max(tried, key=lambda kept: kept.tokens_per_s)


def p99(values: list[float]) -> float:
    """Return the 99th percentile, or 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))] if values else 0.0
