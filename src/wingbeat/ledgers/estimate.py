"""Tokens of a request before it is sent, without a tokenizer: bytes, corrected by what replies report."""

from __future__ import annotations

import math

import msgspec

BYTES_PER_TOKEN = 4.0
"""Start value for ASCII text. Source: the vendors' own rule of thumb of four characters a token."""

OTHER_BYTES_PER_TOKEN = 2.5
"""Start value for the bytes of other scripts."""

MEMORY = 0.99
"""Weight of all earlier replies at each new one: the last hundred or so count."""

LOWEST_RATIO, HIGHEST_RATIO = 0.05, 20.0
"""Bounds of what a script's tokens may be, as multiples of their start values."""

LEAST_RAW_TOKENS, MOST_RAW_TOKENS = 0.2, 1e12
"""Sizes that teach: less than one byte is none, and no request is longer."""

TIE_TOKENS = 50.0
TIE_SHARE = 0.005
"""
How firmly the ratios of the two scripts are held together: as by so many tokens, and by this share of all that were
seen. Without it the few curly quotes of an English text would be given any price that fits the last replies best.
"""

FITTED_EACH = 32
FIT_EVERY = 8
"""The ratios are fitted anew at each of so many first replies, and at one in so many after that, to save time."""

OUTPUT_START_TOKENS = 400.0
ENOUGH_OUTPUTS = 20
"""Answers after which the most output tokens seen replace the start value."""

SURE_OUTPUTS = 30
"""Answers after which their mean alone is expected."""

OUTPUT_MEMORY = 0.02
"""Least weight of a new answer in mean and variance: the last fifty or so count."""

START_SHARE = 0.25
"""Output expected of an allowance of which nothing is known, as a share of it."""


class TextSize(msgspec.Struct, frozen=True, gc=False):
    """
    How much text a request holds.

    Args:
        text_bytes: UTF-8 bytes of all its text.
        other_bytes: How many of these belong to characters outside ASCII.
    """

    text_bytes: int
    other_bytes: int = 0

    @property
    def raw_tokens(self) -> float:
        """The tokens of so much text by the start values."""
        return raw_tokens(self.text_bytes, self.other_bytes)


