"""The price of an answer: tokens times the model's prices, resolved once a run."""

from __future__ import annotations

import msgspec

from wingbeat.model.answer import Usage


class Tier(msgspec.Struct, frozen=True):
    """Another price per million tokens for requests with more than ``above_tokens`` input tokens."""

    above_tokens: int
    usd_per_mtok: float


class TokenPrice(msgspec.Struct, frozen=True):
    """US dollars per million tokens, with the dearer tiers of long requests, lowest first."""

    usd_per_mtok: float
    tiers: tuple[Tier, ...] = ()

    def of(self, tokens: float, input_tokens: float) -> float:
        """Return the price of ``tokens`` within a request of ``input_tokens``."""
        price = self.usd_per_mtok
        for tier in self.tiers:
            if input_tokens > tier.above_tokens:
                price = tier.usd_per_mtok
        return tokens * price / 1e6


class Prices(msgspec.Struct, frozen=True):
    """
    What one model's tokens cost.

    Args:
        input: Price of input tokens.
        output: Price of output tokens, thinking included.
        cached: Price of input tokens read from the cache; that of plain input when not told.
        source: Where the prices come from, with version or date.
    """

    input: TokenPrice
    output: TokenPrice
    cached: TokenPrice | None
    source: str

    def cost_usd(self, usage: Usage) -> float:
        """Return the price of an answer in US dollars."""
        cached = min(usage.cached_tokens, usage.input_tokens) if self.cached is not None else 0
        fresh = usage.input_tokens - cached
        total = self.input.of(fresh, usage.input_tokens) + self.output.of(usage.output_tokens, usage.input_tokens)
        if self.cached is not None and cached:
            total += self.cached.of(cached, usage.input_tokens)
        return total

    def estimate_usd(self, input_tokens: float, output_tokens: float) -> float:
        """Return the price of a request that is still to be sent."""
        return self.input.of(input_tokens, input_tokens) + self.output.of(output_tokens, input_tokens)
