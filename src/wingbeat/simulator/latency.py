"""How long an answer takes: time to the first token, then time for each token."""

from random import Random

import msgspec

from wingbeat.simulator.catalogue import Model
from wingbeat.simulator.config import LatencyConfig
from wingbeat.simulator.dice import Dice

SIGMA = 0.3
"""
Spread of the log-normal noise on a whole answer. Assumed, not fitted.

With the number of tokens it gives a spread of the order of public recordings of gemini-2.5-flash, 2025: median 1.58 s
and 90th percentile 3.4 s in `server-timing`.
"""
COUNT_TOKENS_S = 0.15
"""Assumed; no recording covers it."""


class Timing(msgspec.Struct, frozen=True):
    """The pace of one answer."""

    first_token_s: float
    seconds_per_token: float

    def after(self, tokens: int) -> float:
        """Return the seconds until `tokens` tokens have been produced."""
        return self.first_token_s + tokens * self.seconds_per_token


class Latency:
    """Give each answer its pace. The same prompt always gets the same, unless the configuration asks for jitter."""

    def __init__(self, config: LatencyConfig, seed: int) -> None:
        self._config = config
        self._rng = Random(f"latency:{seed}") if config.jitter else None
        self._constant = None if config.constant_s is None else Timing(config.constant_s, 0.0)

    def timing(self, model: Model, dice: Dice) -> Timing:
        """Return the pace of an answer by `model`; `dice` carries the prompt."""
        if self._constant is not None:
            return self._constant
        noise = dice.log_normal(SIGMA) if self._rng is None else self._rng.lognormvariate(0, SIGMA)
        factor = noise * self._config.scale
        return Timing(model.first_token_s * factor, model.seconds_per_token * factor)

    def count_s(self) -> float:
        """Return the time of a `countTokens` call."""
        return COUNT_TOKENS_S * self._config.scale if self._constant is None else self._constant.first_token_s
