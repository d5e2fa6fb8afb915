"""How much a run may use."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from wingbeat.errors import ConfigurationError
from wingbeat.ledgers.quota import Quota
from wingbeat.ledgers.retry import DEFAULT_MAX_ATTEMPTS
from wingbeat.model.limit import LearntLimit

DEFAULT_TIMEOUT_S = 300.0
"""Longest wait for one reply. Thinking models are silent for minutes; the service's own cut is at 600 s."""

DEFAULT_CONCURRENCY = 64
"""Room in flight that a rate limit is given at least where only an earlier run has learnt it."""

MOST_CONCURRENCY = 2000
"""Most requests in flight unless the user wants more: each needs a connection."""

MOST_LANES = 100_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """
    How much a run may use at once, by the minute, by the day, and in all. None means: not limited, not known.

    Args:
        rpm: Most requests a minute.
        tpm: Most input tokens a minute.
        otpm: Most output tokens a minute; the expected ones are set aside, and settled with each answer.
        rpd: Most requests a day, counted from the start of the run.
        tpd: Most input tokens a day, counted from the start of the run.
        concurrency: Most requests in flight. By default a minute's quota when ``rpm`` is given (2,000 at most); else it
            is found on the way, from ten up.
        most_concurrency: Highest that a concurrency found on the way may become.
        lanes: Most records carried at once; a lane that backs off holds no slot, so lanes may outnumber slots.
            By default as many as ``concurrency``.
        max_cost: Most US dollars.
        timeout_s: Longest wait for one reply, in seconds.
        record_timeout_s: Longest time from a record's first request to its outcome, in seconds.
        max_attempts: Most requests for one record; refusals for quota do not count.
        hedge: Whether a late request gets a second one beside it, of which the first good answer counts. It costs
            at most a twentieth more; answers then come as streams. Not for `wingbeat.map`.
    """

    rpm: float | None = None
    tpm: float | None = None
    otpm: float | None = None
    rpd: float | None = None
    tpd: float | None = None
    concurrency: int | None = None
    most_concurrency: int = MOST_CONCURRENCY
    lanes: int | None = None
    max_cost: float | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    record_timeout_s: float | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    hedge: bool = False

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "otpm", "rpd", "tpd", "max_cost", "timeout_s", "record_timeout_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e15:
                raise ConfigurationError(f"{name} must be above zero, not {value!r}")
        for name in ("concurrency", "most_concurrency", "lanes", "max_attempts"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST_LANES:
                raise ConfigurationError(f"{name} must be from 1 to {MOST_LANES:,}, not {value!r}")

    @property
    def fixed_in_flight(self) -> int | None:
        """Requests in flight that a run may start with at once, or None when it finds out how many are good."""
        if self.concurrency is not None:
            return self.concurrency
        return None if self.rpm is None else int(min(MOST_CONCURRENCY, max(8, self.rpm)))

    @property
    def most_in_flight(self) -> int:
        """Most requests in flight."""
        return self.most_concurrency if self.fixed_in_flight is None else self.fixed_in_flight

    @property
    def most_ahead(self) -> int:
        """Most outcomes that wait for whoever iterates; with a concurrency still to be found, few."""
        return DEFAULT_CONCURRENCY if self.fixed_in_flight is None else self.most_lanes

    @property
    def most_lanes(self) -> int:
        """Most records carried at once."""
        return max(self.lanes or 0, self.most_in_flight)

    def quota(self, start: Sequence[LearntLimit] = ()) -> Quota:
        """Return the quota that these limits are ceilings of, starting from what was learnt before."""
        return Quota(
            self.rpm,
            self.tpm,
            self.rpd,
            output_tokens_per_minute=self.otpm,
            input_tokens_per_day=self.tpd,
            start=start,
        )
