"""Find a limit that nobody has told, use it, and notice when it changes; from sends and refusals alone."""

from __future__ import annotations

from typing import assert_never

from wingbeat.ledgers.history import History
from wingbeat.ledgers.hold import Hold
from wingbeat.ledgers.lesson import CAUTION, Climb, Episode, Keep, Lesson, Measure, Phase, first_lesson, lesson
from wingbeat.ledgers.rate import JITTER_S
from wingbeat.ledgers.window import Entry, WindowLedger
from wingbeat.model.limit import MINUTE_S, Enforcement, LearntLimit

BANK_S = 0.25
"""Seconds of unused pace that may be made good while it is not known over how short a span the limit is enforced."""

DOUBLING_S = (4.0, 10.0)
"""Shortest and longest stage of `Phase.MEASURE`; it lasts for four requests, within these."""

CLIMB_DOUBLES_S = 60.0
"""Seconds in which a climb doubles its rate: a window, so that a window's limit is overshot by half at most."""

PROBE_S = 75.0
"""Length of a probe: longer than a window, or a window's limit would not be noticed."""

FIRST_GAIN, LEAST_GAIN, MOST_GAIN = 0.05, 0.04, 0.5
"""How much more a probe tries: doubled when it passes, halved when it is refused."""

REFUSED_BY_PROBES = 0.003
"""Part of all requests that failed probes may cost; it sets how often is probed."""

PROBE_EVERY_S = (60.0, 3600.0)

FIRST_PROBE_S = 300.0
"""The longest wait for a probe while one window only has shown its volume: others may have used a part of it."""

CLIMB_COSTS = 0.005
CLIMB_WITHIN_S = 600.0
"""A climb that is not worth one refusal within so long (a limit of 20 a minute or less) is left to later probes."""

EXACT_REQUESTS = 200
"""A volume of fewer requests is taken as it was counted; of a larger one half a percent is left, as requests under way
blur the count."""

START_REQUESTS = 10
"""So many requests of a small job go at once under a limit that may be enforced over short spans."""

BUCKET_S = 3.0
"""A service that saves up less than so many seconds of its limit is told apart as one that enforces a rate."""

SLOW_REFUSAL_S = 1.0
"""A service whose refusals take longer is approached more gently: all that is under way meanwhile will be refused."""

_NEVER = float("inf")


