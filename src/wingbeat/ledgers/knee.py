"""Where more requests in flight stop giving more: sought by the answers alone, whatever the service is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from math import exp, inf, log, sqrt

from wingbeat.ledgers.backlog import Backlog
from wingbeat.ledgers.reading import LEAST_ANSWERS, Reading, Sample

USED = 0.8
"""Answers count only while so much of the limit is in use: a limit that does not bind teaches nothing. TCP,
Netflix's concurrency-limits and inspect_ai gate their growth in the same way."""

RAMP_LATENCIES = 7.0
RAMP_S = 20.0
"""The ramp doubles the limit in seven mean latencies, in 20 s at most, but lets no answer add more than one."""

SLOW = 3.0
"""How much slower the ramp is where a rate limit does the pacing, and the limit only has to stay out of its way."""

LEAST_GAIN = 0.07
"""Least worth of growth: a tenth more in flight has to give seven thousandths more work. On server C of
``benchmarks/quota``, where more always gives a little more, this keeps 94 to 95 % of the throughput with a p99 latency
of 150 to 190 s; the best fixed number has one of more than 380 s."""

RAMP_GAIN = 0.15
RAMP_SPAN = 1.35
RAMP_REACH = 1.8
"""Growth is judged over readings from limits up to 1.8 times apart, and at least 1.35: over less, chance in the
latencies outweighs what the growth gave. For the same reason the ramp asks for more than trials do: its gain and the
gain's standard error together have to stay above 0.15."""

QUEUED = 0.06
QUEUED_IN_RAMP = 0.1
"""So many of the requests must surely wait in the service's queue to be too many. While ramping the readings are less
sure: an answer begun under a lower limit ran faster."""

QUEUE_GAIN = 0.75
"""What looks like a queue is none while growth still gains so much. Latencies that vary by themselves look like
one, and a ramp that ends too early takes minutes to go on."""

FEW = 64
FEW_GAIN = 0.5
"""With so few in flight a queue has to cost more: of few answers chance is a great part, and one in twenty ramps
against a service without a limit used to end at a dozen for good."""

PLAINLY = 0.2
"""So many waiting during a trial of more are too many even for where the trial began."""

STANDING = 0.03
"""So many may wait: it costs three hundredths of a latency, and the service never runs dry."""

HARDLY = 0.01
"""With even so many waiting, more in flight would only wait too, so it is not tried."""

DEEP_CUT = 0.87
"""Cuts that took an eighth off must have shortened the wait, if what was cut was a queue."""

CHANGED = log(1.25)
"""A service that does a quarter more, or a fifth less, with the same number in flight has another capacity. A trial
alone changes the work by a tenth at most."""

TRIAL = 0.1
LONGEST_TRIAL = 0.2
BOLD_GAIN = 0.5
EPOCHS_BETWEEN_TRIALS = 6
MOST_EPOCHS_BETWEEN_TRIALS = 12
MOST_EPOCHS_A_TRIAL = 4
"""A tenth more or less is tried each six epochs, and each twelve in the end while nothing changes; an epoch is a mean
latency, or a little more where answers are fast. After two good trials whose growth gave at least half its worth the
next is of a fifth. Trials of more overshoot: half more on server B meant seconds of waiting."""

NEAR_TIMEOUT = 0.7
"""The limit does not grow when it has slowed answers down to so much of the longest wait."""


class Phase(Enum):
    """Ramp: grow with the answers until growth gains nothing. Hold: stay, and try a little more or less at times."""

    RAMP = "ramp"
    HOLD = "hold"


