"""How much a run may use."""

from __future__ import annotations

import msgspec

from wingbeat.errors import ConfigurationError
from wingbeat.ledgers.retry import DEFAULT_MAX_ATTEMPTS

DEFAULT_TIMEOUT_S = 300.0
"""Longest wait for one reply. Thinking models are silent for minutes; the service's own cut is at 600 s."""

DEFAULT_CONCURRENCY = 64
"""Most requests in flight when no rate limit is known."""

MOST_CONCURRENCY = 2000
"""Most requests in flight by default when a rate limit is known: a minute's quota, if that is less."""

MOST_LANES = 100_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much a run may use at once, by the minute, by the day, and in all. None means: not limited, not known.

    Args:
        rpm: Most requests a minute.
        tpm: Most input tokens a minute.
        rpd: Most requests a day, counted from the start of the run.
        concurrency: Most requests in flight. By default 64, or a minute's quota when ``rpm`` is given (2,000 at most).
        lanes: Most records carried at once; a lane that backs off holds no slot, so lanes may outnumber slots.
            By default as many as ``concurrency``.
        max_cost: Most US dollars.
        timeout_s: Longest wait for one reply, in seconds.
        record_timeout_s: Longest time from a record's first request to its outcome, in seconds.
        max_attempts: Most requests for one record; refusals for quota do not count.
    """

    rpm: float | None = None
    tpm: float | None = None
    rpd: float | None = None
    concurrency: int | None = None
    lanes: int | None = None
    max_cost: float | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    record_timeout_s: float | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "rpd", "max_cost", "timeout_s", "record_timeout_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e15:
                raise ConfigurationError(f"{name} must be above zero, not {value!r}")
        for name in ("concurrency", "lanes", "max_attempts"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST_LANES:
                raise ConfigurationError(f"{name} must be from 1 to {MOST_LANES:,}, not {value!r}")

    @property
    def most_in_flight(self) -> int:
        """Most requests in flight."""
        if self.concurrency is not None:
            return self.concurrency
        if self.rpm is None:
            return DEFAULT_CONCURRENCY
        return int(min(MOST_CONCURRENCY, max(8, self.rpm)))

    @property
    def most_lanes(self) -> int:
        """Most records carried at once."""
        return max(self.lanes or 0, self.most_in_flight)
