"""Tokens of a request before it is sent, without a tokenizer: bytes, corrected by what replies report."""

from __future__ import annotations

BYTES_PER_TOKEN = 4.0
"""Start value for ASCII text. Source: the vendors' own rule of thumb of four characters a token."""

OTHER_BYTES_PER_TOKEN = 2.5
"""Start value for the bytes of other scripts."""

MEMORY = 0.98
"""Weight of all earlier replies at each new one: the last fifty or so count."""

LOWEST_RATIO, HIGHEST_RATIO = 0.05, 20.0
OUTPUT_START_TOKENS = 400.0
ENOUGH_OUTPUTS = 20
"""Answers after which the most output tokens seen replace the start value."""


class TokenEstimator:
    """
    Estimate input tokens from bytes, without bias in their sum once replies have come: the tokens that replies
    report, over what was estimated for them, correct the next estimates.
    """

    __slots__ = ("_actual", "_output_mean", "_output_most", "_outputs", "_ratio", "_raw", "_samples")

    def __init__(self) -> None:
        self._ratio = 1.0
        self._samples = 0
        self._raw = 0.0
        self._actual = 0.0
        self._output_mean = OUTPUT_START_TOKENS
        self._output_most = 0.0
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
        return self.corrected(raw_tokens(text_bytes, other_bytes))

    def corrected(self, raw: float) -> float:
        """Correct an estimate made by `raw_tokens` by what replies have shown."""
        tokens = raw * self._ratio
        return max(1.0, tokens)

    def observe(self, raw: float, actual: int, output_tokens: int) -> None:
        """
        Learn from a reply that reports its own tokens.

        Args:
            raw: What `raw_tokens` had said of the request: uncorrected, so that no error is corrected twice.
            actual: Input tokens as reported.
            output_tokens: Output tokens as reported.
        """
        self._outputs += 1
        self._output_most = max(self._output_most, float(output_tokens))
        self._output_mean += (output_tokens - self._output_mean) / min(self._outputs, 50)
        if actual <= 0 or raw <= 0:
            return
        self._samples += 1
        self._raw = self._raw * MEMORY + raw
        self._actual = self._actual * MEMORY + actual
        self._ratio = min(HIGHEST_RATIO, max(LOWEST_RATIO, self._actual / self._raw))

    def most_output_tokens(self, max_output_tokens: int | None) -> float:
        """Return the output tokens to set money aside for: the request's own limit, else the most seen so far."""
        if max_output_tokens is not None:
            return float(max_output_tokens)
        if self._outputs < ENOUGH_OUTPUTS:
            return max(self._output_most, OUTPUT_START_TOKENS)
        return self._output_most

    def output_tokens(self, max_output_tokens: int | None) -> float:
        """Estimate the output tokens of a request: the mean so far, within the request's own limit."""
        if max_output_tokens is None:
            return self._output_mean
        return min(self._output_mean, float(max_output_tokens))


def raw_tokens(text_bytes: int, other_bytes: int) -> float:
    """Return the uncorrected estimate of the tokens in so many bytes."""
    return (text_bytes - other_bytes) / BYTES_PER_TOKEN + other_bytes / OTHER_BYTES_PER_TOKEN
