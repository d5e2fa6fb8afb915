"""Counters of a run, updated by lanes and read by progress, summary and events."""

from __future__ import annotations

from collections import Counter, deque

from wingbeat.model.answer import Outcome


class Statistics:
    """
    Count what a run has done. One object is shared by all lanes of a run; plain attributes, read freely.

    Args:
        rows: Records in the input, or None while unknown.
        already: Records answered by an earlier run.
        total: Counters of a client, to which those of this run are added; or None.

    Attributes:
        answered: Records answered by this run, withheld and shortened ones included.
        failed: Records that ended with an error.
        withheld: Answered records whose answer the service blocked or refused.
        shortened: Answered records cut at the token limit.
        sent: Requests sent.
        refused: Requests refused for quota.
        retried: Requests sent again after a failure.
        hedged: Second requests sent beside late first ones.
        hedges_won: Those of them that answered first.
        hedges_cost: What second requests cost beyond the answers, in US dollars, or in tokens where no price is known.
        answers_cost: What the answers cost in the same unit; counted only while hedging is on.
        in_flight: Requests sent and not yet replied to.
        backing_off: Lanes that wait before they try again.
        peak_in_flight: Most requests in flight at once.
        input_tokens: Input tokens of the answers.
        output_tokens: Output tokens of the answers, thinking included.
        thinking_tokens: Part of ``output_tokens`` spent on thinking.
        cached_tokens: Part of ``input_tokens`` read from the service's cache.
        cost_usd: Price of the answers that have one.
        unpriced: Answers without a known price.
        first_messages: The first message of each kind of failure.
        failures: How often each kind of failure was a record's end.
    """

    RECENT_S = 60.0

    def __init__(self, rows: int | None = None, already: int = 0, total: Statistics | None = None) -> None:
        self._total = total
        self.rows = rows
        self.already = already
        self.answered = 0
        self.failed = 0
        self.withheld = 0
        self.shortened = 0
        self.sent = 0
        self.refused = 0
        self.retried = 0
        self.hedged = 0
        self.hedges_won = 0
        self.hedges_cost = 0.0
        self.answers_cost = 0.0
        self.in_flight = 0
        self.backing_off = 0
        self.peak_in_flight = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.thinking_tokens = 0
        self.cached_tokens = 0
        self.cost_usd = 0.0
        self.unpriced = 0
        self.failures: Counter[str] = Counter()
        self.first_messages: dict[str, str] = {}
        self._recent: deque[tuple[float, int, int]] = deque()
        self._recent_requests = 0
        self._recent_tokens = 0

    def __repr__(self) -> str:
        return f"<Statistics {self.answered} answered, {self.failed} failed, {self.in_flight} in flight>"

    @property
    def done(self) -> int:
        """Records that have an outcome, those of earlier runs included."""
        return self.already + self.answered + self.failed

    @property
    def remaining(self) -> int | None:
        """Records still without an outcome, or None while the input's length is unknown."""
        return None if self.rows is None else max(0, self.rows - self.done)

    @property
    def hedges_share(self) -> float:
        """What second requests have cost, as a part of what the answers cost."""
        return self.hedges_cost / self.answers_cost if self.answers_cost else 0.0

    def count_send(self) -> None:
        """Count one request going out."""
        if self._total is not None:
            self._total.count_send()
        self.sent += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def count_end(self) -> None:
        """Count one request ending, whatever came of it."""
        if self._total is not None:
            self._total.count_end()
        self.in_flight -= 1

    def count_refusal(self) -> None:
        """Count one request refused for quota."""
        if self._total is not None:
            self._total.count_refusal()
        self.refused += 1

    def count_retry(self) -> None:
        """Count one request that is to be sent again after a failure."""
        if self._total is not None:
            self._total.count_retry()
        self.retried += 1

    def count_hedge(self) -> None:
        """Count one second request going out beside a late first one."""
        if self._total is not None:
            self._total.count_hedge()
        self.hedged += 1

    def count_race(self, answer_cost: float, hedge_cost: float, *, hedge_won: bool) -> None:
        """Count what an answer and its hedge, if there was one, have cost."""
        if self._total is not None:
            self._total.count_race(answer_cost, hedge_cost, hedge_won=hedge_won)
        self.answers_cost += answer_cost
        self.hedges_cost += hedge_cost
        self.hedges_won += hedge_won

    def count_reply(self, now: float, input_tokens: int) -> None:
        """Count one request that the service has accepted and answered."""
        if self._total is not None:
            self._total.count_reply(now, input_tokens)
        self._recent_requests += 1
        self._recent_tokens += input_tokens
        recent = self._recent
        if recent and now - recent[-1][0] < 0.25:
            time, requests, tokens = recent[-1]
            recent[-1] = (time, requests + 1, tokens + input_tokens)
        else:
            recent.append((now, 1, input_tokens))

    def count_outcome(self, outcome: Outcome, withheld: bool) -> None:
        """Count a record's end."""
        if self._total is not None:
            self._total.count_outcome(outcome, withheld)
        if outcome.error is not None:
            self.failed += 1
            self.failures[outcome.error.kind] += 1
            self.first_messages.setdefault(outcome.error.kind, outcome.error.message)
            self.cost_usd += outcome.cost_usd or 0.0
            return
        self.answered += 1
        self.withheld += withheld
        self.shortened += outcome.finish_reason == "MAX_TOKENS"
        usage = outcome.usage
        if usage is not None:
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            self.thinking_tokens += usage.thinking_tokens
            self.cached_tokens += usage.cached_tokens
        if outcome.cost_usd is None:
            self.unpriced += 1
        else:
            self.cost_usd += outcome.cost_usd

    def per_minute(self, now: float, started_at: float) -> tuple[float, float]:
        """Return answered requests and their input tokens a minute, over the last minute at most."""
        recent = self._recent
        while recent and now - recent[0][0] > self.RECENT_S:
            _, requests, tokens = recent.popleft()
            self._recent_requests -= requests
            self._recent_tokens -= tokens
        span_s = min(self.RECENT_S, max(1.0, now - started_at))
        return self._recent_requests * 60.0 / span_s, self._recent_tokens * 60.0 / span_s