class Knee:
    """
    Seek the least limit at which the service does nearly all that it can, and follow it when it moves.

    The work that a service does per second is the limit divided by the latency of an answer of mean length (Little's
    law); the readings tell that latency far more surely than tokens counted per second would.

    *Ramp.* Each answer adds a part of a request. The ramp ends where the work has twice in a row not grown with the
    limit, where a tenth of the requests wait in the service's queue, or near the timeout.

    *Hold.* Now and then a tenth more or less is tried, in turn, less and less often while nothing changes. The limit
    stays at the least that gives nearly as much. When the work at the same limit falls by a fifth, the limit falls in
    the same proportion; when it rises by a quarter, more is tried at once.

    Latency alone decides nothing: long answers are no pressure.

    Args:
        start: Requests in flight at first.
        ceiling: Most requests in flight.
        timeout_s: Longest wait for a reply.
    """

    __slots__ = (
        "_backlog",
        "_calm",
        "_ceiling",
        "_change",
        "_cut",
        "_direction",
        "_gain",
        "_good",
        "_idle",
        "_looks",
        "_needs_all",
        "_path",
        "_quiet",
        "_readings",
        "_reference",
        "_sample",
        "_scale",
        "_since",
        "_step",
        "_strikes",
        "_taken",
        "_timeout_s",
        "_trial",
        "_usual",
        "_wait",
        "limit",
        "phase",
    )

    def __init__(self, start: float, ceiling: float, timeout_s: float) -> None:
        self._ceiling = ceiling
        self._timeout_s = timeout_s
        self._usual: float | None = None
        self._backlog = Backlog()
        self._cut: Reading | None = None
        self._idle: Reading | None = None
        self._sample: Sample | None = None
        self._calm: Sample | None = None
        self._reference: Reading | None = None
        self._since: float | None = None
        self._taken = 0
        self.hold(start, direction=1)
        self.ramp(-inf, start)

    def __repr__(self) -> str:
        return f"<Knee {self.phase.value} at {self.limit:.0f}>"

    def ramp(self, now: float, limit: float, *, is_slow: bool = False) -> None:
        """Grow from a limit on; slowly where somebody else does the pacing."""
        self.phase = Phase.RAMP
        self.limit = limit
        self._scale = SLOW if is_slow else 1.0
        self._gain = 1.0
        self._readings: deque[Reading] = deque(maxlen=32)
        self._path: deque[tuple[float, float]] = deque([(-inf, limit), (now, limit)], maxlen=64)
        self._sample = None
        self._strikes = 0

    def hold(self, limit: float, *, direction: int) -> None:
        """Stay at a limit, and soon try in a direction: 1 is up, -1 is down."""
        self.phase = Phase.HOLD
        self._reference = None
        self._direction = direction
        self._needs_all = False
        self._wait = EPOCHS_BETWEEN_TRIALS
        self._quiet = 2 * self._wait
        self._stay_at(limit)

    def answered(
        self,
        now: float,
        sent_at: float,
        latency_s: float,
        length: float,
        first_s: float | None,
        in_flight: int,
        mean_s: float,
    ) -> None:
        """Take one answer that came while ``in_flight`` requests were out, it included."""
        is_used = in_flight >= USED * self.limit
        if self.phase is Phase.RAMP:
            if is_used and self.limit < self._ceiling:
                self.limit = min(self._ceiling, self.limit + self._growth(mean_s))
            least_s = max(0.5 * mean_s, 0.05)
        else:
            if self._since is None:
                if in_flight > self.limit + 1.0:
                    return
                self._since = now
            if sent_at < self._since:
                return
            least_s = 0.5 * max(mean_s, min(5.0, 20.0 * mean_s), 0.2) * (self._looks + 1)
        sample = self._sample
        if sample is None:
            sample = self._sample = Sample(now, self._usual or length)
        if self._backlog.wants_latencies:
            self._backlog.begin(latency_s)
        sample.add(latency_s, length, first_s, is_used)
        if sample.answers >= LEAST_ANSWERS and now - sample.started_at >= least_s:
            self._judge(now, sample)

    def _growth(self, mean_s: float) -> float:
        """Return what one answer adds: less where growth has gained little lately, and never more than one."""
        doubling_s = max(1e-9, min(RAMP_LATENCIES * mean_s, RAMP_S)) * self._scale
        return min(1.0, log(2.0) * mean_s / doubling_s) * min(1.0, max(0.4, 2.0 * self._gain))

    def _judge(self, now: float, sample: Sample) -> None:
        """Look at a sample that is whole, or grows on."""
        if 2 * sample.used < sample.answers:
            self._sample = None
            self._looks = 0
            return
        if self.phase is Phase.RAMP:
            self._sample = None
            self._path.append((now, self.limit))
            # Requests met the limit of the time when they were sent.
            reading = sample.reading(self._limit_at((sample.started_at + now) / 2.0 - sample.middle_s))
            self._judge_ramp(self._noted(reading))
        else:
            self._looks += 1
            self._judge_hold(sample)

    def _noted(self, reading: Reading) -> Reading:
        """Learn the mean length of answers."""
        known = self._usual
        self._usual = reading.length if known is None else known + 0.1 * (reading.length - known)
        return reading

    def _limit_at(self, time: float) -> float:
        """Return the limit of an earlier time."""
        later_at, later = inf, self.limit
        for at, limit in reversed(self._path):
            if at <= time:
                if later_at == inf or at == -inf:
                    return later
                part = (time - at) / (later_at - at)
                return exp(log(limit) * (1.0 - part) + log(later) * part)
            later_at, later = at, limit
        return later

    def _judge_ramp(self, reading: Reading) -> None:
        """
        Go on growing, or hold.

        The cases, in order:
            1. Requests wait in the service's queue: hold where they would not.
            2. The work has not grown with the limit, or answers come near the timeout: hold at the least as good.
            3. The ceiling is reached: hold there.
        """
        readings = self._readings
        readings.append(reading)
        if self._idle is None:
            self._idle = reading
        if self._scale == 1.0:
            self._backlog.learn_base(reading)
        queued = self._queued(reading)
        near = [item for item in readings if item.limit >= reading.limit / RAMP_REACH]
        is_judged = len(near) > 3 and near[0].limit * RAMP_SPAN <= reading.limit
        error = 0.0
        if is_judged:
            self._gain, error = self._slope(near)
        least_gain = FEW_GAIN if reading.limit < FEW else QUEUE_GAIN
        if queued and len(readings) > 3 and (self._gain + error < least_gain or self._scale > 1.0):
            self._leave_queue(reading, queued)
            return
        if is_judged:
            self._strikes = self._strikes + 1 if self._gain + error < RAMP_GAIN else 0
            if self._strikes > 1 or self._is_near_timeout(reading):
                self.hold(max(1.0, reading.limit / RAMP_SPAN), direction=1)
                return
        if self.limit >= self._ceiling:
            self.hold(self._ceiling, direction=-1)

    def _queued(self, reading: Reading) -> float:
        """Return the part of the requests that wait in the service's queue, or 0 when it may well have none."""
        least = QUEUED_IN_RAMP if self.phase is Phase.RAMP else QUEUED
        return self._backlog.share(reading, self._usual, least)

    def _work(self, reading: Reading) -> tuple[float, float]:
        """Return the logarithm of the work done per second, and its standard error."""
        latency_s, error_s = reading.latency_s(self._usual or 1.0)
        return log(reading.limit / latency_s), error_s / latency_s

    def _slope(self, readings: Sequence[Reading]) -> tuple[float, float]:
        """Return the elasticity of the work in the limit, and its standard error: 1 is full gain, 0 none."""
        logs = [log(reading.limit) for reading in readings]
        works = [self._work(reading) for reading in readings]
        mean = sum(logs) / len(logs)
        spread = sum((item - mean) ** 2 for item in logs)
        slope = sum((item - mean) * work for item, (work, _error) in zip(logs, works, strict=True)) / spread
        return slope, sqrt(sum(error * error for _work, error in works) / len(works) / spread)

    def _is_near_timeout(self, reading: Reading) -> bool:
        """True when the slowest answers come near the timeout, and would not with fewer in flight."""
        weight = self._usual or 1.0
        if self._idle is None:
            return False
        slowed = reading.latency_s(weight)[0] / self._idle.latency_s(weight)[0]
        return reading.slowest_s > NEAR_TIMEOUT * self._timeout_s and slowed > 1.5

    def _judge_hold(self, sample: Sample) -> None:
        """
        Stay, move, or try.

        The cases, in order:
            1. Requests wait in the service's queue: as many fewer.
            2. The capacity has changed: follow it.
            3. A trial is under way: take it or leave it.
            4. Nothing has happened for long enough: begin a trial.
        """
        reading = sample.reading(self.limit)
        cut = self._cut
        if cut is not None and reading.limit <= DEEP_CUT * cut.limit:
            if self._looks < 2:
                return
            self._was_no_queue(reading, cut)
        queued = self._queued(reading)
        if self._trial > 0 and 0.0 < queued < PLAINLY:
            self._refuse_trial()
            return
        if queued:
            self._leave_queue(reading, queued)
            return
        reference = self._reference
        if self._looks < 4 and (reference is None or self._trial):
            if self._trial and reference is not None and self._looks > 1:
                self._give_up_early(reading, reference)
            return
        self._noted(reading)
        self._cut = None
        if reference is None:
            self._rest(sample)
        elif self._follow(reading, reference):
            return
        elif self._trial:
            self._judge_trial(reading, reference)
        else:
            self._rest(sample)

    def _leave_queue(self, reading: Reading, queued: float) -> None:
        """Hold where the queue would be short; `_cut` keeps how it was before the first of several cuts."""
        before = self._cut or reading
        self.hold(max(1.0, reading.limit * (1.0 - queued + STANDING)), direction=1)
        self._cut = before

    def _was_no_queue(self, reading: Reading, before: Reading) -> bool:
        """
        Tell whether cuts have shortened no wait and cost work: then the service itself takes so long, and it is learnt.

        Prompts longer than before are such a case: reading them takes longer.
        """
        wait, wait_before = reading.wait_s(), before.wait_s()
        if wait is None or wait_before is None:
            return False
        apart_s = max(0.25 * wait_before[0], 2.0 * sqrt(wait[1] ** 2 + wait_before[1] ** 2))
        if abs(wait[0] - wait_before[0]) > apart_s or self._slope((before, reading))[0] < BOLD_GAIN / 2.0:
            return False
        self._backlog.correct_base(wait)
        self._cut = None
        return True

    def _rest(self, sample: Sample) -> None:
        """Let an epoch pass in which nothing happened, and try something when it was the last of enough."""
        if self._calm is not None:
            sample.add_faded(self._calm)
        self._calm = sample
        self._reference = sample.reading(self.limit)
        wait, base_s = self._reference.wait_s(), self._backlog.base_s
        if wait is not None and base_s is not None and wait[0] + 2.0 * wait[1] < base_s:
            self._backlog.correct_base(wait)
        self._sample = None
        self._looks = 0
        self._quiet += 1
        if self._quiet > 2 * self._wait:
            self._try(self._direction, TRIAL)

    def _follow(self, reading: Reading, reference: Reading) -> bool:
        """Follow a change of capacity once it is whole: answers begun before it tell of both sides."""
        (work, error), (work_before, _error) = self._work(reading), self._work(reference)
        change = work - work_before
        if abs(change) - 3.0 * error < CHANGED:
            self._change = 0.0
            return False
        is_whole = abs(change - self._change) < CHANGED / 2.0
        self._change = change
        if not is_whole:
            self._sample = None
            self._looks = 3 if self._trial else 0
        elif change > 0.0:
            self._good = self.limit
            self._reference = reading
            self._calm = None
            self._needs_all = False
            self._taken = 1
            self._try(1, LONGEST_TRIAL)
        else:
            self.hold(max(1.0, self.limit * exp(change)), direction=1)
        return True

    def _try(self, direction: int, step: float) -> None:
        """Begin a trial; where there is no room for it, wait for the next."""
        good = self._good
        if direction > 0 and self._reference is not None and self._backlog.share(self._reference, self._usual, HARDLY):
            # More would only wait. Less is tried instead, unless it is known to cost work.
            direction = 0 if self._needs_all else -1
        limit = max(good + 1.0, good * (1.0 + step)) if direction > 0 else min(good - 1.0, good / (1.0 + step))
        self._quiet = 0
        is_too_slow = direction > 0 and self._reference is not None and self._is_near_timeout(self._reference)
        if not direction or is_too_slow or not 1.0 <= limit <= self._ceiling:
            self._direction = -direction or 1
            self._stay_at(good)
            return
        self._step = step
        self._move(limit, direction)

    def _judge_trial(self, reading: Reading, reference: Reading) -> None:
        """Take a trial's limit, leave it, or look longer."""
        gain, error = self._slope((reference, reading))
        is_certain = abs(gain - LEAST_GAIN) > 1.5 * error
        if not is_certain and self._looks < 2 * MOST_EPOCHS_A_TRIAL:
            return
        if not is_certain or (gain >= LEAST_GAIN) != (self._trial > 0):
            if self._trial < 0 and gain - error > BOLD_GAIN / 2.0:
                self._note_need(reading, reference)
            self._refuse_trial()
            return
        self._needs_all = False
        self._good = self.limit
        self._reference = reading
        self._calm = None
        self._wait = EPOCHS_BETWEEN_TRIALS
        self._taken += 1
        is_bold = self._taken > 1 and (self._trial < 0 or gain - error > BOLD_GAIN)
        self._try(self._trial, LONGEST_TRIAL if is_bold else TRIAL)

    def _give_up_early(self, reading: Reading, reference: Reading) -> None:
        """End a trial that is plainly of no use before its time: less costs work, or more gives none."""
        gain, error = self._slope((reference, reading))
        if (gain - 2.0 * error > BOLD_GAIN / 2.0) if self._trial < 0 else (gain + 2.0 * error < LEAST_GAIN):
            if self._trial < 0:
                self._note_need(reading, reference)
            self._refuse_trial()

    def _note_need(self, reading: Reading, reference: Reading) -> None:
        """Remember that less costs work."""
        self._needs_all = True
        self._was_no_queue(reading, reference)

    def _refuse_trial(self) -> None:
        """Go back to where the trial began; try half the step if it was a long one, or wait and try the other way."""
        if self._step > 1.5 * TRIAL:
            self._try(self._trial, self._step / 2.0)
            return
        self._direction = 1 if self._needs_all else -self._trial
        self._wait = min(MOST_EPOCHS_BETWEEN_TRIALS, self._wait + 2)
        self._stay_at(self._good)

    def _stay_at(self, limit: float) -> None:
        self._good = float(max(1, round(limit)))
        self._step = TRIAL
        self._taken = 0
        self._calm = None
        self._move(limit, 0)

    def _move(self, limit: float, trial: int) -> None:
        """Change the limit, and look only at requests that are sent once it is kept."""
        self.limit = float(max(1, round(limit)))
        self._trial = trial
        self._since = None
        self._sample = None
        self._looks = 0
        self._change = 0.0
