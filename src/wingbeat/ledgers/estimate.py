"""Tokens of a request before it is sent, without a tokenizer: bytes, corrected by what replies report."""

from __future__ import annotations

BYTES_PER_TOKEN = 4.0
"""Start value for ASCII text. Source: the vendors' own rule of thumb of four characters a token."""

OTHER_BYTES_PER_TOKEN = 2.5
"""Start value for the bytes of other scripts."""

LEARNING_RATE = 0.05
OUTPUT_START_TOKENS = 400.0


class TokenEstimator:
    """
    Estimate input tokens from bytes, without bias once replies have come: every reply's own count corrects
    the next estimates.
    """

    __slots__ = ("_output_mean", "_outputs", "_ratio", "_samples")

    def __init__(self) -> None:
        self._ratio = 1.0
        self._samples = 0
        self._output_mean = OUTPUT_START_TOKENS
        self._outputs = 0

    def __repr__(self) -> str:
        return f"<TokenEstimator ×{self._ratio:.2f} after {self._samples} replies>"

    def input_tokens(self, text_bytes: int, other_bytes: int = 0) -> float:
        """
        Estimate the input tokens of a request.

        Args:
            text_bytes: UTF-8 bytes of all its text.
            other_bytes: How many of these belong to characters outside ASCII.
        """
        return max(1.0, raw_tokens(text_bytes, other_bytes) * self._ratio)

    def observe(self, estimated: float, actual: int, output_tokens: int) -> None:
        """Learn from a reply that reports its own tokens; ``estimated`` is what `input_tokens` had said."""
        self._outputs += 1
        self._output_mean += (output_tokens - self._output_mean) / min(self._outputs, 50)
        if actual <= 0 or estimated <= 0:
            return
        self._samples += 1
        rate = max(LEARNING_RATE, 1.0 / (1 + self._samples))
        target = self._ratio * actual / estimated
        self._ratio = min(20.0, max(0.05, self._ratio + rate * (target - self._ratio)))

    def output_tokens(self, max_output_tokens: int | None) -> float:
        """Estimate the output tokens of a request: the mean so far, within the request's own limit."""
        if max_output_tokens is None:
            return self._output_mean
        return min(self._output_mean, float(max_output_tokens))


def raw_tokens(text_bytes: int, other_bytes: int) -> float:
    """Return the uncorrected estimate of the tokens in so many bytes."""
    return (text_bytes - other_bytes) / BYTES_PER_TOKEN + other_bytes / OTHER_BYTES_PER_TOKEN
