"""When the next request of a probe goes: some at once, then faster step by step until one is refused, then to learn."""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

from wingbeat.ledgers.learner import LearningLimit
from wingbeat.ledgers.lesson import Phase
from wingbeat.ledgers.window import Entry
from wingbeat.model.limit import REQUESTS

LEARN_SHARE = 0.25
"""Part of the requests that is kept back until one is refused: a refusal alone does not tell the limit."""

BURST_WAIT_S = 30.0
"""Longest wait for the answers of the burst before single requests follow."""

LEAST_A_STEP = 4
"""A step lasts for at least so many requests, however slow it is."""

LATE_S = 0.25
"""Time that a late timer may make good: more would turn an even pace into bursts."""

DRAIN_S = 30.0
"""Longest wait for answers at the end: a service's own answer to a few words takes seconds."""

SETTLED_S = 20.0
SETTLED_REQUESTS = 5
"""A limit that was kept to for so long, and by so many requests, without a refusal is taken as found."""


class Part(Enum):
    """What a request was sent for."""

    BURST = "burst"
    """One of several sent at once."""
    RAMP = "ramp"
    """One of a step of even pace."""
    LEARN = "learn"
    """Sent after the first refusal, to find the limit."""


OVERLOADS_A_STEP = 5
"""So many requests of one step that find the service overloaded end a probe: going faster would only do harm."""

Cause = Literal["learnt", "time", "requests", "cost", "overloaded", "stopped"]
"""Why a probe has ended: the limit is known, the time for learning is over, all requests that may be sent were, the
next could cost more than may be spent, the service has no capacity for more, or somebody has stopped it."""