class LearningLimit:
    """
    Keep within a limit of unknown value: free until the first refusal, then as refusals teach.

    After a refusal everything waits, and one lone request asks whether it is over: after the wait that the service
    told, or after waits of its own. The circumstances give a `Lesson`. From then on requests go at an even rate, and
    now and then a probe tries more. Time in which nobody wanted to send is not counted: what was not tried proves
    nothing.

    The rules were found by running them against servers of many kinds (``benchmarks/quota``).

    Args:
        name: What is limited: ``requests``, ``input_tokens`` or ``output_tokens``.
        window_s: Seconds over which volumes are counted. A limit with a shorter window shows itself by its rate.
    """

    __slots__ = (
        "_account",
        "_base",
        "_bursts",
        "_debt_until",
        "_epoch",
        "_first_at",
        "_first_volume",
        "_gain",
        "_history",
        "_hold",
        "_is_windowed",
        "_last_began",
        "_last_volume",
        "_pace_at_refusal",
        "_phase",
        "_phase_since",
        "_probe_cost",
        "_probe_next",
        "_rate",
        "_refusal_s",
        "_request_units",
        "_resumed_at",
        "_sent_at",
        "_stage_s",
        "_volume",
        "_window_rate",
        "_windows_seen",
        "name",
        "window_s",
    )

    def __init__(self, name: str, window_s: float = MINUTE_S) -> None:
        self.name = name
        self.window_s = window_s
        self._history = History()
        self._first_at: float | None = None
        self._sent_at = 0.0
        self._request_units = 1.0
        self._refusal_s = 0.3
        # What is kept to.
        self._phase = Phase.FREE
        self._phase_since = 0.0
        self._stage_s = DOUBLING_S[0]
        self._rate = self._base = _NEVER
        self._debt_until = -_NEVER
        self._volume: float | None = None
        self._account: WindowLedger | None = None
        # The refusal under way.
        self._hold: Hold | None = None
        self._epoch = -_NEVER
        self._pace_at_refusal = 0.0
        self._resumed_at = -_NEVER
        # What earlier refusals taught.
        self._first_volume: tuple[float, float] | None = None
        self._last_began = -_NEVER
        self._last_volume: float | None = None
        self._window_rate = 0.0
        self._is_windowed = False
        self._windows_seen = 0
        self._gain = FIRST_GAIN
        self._probe_next = _NEVER
        self._probe_cost = 2.0
        self._bursts = False

    def __repr__(self) -> str:
        rate = "∞" if self._rate == _NEVER else f"{self._rate * self.window_s:.4g}"
        return f"<LearningLimit {self.name} {self.phase.value} {rate} in {self.window_s:g} s>"

    @property
    def phase(self) -> Phase:
        """What the limit is doing."""
        return self._phase if self._hold is None else Phase.HOLD

    @property
    def request_units(self) -> float:
        """Mean units of a request."""
        return self._request_units

    @property
    def is_free(self) -> bool:
        """True while nothing has been refused."""
        return self._phase is Phase.FREE and self._hold is None

    @property
    def per_window(self) -> float | None:
        """Units that are kept to in a window, or None while nothing is limited."""
        return None if self._rate == _NEVER else self._rate * self.window_s

    def learnt(self) -> LearntLimit | None:
        """Return what is known of the limit, or None while nothing has been refused or it is still being measured."""
        if self._rate == _NEVER or self._phase is Phase.MEASURE:
            return None
        limit = self._rate * self.window_s / CAUTION
        if self._is_windowed and self._volume is not None:
            limit = min(self._volume, limit)
        return LearntLimit(self.name, limit, self.window_s, self._enforcement(), "measured")

    def _enforcement(self) -> Enforcement:
        """Return how the limit is enforced, as far as refusals show."""
        if self._is_windowed:
            return "window"
        if self._first_volume is None or self._rate == _NEVER:
            return "unknown"
        # What passed before the first refusal beyond the rate found later was saved up in a bucket.
        units, seconds = self._first_volume
        saved_up = units - self._rate * seconds
        return "bucket" if saved_up > BUCKET_S * self._rate else "rate"

    def adopt(self, limit: float, enforcement: Enforcement = "unknown") -> None:
        """Start from a limit that was learnt before: keep to it, and probe soon whether it still holds."""
        self._bursts = enforcement in ("window", "bucket")
        self._drop_account()
        self._volume = limit
        self._account = WindowLedger(limit, self.window_s + JITTER_S)
        self._phase = Phase.CRUISE
        self._rate = self._base = CAUTION * limit / self.window_s

    def passed(self, start: float, end: float) -> float:
        """Return the units let through after ``start`` and not after ``end``."""
        return self._history.between(start, end)

    def recall(self, then: float, units: float, requests: float) -> None:
        """Count what another process has sent at an earlier time: so many requests together."""
        self.commit(then, units)
        self._request_units = units / max(1.0, requests)

    def forget(self) -> None:
        """Limit nothing any more, as the limit has become known; what was let through is remembered."""
        self._phase = Phase.FREE
        self._hold = None
        self._rate = self._base = _NEVER
        self._drop_account()
        self._epoch = self._last_began = -_NEVER
        self._is_windowed = False

    def ready_at(self, now: float, cost: float) -> float:
        """Return when a request of ``cost`` units may go: ``now``, or later."""
        hold = self._hold
        if hold is not None:
            passed_at = hold.passed_at(now, self._refusal_s)
            if passed_at is None:
                return hold.ready_at(now, self._refusal_s)
            self._resume(hold, passed_at)
        if self._phase is Phase.FREE:
            return now
        if self._phase is Phase.CRUISE and now >= self._probe_next:
            self._start_probe(now)
        elif self._phase is Phase.PROBE and now >= self._phase_since + PROBE_S:
            self._pass_probe(now)
        due = max(now, self._debt_until)
        account = self._account
        if account is None:
            return due
        if self._phase is Phase.CLIMB and self._volume is not None:
            account.limit = max(self._volume, self._pace(now) * self.window_s)
        return max(due, account.earliest(now, min(cost, account.limit)))

    def commit(self, now: float, cost: float, *, burst: bool = False) -> Entry | None:
        """Count a request as sent at ``now``; one of a small job may use pace saved up in half a window."""
        if self._first_at is None:
            self._first_at = now
            self._request_units = max(cost, 1e-9)
            if self._phase is Phase.CRUISE:
                self._probe_next = now + PROBE_EVERY_S[0]
        self._request_units += 0.01 * (cost - self._request_units)
        self._history.add(now, cost)
        if self._hold is not None:
            self._hold.ask(now)
        elif self._phase is not Phase.FREE:
            if -_NEVER < self._debt_until < now - BANK_S:
                # Nobody wanted to send meanwhile, or something else was in the way: it proves nothing.
                self._phase_since += now - self._sent_at
            pace = self._pace(now)
            bank_s = self._saved_up_s(pace) if burst and self._phase is Phase.CRUISE else BANK_S
            self._debt_until = max(self._debt_until, now - bank_s) + cost / pace
        self._sent_at = now
        return None if self._account is None else self._account.commit(now, cost)

    def _saved_up_s(self, pace: float) -> float:
        """Return the seconds of pace that a small job may use at once: ten requests' where no more is known to pass."""
        if self._bursts:
            return self.window_s / 2
        return max(BANK_S, min(self.window_s / 2, START_REQUESTS * self._request_units / pace))

    def settle(self, entry: Entry | None, difference: float) -> None:
        """Correct the units of an earlier `commit` once the true ones are known."""
        if entry is not None and self._account is not None:
            self._account.settle(entry, difference)
        if self._phase is not Phase.FREE:
            self._debt_until += difference / self._rate

    def correct(self, sent_at: float, difference: float) -> None:
        """Correct the evidence: a request sent then took so many more units than was counted."""
        self._history.remove(sent_at, -difference)

    def accepted(self, sent_at: float) -> None:
        """Take the answer of a request sent at ``sent_at``."""
        if self._hold is not None:
            passed_at = self._hold.answered_at(sent_at)
            if passed_at is not None:
                self._resume(self._hold, passed_at)

    def is_new(self, sent_at: float) -> bool:
        """True when the refusal of a request sent then would be news."""
        return self._hold is None and sent_at > self._epoch

    def refused(self, now: float, sent_at: float, told_s: float | None, cost: float, entry: Entry | None) -> float:
        """
        Take a refusal of this limit.

        Args:
            now: When it arrived.
            sent_at: When the request was sent. Refusals of requests sent before the last pause began are no news.
            told_s: Seconds that the service asked to wait, or None.
            cost: Units of the refused request.
            entry: What `commit` returned for it.

        Returns:
            Seconds for which nothing will go.
        """
        self._history.remove(sent_at, cost)
        if entry is not None and self._account is not None:
            self._account.settle(entry, -cost)
        self._refusal_s = max(0.9 * self._refusal_s, now - sent_at, 0.05)
        if self._hold is not None:
            self._hold.refused(now, sent_at, told_s)
        elif sent_at > self._epoch:
            pace = self._pace_at_refusal = 0.0 if self._rate == _NEVER else self._pace(sent_at)
            # Refused at once after a told wait: the next ones are asked about.
            is_news = sent_at - self._resumed_at > 2 * self._refusal_s + 1.0
            request_s = self._request_units / pace if pace else 0.0
            self._hold = Hold(now, sent_at, told_s, request_s, units=cost, is_believed=is_news and pace > 0)
            self._epoch = now
        return 0.0 if self._hold is None else max(0.0, self._hold.until - now)

    def _pace(self, now: float) -> float:
        """Return the units a second of the phase."""
        elapsed_s = max(0.0, now - self._phase_since)
        if self._phase is Phase.MEASURE:
            growth = 2.0 if self._refusal_s < SLOW_REFUSAL_S else 1.4
            stages = min(elapsed_s // self._stage_s, 40.0)
            return self._rate * float(growth**stages)
        if self._phase is Phase.CLIMB:
            doubling_s = max(CLIMB_DOUBLES_S, 40 * self._refusal_s)
            return self._rate * float(2.0 ** min(elapsed_s / doubling_s, 40.0))
        if self._phase is Phase.PROBE:
            return self._base * (1 + self._gain)
        return self._rate

    def _resume(self, hold: Hold, passed_at: float) -> None:
        """Go on after a refusal: ``passed_at`` is when the first request was sent that passed again."""
        began, phase, history = hold.refused_at, self._phase, self._history
        volume = history.between(began - self.window_s, began)
        since_last_s = began - self._last_began
        episode = Episode(
            phase=phase,
            pace=self._pace_at_refusal,
            base=self._base if phase is Phase.PROBE else self._pace_at_refusal,
            blocked_s=passed_at - began,
            volume=volume,
            window_volume=history.between(hold.ended_at(passed_at) - self.window_s - 2 * JITTER_S, began) or volume,
            since_last=history.between(self._last_began, began) if since_last_s < 4 * self.window_s else None,
            since_last_s=since_last_s,
            last_volume=self._last_volume,
            phase_units=history.between(self._phase_since, began),
            refused_units=hold.units,
            refusals=hold.refusals,
            request_units=self._request_units,
            window_s=self.window_s,
        )
        if phase is Phase.PROBE:
            self._probe_cost += 0.3 * (hold.refusals - self._probe_cost)
            self._gain = max(LEAST_GAIN, self._gain / 2)
            self._windows_seen += 1  # a probe that failed confirms what was measured
        if phase is Phase.FREE:
            before_s = began - (began if self._first_at is None else self._first_at)
            self._first_volume = (history.between(-_NEVER, began), before_s)
            learnt = first_lesson(episode, before_s, history.between(began - 3.0, began) / 3.0)
        else:
            learnt = lesson(episode, self._window_rate, is_windowed=self._is_windowed)
        if episode.is_blocked:
            self._is_windowed = True
            self._windows_seen += 1
            self._window_rate = CAUTION * episode.window_volume / self.window_s
        self._last_began = began
        self._last_volume = volume
        self._hold = None
        self._resumed_at = passed_at
        self._take(learnt, passed_at)

    def _take(self, learnt: Lesson, now: float) -> None:
        """Act on a lesson."""
        match learnt:
            case Keep(rate, volume):
                self._limit_volume(volume, now)
                self._keep(now, rate)
            case Climb(rate, volume):
                self._limit_volume(volume, now)
                requests = CLIMB_COSTS * CLIMB_WITHIN_S * rate / self._request_units
                if volume is not None and requests < 1:
                    self._keep(now, rate)
                else:
                    if volume is None:
                        self._drop_account()
                    self._start(Phase.CLIMB, now, rate)
            case Measure(rate):
                self._drop_account()
                self._stage_s = min(DOUBLING_S[1], max(DOUBLING_S[0], 4 * self._request_units / rate))
                self._start(Phase.MEASURE, now, rate)
            case never:
                assert_never(never)

    def _start(self, phase: Phase, now: float, rate: float) -> None:
        self._phase = phase
        self._phase_since = now
        self._rate = self._base = max(rate, self._request_units / (2 * self.window_s))
        self._debt_until = now + self._request_units / self._rate

    def _keep(self, now: float, rate: float) -> None:
        self._start(Phase.CRUISE, now, rate)
        per_request = REFUSED_BY_PROBES * self._rate / self._request_units
        shortest_s, longest_s = PROBE_EVERY_S
        if self._is_windowed and self._windows_seen < 2:
            longest_s = FIRST_PROBE_S
        self._probe_next = now + min(longest_s, max(shortest_s, self._probe_cost / per_request))

    def _start_probe(self, now: float) -> None:
        self._phase = Phase.PROBE
        self._phase_since = now
        self._base = self._rate
        self._widen()

    def _pass_probe(self, now: float) -> None:
        """Keep to what a whole probe has shown to be allowed, and try more at once."""
        self._rate = self._base = self._base * (1 + self._gain)
        self._gain = min(MOST_GAIN, 2 * self._gain)
        self._phase_since = now
        self._widen()

    def _widen(self) -> None:
        """Let the account allow what a probe tries."""
        if self._account is not None:
            most = self._base * (1 + self._gain) * (self.window_s + JITTER_S) + self._request_units
            self._account.limit = max(self._account.limit, most)

    def _limit_volume(self, volume: float | None, now: float) -> None:
        """Let no window take more than a volume that was measured."""
        if volume is None:
            return
        exact = volume < EXACT_REQUESTS * self._request_units
        self._volume = max(self._request_units, volume if exact else 0.995 * volume)
        self._open_account(now)

    def _drop_account(self) -> None:
        if self._account is not None:
            self._account.close()
        self._volume = self._account = None

    def _open_account(self, now: float) -> None:
        assert self._volume is not None
        if self._account is not None:
            self._account.limit = self._volume
            return
        self._account = WindowLedger(self._volume, self.window_s + JITTER_S)
        for time, units in self._history:
            if time > now - self.window_s - JITTER_S:
                self._account.commit(time, units)