class TokenEstimator:
    """
    Estimate input tokens from bytes, without bias in their sum once replies have come, for each script apart.

    Tokens are taken for ``a · ASCII bytes + b · other bytes``. ``a`` and ``b`` are fitted to what replies report by
    least squares, each reply weighted by one over its size, and the older the less. With these weights the estimates
    of all that was seen add up to what was reported, however the prompts differ. A long prompt counts no more than
    as many short ones.

    Args of the methods: a size is a `TextSize`, or the bare number of `raw_tokens`, for which both scripts are one.
    """

    __slots__ = (
        "_ascii",
        "_ascii_ratio",
        "_ascii_squared",
        "_both",
        "_other",
        "_other_ratio",
        "_other_squared",
        "_output_mean",
        "_output_most",
        "_output_variance",
        "_outputs",
        "_reported",
        "_reported_ascii",
        "_samples",
    )

    def __init__(self) -> None:
        self._ascii_ratio = 1.0
        self._other_ratio = 1.0
        self._samples = 0
        self._ascii = 0.0
        self._other = 0.0
        self._reported = 0.0
        self._reported_ascii = 0.0
        self._ascii_squared = 0.0
        self._other_squared = 0.0
        self._both = 0.0
        self._output_mean = OUTPUT_START_TOKENS
        self._output_variance = 0.0
        self._output_most = 0.0
        self._outputs = 0

    def __repr__(self) -> str:
        ratios = f"×{self._ascii_ratio:.2f} ASCII, ×{self._other_ratio:.2f} other"
        return f"<TokenEstimator {ratios} after {self._samples} replies>"

    def input_tokens(self, text_bytes: int, other_bytes: int = 0) -> float:
        """
        Estimate the input tokens of a request.

        Args:
            text_bytes: UTF-8 bytes of all its text.
            other_bytes: How many of these belong to characters outside ASCII.
        """
        return self._estimated(*_parts(text_bytes, other_bytes))

    def corrected(self, size: TextSize | float) -> float:
        """Estimate the input tokens of a request of this size by what replies have shown; at least one."""
        if isinstance(size, TextSize):
            return self._estimated(*_parts(size.text_bytes, size.other_bytes))
        return self._estimated(size, 0.0)

    def _estimated(self, ascii_tokens: float, other_tokens: float) -> float:
        tokens = ascii_tokens * self._ascii_ratio + other_tokens * self._other_ratio
        return tokens if tokens > 1.0 else 1.0  # noqa: FURB136 - asked for every request, and `max` is slower

    def observe(self, size: TextSize | float, actual: int, output_tokens: int) -> None:
        """
        Learn from a reply that reports its own tokens.

        Args:
            size: Of the request: never an estimate that was corrected, so that no error is corrected twice.
            actual: Input tokens as reported.
            output_tokens: Output tokens as reported.
        """
        self._observe_output(float(output_tokens))
        if isinstance(size, TextSize):
            ascii_tokens, other_tokens = _parts(size.text_bytes, size.other_bytes)
        else:
            ascii_tokens, other_tokens = size, 0.0
        raw = ascii_tokens + other_tokens
        if actual <= 0 or not LEAST_RAW_TOKENS <= raw <= MOST_RAW_TOKENS:
            return
        samples = self._samples = self._samples + 1
        share = ascii_tokens / raw
        self._ascii = self._ascii * MEMORY + ascii_tokens
        self._other = self._other * MEMORY + other_tokens
        self._reported = self._reported * MEMORY + actual
        self._reported_ascii = self._reported_ascii * MEMORY + share * actual
        self._ascii_squared = self._ascii_squared * MEMORY + share * ascii_tokens
        self._both = self._both * MEMORY + share * other_tokens
        self._other_squared = self._other_squared * MEMORY + (1.0 - share) * other_tokens
        if samples <= FITTED_EACH or samples % FIT_EVERY == 0:
            self._fit()

    def _fit(self) -> None:
        """
        Solve the weighted normal equations.

        With p and q the ASCII and other tokens of a reply by the start values, y those reported, and weight
        w = 1/(p + q), the ratios A and B minimise ``Σ w (y − A p − B q)² + tie · (A − B)²``. The two equations add up
        to ``A Σp + B Σq = Σy``: no bias in the sum, whatever the tie. The determinant is at least
        ``tie · (Σp + Σq)``, so that prompts of one script, or all alike, do no harm.
        """
        total = self._ascii + self._other
        tie = TIE_TOKENS + TIE_SHARE * total
        own_ascii, own_other = self._ascii_squared + tie, self._other_squared + tie
        shared = self._both - tie
        told_ascii = self._reported_ascii
        told_other = self._reported - told_ascii
        determinant = own_ascii * own_other - shared * shared
        ascii_ratio = (told_ascii * own_other - told_other * shared) / determinant
        other_ratio = (told_other * own_ascii - told_ascii * shared) / determinant
        # A ratio that can't be is replaced by the nearest that can, and the other one takes up the rest of the sum.
        if not LOWEST_RATIO <= other_ratio <= HIGHEST_RATIO:
            other_ratio = _bounded(other_ratio)
            if self._ascii > 0:
                ascii_ratio = (self._reported - other_ratio * self._other) / self._ascii
        elif not LOWEST_RATIO <= ascii_ratio <= HIGHEST_RATIO and self._other > 0:
            other_ratio = (self._reported - _bounded(ascii_ratio) * self._ascii) / self._other
        self._ascii_ratio = _bounded(ascii_ratio)
        self._other_ratio = _bounded(other_ratio)

    def _observe_output(self, tokens: float) -> None:
        if tokens < 0.0:
            tokens = 0.0
        self._outputs += 1
        if tokens > self._output_most:
            self._output_most = tokens
        weight = 1.0 / self._outputs if self._outputs < 1.0 / OUTPUT_MEMORY else OUTPUT_MEMORY
        difference = tokens - self._output_mean
        self._output_mean += weight * difference
        if self._outputs > 1:
            self._output_variance = (1.0 - weight) * (self._output_variance + weight * difference * difference)

    def expected_output(self, max_output_tokens: int | None, in_flight: int = 1) -> float:
        """
        Return the output tokens to reserve for a request, so that all in flight together rarely take more.

        The mean of what came, once thirty answers have. Before that, three standard deviations are added, shared out
        among the requests in flight, since their sum strays less than each of them. With fewer than two answers the
        deviation is taken to be the mean.

        Args:
            max_output_tokens: The request's own limit, which is never passed, or None.
            in_flight: Requests in flight, this one included.
        """
        mean = self._output_mean
        if not self._outputs and max_output_tokens is not None:
            mean = START_SHARE * max_output_tokens
        if self._outputs < SURE_OUTPUTS:
            deviation = math.sqrt(self._output_variance) if self._outputs > 1 else mean
            mean += 3.0 * deviation / math.sqrt(max(1, in_flight))
        return mean if max_output_tokens is None else min(mean, float(max_output_tokens))

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
    ascii_tokens, other_tokens = _parts(text_bytes, other_bytes)
    return ascii_tokens + other_tokens


def _parts(text_bytes: int, other_bytes: int) -> tuple[float, float]:
    """Return the tokens of ASCII and of other text by the start values."""
    if other_bytes <= 0:
        return (text_bytes / BYTES_PER_TOKEN if text_bytes > 0 else 0.0), 0.0
    ascii_bytes = text_bytes - other_bytes if text_bytes > other_bytes else 0
    return ascii_bytes / BYTES_PER_TOKEN, other_bytes / OTHER_BYTES_PER_TOKEN


def _bounded(ratio: float) -> float:
    return min(HIGHEST_RATIO, max(LOWEST_RATIO, ratio))