End = Literal["passed", "refused", "failed"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a probe goes about it.

    Args:
        max_requests: Most requests in all.
        burst: Requests sent at once to begin with.
        start_per_minute: Pace of the first step.
        step: Factor from one step's pace to the next.
        hold_s: Seconds of a step.
        learn_for_s: Most seconds from the first refusal to the end.
        most_in_flight: Most requests in flight.
    """

    max_requests: int = 600
    burst: int = 10
    start_per_minute: float = 60.0
    step: float = 1.5
    hold_s: float = 10.0
    learn_for_s: float = 150.0
    most_in_flight: int = 2000

    @property
    def ramp_requests(self) -> int:
        """Requests that are sent when none is refused."""
        return max(1, self.max_requests - int(self.max_requests * LEARN_SHARE))

    def pace(self, step: int) -> float:
        """Return the requests a second of a step, from 0."""
        return self.start_per_minute / 60.0 * float(self.step ** min(step, 200))

    def step_s(self, step: int) -> float:
        """Return how long a step lasts."""
        return max(self.hold_s, LEAST_A_STEP / self.pace(step))

    @property
    def ramp_s(self) -> float:
        """Seconds that all steps take when no request is refused."""
        left, total_s, step = float(self.ramp_requests - self.burst), 0.0, 0
        while left > 0:
            requests = self.pace(step) * self.step_s(step)
            total_s += self.step_s(step) * min(1.0, left / requests)
            left -= requests
            step += 1
        return total_s


class Trial:
    """
    One request of a probe, and what became of it.

    Args:
        part: What it was sent for.
        step: Step of the ramp, from 0; of a burst, and after the first refusal, the last one.
        sent_at: When it was sent.
        in_flight: Requests in flight with it.
        entry: Where the limit that is being learnt has written it down.
    """

    __slots__ = ("end", "ended_at", "entry", "in_flight", "part", "sent_at", "step")

    def __init__(self, part: Part, step: int, sent_at: float, in_flight: int, entry: Entry | None) -> None:
        self.part = part
        self.step = step
        self.sent_at = sent_at
        self.in_flight = in_flight
        self.entry = entry
        self.ended_at: float | None = None
        self.end: End | None = None

    @property
    def latency_s(self) -> float | None:
        """Seconds to the answer; None while there is none, and for what is no answer."""
        return None if self.ended_at is None or self.end != "passed" else self.ended_at - self.sent_at


class Go(msgspec.Struct, frozen=True):
    """Send one request at this moment."""


class Wait(msgspec.Struct, frozen=True):
    """Nothing is to be sent before ``until``, unless something ends sooner."""

    until: float


class Over(msgspec.Struct, frozen=True):
    """Nothing more will be sent."""


Next = Go | Wait | Over


class Ramp:
    """
    Send no more than what may be sent, and no faster than needed: evenly at each step, and not on after a refusal.

    After the first refusal a `LearningLimit` decides: it waits as told, asks with lone requests, and finds out what the
    limit is. It is given every request and refusal from the first one on.

    Args:
        settings: How to go about it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limit = LearningLimit(REQUESTS)
        self.trials: list[Trial] = []
        self.part = Part.BURST
        self.step = 0
        self.cause: Cause | None = None
        self.in_flight = 0
        self.first_refused: Trial | None = None
        self._burst_at = 0.0
        self._step_at = 0.0
        self._due = float("-inf")
        self._learn_until = float("inf")
        self._refused_at = 0.0
        self._passed_since = 0
        self._overloaded_step = 0
        self._overloads = 0
        self._ended_at = 0.0

    def __repr__(self) -> str:
        return f"<Ramp {self.part.value} {len(self.trials)} of {self.settings.max_requests} sent>"

    def next(self, now: float) -> Next:
        """Say what to do now; ask again after a request was sent or has ended, and when a wait is over."""
        if self.cause is None:
            self._end_if_due(now)
        if self.cause is not None:
            drained = not self.in_flight or self.cause == "stopped" or now >= self._ended_at + DRAIN_S
            return Over() if drained else Wait(self._ended_at + DRAIN_S)
        if self.in_flight >= self.settings.most_in_flight:
            return Wait(now + 1.0)
        match self.part:
            case Part.BURST:
                return self._next_of_burst(now)
            case Part.RAMP:
                return self._next_of_ramp(now)
            case Part.LEARN:
                due = self.limit.ready_at(now, 1.0)
                return Go() if due <= now else Wait(min(due, self._learn_until))

    def sent(self, now: float) -> Trial:
        """Count one request as sent, after `next` has said so."""
        self.in_flight += 1
        entry = self.limit.commit(now, 1.0)
        trial = Trial(self.part, self.step, now, self.in_flight, entry)
        self.trials.append(trial)
        if self.part is Part.RAMP:
            self._due = max(self._due, now - LATE_S) + 1.0 / self.settings.pace(self.step)
        elif self.part is Part.BURST and len(self.trials) == 1:
            self._burst_at = now
        return trial

    def passed(self, trial: Trial, now: float) -> None:
        """Take the answer to a request."""
        self._land(trial, now, "passed")
        if self.part is Part.LEARN:
            self._passed_since += trial.sent_at > self._refused_at
            self.limit.accepted(trial.sent_at)

    def failed(self, trial: Trial, now: float) -> None:
        """Take a failure that says nothing of the limit."""
        self._land(trial, now, "failed")

    def overloaded(self, trial: Trial, now: float) -> None:
        """Take the word of a service that has no capacity; a few in one step end the probe."""
        self.failed(trial, now)
        if trial.step != self._overloaded_step:
            self._overloaded_step, self._overloads = trial.step, 0
        self._overloads += 1
        if self._overloads >= OVERLOADS_A_STEP:
            self.stop("overloaded", now)

    def refused(self, trial: Trial, now: float, told_s: float | None) -> float:
        """Take a refusal for quota, and go on to learning; return the seconds for which nothing will go."""
        self._land(trial, now, "refused")
        if self.first_refused is None:
            self.first_refused = trial
            self._learn_until = now + self.settings.learn_for_s
            self.part = Part.LEARN
            if self.cause == "requests":
                self.cause = None
        self._refused_at = now
        self._passed_since = 0
        return self.limit.refused(now, trial.sent_at, told_s, 1.0, trial.entry)

    def stop(self, cause: Cause, now: float) -> None:
        """Send nothing more; the first cause stays."""
        if self.cause is None:
            self.cause = cause
            self._ended_at = now

    def _land(self, trial: Trial, now: float, end: End) -> None:
        self.in_flight -= 1
        trial.ended_at = now
        trial.end = end

    def _end_if_due(self, now: float) -> None:
        sent = len(self.trials)
        if self.part is not Part.LEARN:
            if sent >= self.settings.ramp_requests:
                self.stop("requests", now)
        elif sent >= self.settings.max_requests:
            self.stop("requests", now)
        elif now >= self._learn_until:
            self.stop("time", now)
        elif self._is_settled(now):
            self.stop("learnt", now)

    def _is_settled(self, now: float) -> bool:
        if self.limit.phase not in (Phase.CRUISE, Phase.PROBE) or now - self._refused_at < SETTLED_S:
            return False
        return self._passed_since >= SETTLED_REQUESTS

    def _next_of_burst(self, now: float) -> Next:
        if len(self.trials) < self.settings.burst:
            return Go()
        if self.in_flight and now < self._burst_at + BURST_WAIT_S:
            return Wait(self._burst_at + BURST_WAIT_S)
        self.part = Part.RAMP
        self._step_at = self._due = now
        return Go()

    def _next_of_ramp(self, now: float) -> Next:
        if now >= self._step_at + self.settings.step_s(self.step):
            self._step_at = now
            self.step += 1
            last = self.trials[-1].sent_at
            self._due = max(now, last + 1.0 / self.settings.pace(self.step))
        return Go() if now >= self._due - 1e-9 else Wait(self._due)
