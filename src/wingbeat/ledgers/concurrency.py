"""How many requests may be in flight at once: what the user said, or what the service turns out to bear."""

from __future__ import annotations

from typing import Literal

from wingbeat.ledgers.knee import Knee

START = 10
"""Requests in flight at first where nothing is known: a small job never waits, and hardly any service minds."""

CUT = 0.7
"""What is left of the requests in flight when the service is overloaded. TCP's CUBIC (RFC 9438) and botocore's
adaptive mode cut so."""

OVERLOADED = 0.05
"""Part of the last fifty requests that has to fail before the limit is cut. A service that fails one in a hundred is
not overloaded by us, and half the speed would not help it."""

_EACH = 0.02

EPOCH_S = (1.0, 10.0)
"""After a cut no other follows for one mean latency, but for so many seconds at least and at most."""

REGROWTH = 0.9
"""Up to nine tenths of what was in flight before the overload, every answer lets one more go; beyond it, slowly."""

SLOW_REGROWTH = 0.1
"""What an answer adds from there on: ten answers for one request more, so that the limit doubles in seven latencies."""

DEFAULT_TIMEOUT_S = 300.0


class Concurrency:
    """
    Let at most ``limit`` requests be in flight; lower the limit when the service is overloaded, and raise it again.

    A fixed limit starts at once where the user wants it, and never goes above. A limit to be found starts at ten and
    seeks the service's knee (`Knee`), until a refusal for quota shows that a rate limit rules: from then on it grows
    slowly, and only where it would itself be in the way.

    Args:
        ceiling: Most requests at once; at least 1.
        start: Requests at once at first, where the limit is to be found; None when the ceiling is the limit.
        timeout_s: Longest wait for a reply.
    """

    __slots__ = (
        "_cut_at",
        "_failing",
        "_is_full",
        "_knee",
        "_mean_s",
        "_regrow_to",
        "_seen",
        "_size",
        "ceiling",
        "in_flight",
        "limit",
        "peak",
        "quota_rules",
    )

    def __init__(self, ceiling: int, *, start: int | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        if ceiling < 1:
            raise ValueError(f"the concurrency must be at least 1, not {ceiling!r}")
        if start is not None and start < 1:
            raise ValueError(f"the concurrency must start at 1 at least, not at {start!r}")
        self.ceiling = ceiling
        self.in_flight = 0
        self.peak = 0
        self.quota_rules = False
        self.limit = ceiling if start is None else min(start, ceiling)
        self._knee = None if start is None or start >= ceiling else Knee(self.limit, ceiling, timeout_s)
        self._size = float(self.limit)
        self._seen = 0
        self._mean_s = 0.0
        self._failing = 0.0
        self._cut_at: float | None = None
        self._regrow_to: float | None = None

    def __repr__(self) -> str:
        state = self.state
        return f"<Concurrency {self.in_flight}/{self.limit}{'' if state == 'fixed' else f', {state}'}>"

    @property
    def state(self) -> Literal["fixed", "ramp", "hold", "regrowing"]:
        """What the limit is doing: staying fixed, ramping up, holding at the knee, or regrowing after an overload."""
        if self._regrow_to is not None:
            return "regrowing"
        return "fixed" if self._knee is None else self._knee.phase.value

    @property
    def is_found(self) -> bool:
        """True when the limit is sought, not given."""
        return self._knee is not None

    @property
    def is_free(self) -> bool:
        """True when one more request may start."""
        return self.in_flight < self.limit

    def take(self) -> None:
        """Count one more request in flight."""
        self.in_flight += 1
        if self.in_flight > self.peak:
            self.peak = self.in_flight

    def give_back(self) -> None:
        """Count one request less in flight."""
        self.in_flight -= 1

    def answered(
        self,
        now: float,
        sent_at: float,
        input_tokens: int = 0,
        output_tokens: int = 0,
        first_token_s: float | None = None,
    ) -> None:
        """
        Take one answer, before its slot is given back.

        Args:
            now: Time of the answer.
            sent_at: Time when the request was sent.
            input_tokens: Tokens of the prompt, or 0 when unknown.
            output_tokens: Tokens of the answer, or 0 when unknown.
            first_token_s: Seconds from sending to the first token, or None when unknown.
        """
        latency_s = now - sent_at
        self._seen += 1
        self._mean_s += (latency_s - self._mean_s) / min(self._seen, 100)
        self._failing -= _EACH * self._failing
        knee = self._knee
        if self._regrow_to is not None:
            self._regrow(now, sent_at)
        elif self.quota_rules:
            # The pace decides how many are in flight: what goodput says of them is its doing, not the service's.
            if self.in_flight >= self.limit:
                self._set(min(float(self.ceiling), self._size + SLOW_REGROWTH))
        elif knee is not None:
            length = output_tokens or 0.1 * input_tokens or 1.0
            knee.answered(now, sent_at, latency_s, length, first_token_s, self.in_flight, self._mean_s)
            if knee.limit != self._size:
                self._set(knee.limit)

    def overloaded(self, now: float, sent_at: float) -> None:
        """
        Take one failure by overload (503, 529, a timeout, a lost connection), before its slot is given back.

        Once in a while the limit is cut; requests that were sent before the cut do not count again.
        """
        self._failing += _EACH * (1.0 - self._failing)
        if self._failing < OVERLOADED:
            return
        if self._cut_at is not None:
            least, most = EPOCH_S
            if sent_at < self._cut_at or now - self._cut_at < min(most, max(least, self._mean_s)):
                return
        in_use = min(self._size, float(self.in_flight))
        if self._regrow_to is None or self._size > self._regrow_to:  # else it has not got over the last one yet
            self._regrow_to = max(1.0, REGROWTH * in_use)
        self._cut_at = now
        self._set(max(1.0, CUT * in_use))

    def quota_refused(self, now: float) -> None:
        """Take one refusal for quota, before its slot is given back: a rate limit rules, so the ramp ends here."""
        knee = self._knee
        if knee is None or self.quota_rules:
            return
        self.quota_rules = True
        if self._regrow_to is None:
            self._set(max(float(min(START, self.ceiling)), min(self._size, float(self.in_flight))))
        knee.ramp(now, self._size, is_slow=True)

    def _regrow(self, now: float, sent_at: float) -> None:
        """Grow back after an overload: fast to nearly where it was; then the knee goes on, or a given limit slowly."""
        assert self._regrow_to is not None
        if self._cut_at is not None and sent_at < self._cut_at:
            return
        if self.in_flight < 0.8 * self._size:
            return
        if self._size < self._regrow_to:
            self._set(min(self._regrow_to, self._size + 1.0))
            return
        if self._knee is None:
            self._set(min(float(self.ceiling), self._size + SLOW_REGROWTH))
            if self._size >= self.ceiling:
                self._regrow_to = None
            return
        self._regrow_to = None
        if self.quota_rules:
            self._knee.ramp(now, self._size, is_slow=True)
        else:
            self._knee.hold(self._size, direction=1)

    def _set(self, size: float) -> None:
        self._size = size
        self.limit = max(1, int(size))
