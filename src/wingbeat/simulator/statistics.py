"""What has happened so far: counters, and the frozen view of them."""

from collections import Counter

import msgspec


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a simulator has done since its start or its last reset.

    Args:
        requests: Requests read whole, apart from those to `/-/`.
        answered: Prompts that were given an answer with status 200. Counted when the answer is decided, so it
            includes answers that a client did not stay to read: a provider bills those too.
        refused: Requests refused with 429 for quota.
        rejected: Requests with a client error: bad key, unknown model, bad body.
        faults: Number of faults by name.
        in_flight: Requests read whose reply has not ended.
        peak_in_flight: The most that there were at once.
        connections: Open connections.
        answers_by_prompt: Answers of each prompt, if `count_prompts` is set.
    """

    requests: int
    answered: int
    refused: int
    rejected: int
    faults: dict[str, int]
    in_flight: int
    peak_in_flight: int
    connections: int
    answers_by_prompt: dict[str, int]


class Counters:
    """Count what happens; cheap enough for every request."""

    __slots__ = (
        "answered",
        "answers_by_prompt",
        "connections",
        "faults",
        "in_flight",
        "peak_in_flight",
        "refused",
        "rejected",
        "requests",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.connections = 0
        self.restart()

    def restart(self) -> None:
        """Count from zero again; what is open stays."""
        self.requests = 0
        self.answered = 0
        self.refused = 0
        self.rejected = 0
        self.faults: Counter[str] = Counter()
        self.peak_in_flight = self.in_flight
        self.answers_by_prompt: Counter[str] = Counter()

    def begin(self) -> None:
        """Note that a reply has begun."""
        self.in_flight += 1
        if self.in_flight > self.peak_in_flight:
            self.peak_in_flight = self.in_flight

    def end(self) -> None:
        """Note that a reply has ended, or that nobody waits for it any more."""
        self.in_flight -= 1

    def snapshot(self) -> Statistics:
        """Return a frozen copy."""
        return Statistics(
            requests=self.requests,
            answered=self.answered,
            refused=self.refused,
            rejected=self.rejected,
            faults=dict(self.faults),
            in_flight=self.in_flight,
            peak_in_flight=self.peak_in_flight,
            connections=self.connections,
            answers_by_prompt=dict(self.answers_by_prompt),
        )
