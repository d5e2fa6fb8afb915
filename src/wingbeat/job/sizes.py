"""An even sample of an input's row sizes, in the input's order: what a rehearsal needs of a million rows."""

from __future__ import annotations

from array import array
from random import Random

import msgspec

MOST_SIZES = 100_000
"""Rows whose size is kept, at 24 bytes each. A mean over so many is within 0.6 % of the input's own (two standard
errors) even where sizes spread as widely as their mean."""


class RowSize(msgspec.Struct, frozen=True, gc=False):
    """
    What a row asks for.

    Args:
        input_tokens: Estimated input tokens, by `raw_tokens`.
        max_output_tokens: Most tokens of its answer, or None for the model's own limit.
    """

    input_tokens: float
    max_output_tokens: int | None = None


class SizeSample:
    """
    Keep the sizes of at most ``most`` rows, each row of the input with the same chance; all of them if they are fewer.

    Memory is the same for any length. The same input gives the same sample.

    Args:
        most: Most sizes kept.
        seed: Seed of the choice.
    """

    def __init__(self, most: int = MOST_SIZES, seed: int = 0) -> None:
        self.seen = 0
        self.total_tokens = 0.0
        self._most = most
        self._draw = Random(f"sizes:{seed}").random
        self._tokens = array("d")
        self._most_output = array("q")
        self._positions = array("q")

    def __repr__(self) -> str:
        return f"<SizeSample {len(self._tokens):,} of {self.seen:,} rows>"

    def add(self, input_tokens: float, max_output_tokens: int | None) -> None:
        """Take note of the next row."""
        place = self.seen
        self.seen += 1
        self.total_tokens += input_tokens
        most_output = -1 if max_output_tokens is None else max_output_tokens
        if place < self._most:
            self._tokens.append(input_tokens)
            self._most_output.append(most_output)
            self._positions.append(place)
            return
        # Algorithm R: the n-th row is kept with the chance most/n, in the place of one that was kept before.
        chosen = int(self._draw() * self.seen)
        if chosen < self._most:
            self._tokens[chosen] = input_tokens
            self._most_output[chosen] = most_output
            self._positions[chosen] = place

    def rows(self, count: int) -> list[RowSize]:
        """
        Return the sizes of at most ``count`` rows, spread over the input and in its order.

        Where rows are left out, the sizes are scaled (by a per cent or so) until their mean is that of all rows.
        """
        order = sorted(range(len(self._positions)), key=self._positions.__getitem__)
        if count < len(order):
            order = [order[place * len(order) // count] for place in range(count)]
        kept = sum(self._tokens[place] for place in order)
        scale = 1.0
        if len(order) < self.seen and kept:
            scale = self.total_tokens / self.seen / (kept / len(order))
        return [self._row(place, scale) for place in order]

    def _row(self, place: int, scale: float) -> RowSize:
        most_output = self._most_output[place]
        return RowSize(self._tokens[place] * scale, None if most_output < 0 else most_output)
