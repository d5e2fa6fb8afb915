"""What a span of answers says of a service: how fast one of its slots works, and how long a request waits for one."""

from __future__ import annotations

from math import sqrt

import msgspec

LEAST_ANSWERS = 20
"""Fewer answers than this say little of anything."""

FADING = 0.7
"""Weight of earlier answers where circumstances have not changed; about three spans count."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """
    Latency as a straight line over the length of the answer, fitted to some answers.

    The line is what tells waiting from writing: an answer ten times as long takes ten times as long on an idle server
    too, and chance in the lengths, which is large, does not move the line.

    Args:
        limit: Requests in flight meanwhile.
        length: Mean length of the answers.
        slowest_s: Longest latency.
        middle: Length that the line is surest of.
        middle_s: Latency there.
        slope_s: Seconds that each unit of length adds.
        error_s: Standard error of ``middle_s``.
        slope_error_s: Standard error of ``slope_s``.
        first_s: Mean time to the first token and its standard error, where they were measured.
        has_line: Whether lengths are known and differ.
    """

    limit: float
    length: float
    slowest_s: float
    middle: float
    middle_s: float
    slope_s: float
    error_s: float
    slope_error_s: float
    first_s: tuple[float, float] | None
    has_line: bool

    def latency_s(self, length: float) -> tuple[float, float]:
        """Return the latency of an answer of a length, and its standard error."""
        apart = length - self.middle
        latency_s = self.middle_s + self.slope_s * apart
        return max(latency_s, 0.05 * self.middle_s, 1e-9), sqrt(self.error_s**2 + (apart * self.slope_error_s) ** 2)

    def wait_s(self) -> tuple[float, float] | None:
        """
        Return how long a request waits for its first token, and the standard error; None when that can't be told.

        Where nobody measured it, it is the latency that the line gives an answer of no length.
        """
        if self.first_s is not None:
            return self.first_s
        if not self.has_line:
            return None
        error_s = sqrt(self.error_s**2 + (self.middle * self.slope_error_s) ** 2)
        return self.middle_s - self.slope_s * self.middle, error_s


class Sample:
    """
    Answers on their way to a `Reading`: sums only.

    The line is fitted by least squares, each answer weighted by how surely it lies near the line: what varies in a
    long answer varies in proportion to its length.

    Args:
        now: Time.
        usual: Usual length of an answer.
    """

    __slots__ = (
        "_firsts",
        "_firsts_s",
        "_firsts_square",
        "_lengths",
        "_rows",
        "_slowest_s",
        "_usual",
        "_w",
        "_wx",
        "_wxx",
        "_wxy",
        "_wy",
        "_wyy",
        "answers",
        "started_at",
        "used",
    )

    _SUMS = tuple(name for name in __slots__ if name not in ("_rows", "_slowest_s", "_usual", "started_at"))

    def __init__(self, now: float, usual: float) -> None:
        self.started_at = now
        self.answers = 0.0
        self.used = 0.0
        self._rows: list[tuple[float, float]] = []
        self._usual = usual
        self._slowest_s = self._lengths = 0.0
        self._w = self._wx = self._wy = self._wxx = self._wxy = self._wyy = 0.0
        self._firsts = self._firsts_s = self._firsts_square = 0.0

    def __repr__(self) -> str:
        return f"<Sample of {self.answers:.0f} answers>"

    @property
    def middle_s(self) -> float:
        """Latency that the line is surest of."""
        self._fold()
        return self._wy / self._w

    def add(self, latency_s: float, length: float, first_s: float | None, is_used: bool) -> None:
        """Take one answer; ``is_used`` says whether the limit was in use then."""
        self.answers += 1.0
        if is_used:
            self.used += 1.0
        self._rows.append((latency_s, length))
        if first_s is not None:
            self._firsts += 1.0
            self._firsts_s += first_s
            self._firsts_square += first_s * first_s

    def _fold(self) -> None:
        """Add what was taken since the last time to the sums: together it costs a quarter of one by one."""
        usual = self._usual
        lengths = w = wx = wy = wxx = wxy = wyy = 0.0
        for latency_s, length in self._rows:
            weight = 1.0 / (usual + length)
            weight *= weight
            x, y = weight * length, weight * latency_s
            lengths += length
            w += weight
            wx += x
            wy += y
            wxx += x * length
            wxy += x * latency_s
            wyy += y * latency_s
        if self._rows:
            self._slowest_s = max(self._slowest_s, max(self._rows)[0])
        self._rows.clear()
        self._lengths += lengths
        self._w += w
        self._wx += wx
        self._wy += wy
        self._wxx += wxx
        self._wxy += wxy
        self._wyy += wyy

    def add_faded(self, earlier: Sample) -> None:
        """Add earlier answers of the same circumstances, for less."""
        self._fold()
        earlier._fold()
        for name in self._SUMS:
            setattr(self, name, getattr(self, name) + FADING * getattr(earlier, name))

    def reading(self, limit: float) -> Reading:
        """Fit the line to what was taken."""
        self._fold()
        total, number = self._w, self.answers
        middle, middle_s = self._wx / total, self._wy / total
        spread = self._wxx - total * middle * middle
        has_line = spread > 1e-6 * self._wxx
        product = self._wxy - total * middle * middle_s
        slope_s = max(0.0, product / spread) if has_line else 0.0
        left = max(0.0, self._wyy - total * middle_s * middle_s - slope_s * product) / max(1.0, number - 2.0)
        return Reading(
            limit=limit,
            length=self._lengths / number,
            slowest_s=self._slowest_s,
            middle=middle,
            middle_s=middle_s,
            slope_s=slope_s,
            error_s=sqrt(left / total),
            slope_error_s=sqrt(left / spread) if has_line else 0.0,
            first_s=self._first_s(),
            has_line=has_line,
        )

    def _first_s(self) -> tuple[float, float] | None:
        number = self._firsts
        if number < LEAST_ANSWERS:
            return None
        mean_s = self._firsts_s / number
        return mean_s, sqrt(max(0.0, self._firsts_square / number - mean_s * mean_s) / number)
