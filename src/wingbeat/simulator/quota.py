"""Who may be answered now: the limits of each key and model, judged together and charged together."""

from enum import Enum
from math import inf, isinf
from random import Random

import msgspec

from wingbeat.simulator.catalogue import ModelLimits, tiers
from wingbeat.simulator.config import QuotaConfig
from wingbeat.simulator.enforcement import FixedWindow, Meter, SlidingLog, Subsecond, TokenBucket

DAY_S = 86_400.0
SHORT_WAIT_S = (1.0, 60.0)
"""The wait told for a quota that no short wait restores. Source: recorded per-day 429 bodies, 2025: 1 to 60 s."""


class Dimension(Enum):
    """What a limit counts, and over how long."""

    REQUESTS_PER_MINUTE = "requests a minute"
    INPUT_TOKENS_PER_MINUTE = "input tokens a minute"
    REQUESTS_PER_DAY = "requests a day"


class Violation(msgspec.Struct, frozen=True):
    """One limit that a request did not fit."""

    dimension: Dimension
    limit: int


class QuotaRefusal(msgspec.Struct, frozen=True):
    """Every limit that a request did not fit, and the wait which the client is told."""

    violations: tuple[Violation, ...]
    wait_s: float


class SpendingCapRefusal(msgspec.Struct, frozen=True):
    """The key has spent what it may; waiting does not help."""


class _Limit(msgspec.Struct, frozen=True):
    dimension: Dimension
    limit: int
    meter: Meter

    def cost(self, tokens: int) -> int:
        return tokens if self.dimension is Dimension.INPUT_TOKENS_PER_MINUTE else 1


class Quotas:
    """
    Admit a request only if all limits of its key and model have room; then charge them all, else none.

    With `count_refused`, a refused request is charged as well, and the wait told takes that into account.
    """

    def __init__(self, config: QuotaConfig, seed: int, start: float) -> None:
        self._config = config
        self._seed = seed
        self._start = start
        self._limits: dict[tuple[str, str], tuple[_Limit, ...]] = {}
        self._admitted: dict[str, int] = {}
        self._rng = Random(f"short waits:{seed}")

    def judge(self, key: str, model: str, tokens: int, now: float) -> QuotaRefusal | SpendingCapRefusal | None:
        """Charge a request of `tokens` input tokens and return None, or say why it is refused."""
        cap = self._config.spending_cap_after
        if cap is not None and self._admitted.get(key, 0) >= cap:
            return SpendingCapRefusal()
        limits = self._limits.get((key, model))
        if limits is None:
            limits = self._limits[key, model] = self._new_limits(key, model)
        refused = [limit for limit in limits if limit.meter.wait_s(now, limit.cost(tokens)) > 0]
        if not refused or self._config.count_refused:
            for limit in limits:
                limit.meter.debit(now, limit.cost(tokens))
        if not refused:
            if cap is not None:
                self._admitted[key] = self._admitted.get(key, 0) + 1
            return None
        violations = tuple(Violation(limit.dimension, limit.limit) for limit in refused)
        return QuotaRefusal(violations, self._told_wait_s(refused, tokens, now))

    def _told_wait_s(self, refused: list[_Limit], tokens: int, now: float) -> float:
        longest = max(
            inf if limit.dimension is Dimension.REQUESTS_PER_DAY else limit.meter.wait_s(now, limit.cost(tokens))
            for limit in refused
        )
        # A day's quota and a limit that never fits still carry a short wait on the wire; clients must not trust it.
        return self._rng.uniform(*SHORT_WAIT_S) if isinf(longest) else longest

    def _new_limits(self, key: str, model: str) -> tuple[_Limit, ...]:
        config = self._config
        preset = tiers()[config.tier].get(model, ModelLimits()) if config.tier else ModelLimits()
        phase = Random(f"phase:{self._seed}:{key}:{model}").uniform(0, config.window_s)
        day_phase = self._start + (config.day_offset_s or 0.0)
        limits: list[_Limit] = []
        for dimension, given, of_tier in (
            (Dimension.REQUESTS_PER_DAY, config.rpd, preset.rpd),
            (Dimension.REQUESTS_PER_MINUTE, config.rpm, preset.rpm),
            (Dimension.INPUT_TOKENS_PER_MINUTE, config.tpm, preset.tpm),
        ):
            number = of_tier if given is None else given
            if number is None:
                continue
            if dimension is Dimension.REQUESTS_PER_DAY:
                meter: Meter = FixedWindow(number, DAY_S, day_phase)
            else:
                meter = new_meter(config, number, phase)
            limits.append(_Limit(dimension, number, meter))
        return tuple(limits)


def new_meter(config: QuotaConfig, limit: int, phase_s: float) -> Meter:
    """Return a fresh meter of the configured kind."""
    match config.enforcement:
        case "fixed":
            return FixedWindow(limit, config.window_s, phase_s)
        case "sliding":
            return SlidingLog(limit, config.window_s)
        case "bucket":
            return TokenBucket(limit, config.window_s)
        case "subsecond":
            return Subsecond(limit, config.window_s, phase_s)
