"""
What a run will take: virtual runs of it, or of a part of it whose pace the rest is taken to keep.

How one virtual run goes is `wingbeat.rehearsal`'s; here it is decided which are made, and what follows from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, sqrt
from statistics import fmean

import msgspec

from wingbeat.job.sizes import RowSize, SizeSample
from wingbeat.ledgers.limits import MOST_LANES, Limits
from wingbeat.model.answer import FailureKind
from wingbeat.model.limit import DAY_S
from wingbeat.rehearsal import WINDOW_S, Rehearsal, Setting, rehearse
from wingbeat.report.forecast import Assumptions, Binding, Course, Forecast, WhatIf
from wingbeat.simulator.catalogue import catalogue

ROWS_A_RUN = 10_000
MOST_ROWS_A_RUN = 60_000
"""Rows of one virtual run; more only where fewer would not show the pace."""

ROWS_IN_ALL = 80_000
"""Rows of all virtual runs of one forecast together. A row takes 30 to 100 µs, so that `wingbeat plan` of a million
prompts takes 10 to 20 s of one core, 5 of which are for reading 340 MB (2 shared cores, Python 3.11)."""

FEWEST_RUNS, MOST_RUNS = 2, 20

ROUNDS = 10
"""Rows of each lane in a run at least, so that its start and its end are small parts of it."""


class Depth(msgspec.Struct, frozen=True):
    """How much is simulated: rows of a run where they suffice, and rows of all runs together."""

    rows_a_run: int = ROWS_A_RUN
    rows_in_all: int = ROWS_IN_ALL
    fewest_runs: int = FEWEST_RUNS

    def runs(self, rows: int) -> int:
        """Return how many runs of so many rows are made."""
        return max(self.fewest_runs, min(MOST_RUNS, self.rows_in_all // max(1, rows)))

    @property
    def of_a_what_if(self) -> Depth:
        """How much is simulated of a run with another limit: one run where rows are many."""
        return Depth(self.rows_a_run, self.rows_a_run, 1)


FULL = Depth()


class Job(msgspec.Struct, frozen=True):
    """
    What is to be forecast.

    Args:
        setting: Whom to ask, within which limits.
        rows: Rows to ask, those that can't be asked left out; at least 1.
        sizes: Their sizes.
        output_given: Whether the user has said how long answers are.
    """

    setting: Setting
    rows: int
    sizes: SizeSample
    output_given: bool = False


class Outlook(msgspec.Struct, frozen=True):
    """
    What virtual runs of one setting come to.

    Args:
        rehearsals: The runs.
        reached: Rows that get an outcome, on all days together.
        a_day: Rows of a whole day's run: what the runs stand for.
        days: On how many days there is something to send.
        day_s: How long a day's rows take, a value a run.
        durations_s: Time to the last outcome, a value a run.
        shares: What bound, by part of a day's run.
    """

    rehearsals: tuple[Rehearsal, ...]
    reached: int
    a_day: int
    days: int
    day_s: tuple[float, ...]
    durations_s: tuple[float, ...]
    shares: dict[Binding, float]

    @property
    def binding(self) -> Binding:
        """What binds most: a service that stops the run, the day's quota if it spans days, else what bound longest."""
        if any(rehearsal.stopped is not None for rehearsal in self.rehearsals):
            return "service"
        if self.days > 1:
            return "day"
        return max(self.shares, key=self.shares.__getitem__, default="replies")

    def total_of(self, count: Callable[[Rehearsal], float]) -> list[float]:
        """
        Return what something counted in each run comes to for all rows.

        The mean grows with the rows, the spread with their root: the rest of the rows are as many more draws.
        """
        counted = [count(rehearsal) for rehearsal in self.rehearsals]
        mean = fmean(counted)
        factor = self.reached / max(1.0, fmean(_reached(rehearsal) for rehearsal in self.rehearsals))
        return [max(0.0, mean * factor + (each - mean) * sqrt(factor)) for each in counted]


def forecast(job: Job, depth: Depth = FULL) -> tuple[Forecast, Course]:
    """Return what a run will take, and the course of one virtual run of it."""
    outlook = look_ahead(job, depth)
    setting, binding = job.setting, outlook.binding
    known = setting.known
    if setting.limits.max_cost is not None and outlook.reached < job.rows and not _has_stopped(outlook):
        binding = "budget"
    costs = outlook.total_of(lambda rehearsal: rehearsal.statistics.cost_usd)
    model = setting.model
    found = Forecast(
        duration_p50_s=quantile(outlook.durations_s, 0.5),
        duration_p95_s=quantile(outlook.durations_s, 0.95),
        days=outlook.days,
        day_s=quantile(outlook.day_s, 0.5),
        rows=job.rows,
        reached=outlook.reached,
        rows_a_day=outlook.a_day,
        too_large=round(fmean(outlook.total_of(_too_large))),
        refused=round(fmean(outlook.total_of(lambda rehearsal: rehearsal.statistics.refused))),
        input_tokens=fmean(outlook.total_of(lambda rehearsal: rehearsal.statistics.input_tokens)),
        output_tokens=fmean(outlook.total_of(lambda rehearsal: rehearsal.statistics.output_tokens)),
        cost_p50_usd=None if setting.prices is None else quantile(costs, 0.5),
        cost_p95_usd=None if setting.prices is None else quantile(costs, 0.95),
        cost_most_usd=_most_cost(job, outlook),
        peak_in_flight=max(rehearsal.statistics.peak_in_flight for rehearsal in outlook.rehearsals),
        shares=outlook.shares,
        binding=binding,
        what_ifs=tuple(_what_ifs(job, depth, outlook, binding)),
        rows_simulated=outlook.reached if _has_stopped(outlook) else outlook.rehearsals[0].rows,
        runs=len(outlook.rehearsals),
        limits_known=setting.is_any_limit_known,
        assumptions=Assumptions(
            latency_model=model.name,
            latency_basis=model.latency_basis,
            latency_checked=catalogue().checked,
            latency_of_another=not setting.is_model_known,
            output_tokens=setting.outputs.mean_tokens,
            output_given=job.output_given,
        ),
    )
    return found, course_of(outlook, known)


def look_ahead(job: Job, depth: Depth) -> Outlook:
    """Make virtual runs of a job, or of a part of it, and reckon from them how the whole will go."""
    setting = job.setting
    affordable = _affordable(job)
    reached = job.rows if affordable is None else min(job.rows, max(1, affordable))
    a_day = min(reached, _rows_a_day(job))
    rows = min(a_day, _rows_to_simulate(job, depth))
    sizes = _first(job.sizes.rows(rows), rows)
    whole = (job.rows, job.sizes.total_tokens)
    runs = depth.runs(len(sizes))
    rehearsals = tuple(rehearse(setting, sizes, seed=seed, whole=whole) for seed in range(runs))
    if any(rehearsal.stopped is not None for rehearsal in rehearsals):
        reached = a_day = round(fmean(_reached(rehearsal) for rehearsal in rehearsals))
        rows = a_day
    mean_tokens = job.sizes.total_tokens / max(1, job.sizes.seen)
    return _outlook(rehearsals, reached, a_day, rows, mean_tokens)


def _outlook(rehearsals: tuple[Rehearsal, ...], reached: int, a_day: int, rows: int, mean_tokens: float) -> Outlook:
    rest = max(0, a_day - rows)
    pace_s = _seconds_a_row(rehearsals, mean_tokens)
    common_s = _seconds_a_simulated_row(rehearsals)
    day_s = tuple(_whole_s(each, rest * pace_s, rest, common_s) for each in rehearsals)
    days = max(1, ceil(reached / max(1, a_day)))
    last_part = (reached - (days - 1) * a_day) / max(1, a_day)
    durations_s = tuple((days - 1) * max(DAY_S, each) + (each * last_part if days > 1 else each) for each in day_s)
    bound: Counter[Binding] = Counter()
    for rehearsal in rehearsals:
        bound.update(rehearsal.bound_s())
        steady = rehearsal.bound_s(steady_only=True)
        steady_s = steady.total() or 1.0
        bound.update({binding: spent * rest * pace_s / steady_s for binding, spent in steady.items()})
    total_s = bound.total() or 1.0
    shares = {binding: spent / total_s for binding, spent in bound.most_common() if spent}
    return Outlook(rehearsals, reached, a_day, days, day_s, durations_s, shares)


def _reached(rehearsal: Rehearsal) -> int:
    return rehearsal.statistics.answered + rehearsal.statistics.failed


def _has_stopped(outlook: Outlook) -> bool:
    return any(rehearsal.stopped is not None for rehearsal in outlook.rehearsals)


def _too_large(rehearsal: Rehearsal) -> float:
    return rehearsal.statistics.failures[FailureKind.TOO_LARGE]


def _seconds_a_simulated_row(rehearsals: Sequence[Rehearsal]) -> float:
    """Return the pace of the steady stretches of all runs together; of the whole runs where there are none."""
    rows = sum(rehearsal.steady.rows for rehearsal in rehearsals)
    seconds = sum(rehearsal.steady.to_s - rehearsal.steady.from_s for rehearsal in rehearsals)
    if rows and seconds:
        return seconds / rows
    return sum(each.duration_s for each in rehearsals) / max(1, sum(map(_reached, rehearsals)))


def _seconds_a_row(rehearsals: Sequence[Rehearsal], mean_tokens: float) -> float:
    """
    Return the pace of the rows that are not simulated.

    As far as tokens bind, the time of a row is in proportion to its tokens, and the rows of the steady stretches, which
    are the same in all runs, may be larger or smaller than the input's mean.
    """
    bound: Counter[Binding] = Counter()
    for rehearsal in rehearsals:
        bound.update(rehearsal.bound_s(steady_only=True))
    by_tokens = bound["tokens"] / (bound.total() or 1.0)
    rows = sum(rehearsal.steady.rows for rehearsal in rehearsals)
    tokens = sum(rehearsal.steady.input_tokens for rehearsal in rehearsals)
    larger = mean_tokens * rows / tokens if tokens else 1.0
    return _seconds_a_simulated_row(rehearsals) * (1 + by_tokens * (larger - 1))


def _whole_s(rehearsal: Rehearsal, rest_s: float, rest: int, common_s: float) -> float:
    """
    Return a run's time with that of ``rest`` rows more.

    What a run's own steady stretch was slower or faster than the ``common_s`` of all is a draw of so many rows; the
    rest are as many such draws more, and differ by their root as much.
    """
    steady = rehearsal.steady
    if not rest or not steady.rows:
        return rehearsal.duration_s + rest_s
    deviation_s = (steady.to_s - steady.from_s) - steady.rows * common_s
    return rehearsal.duration_s + rest_s + deviation_s * sqrt(rest / steady.rows)


def _rows_to_simulate(job: Job, depth: Depth) -> int:
    """
    Return how many rows show the pace.

    Many rounds of all lanes; and where tokens bind before requests do, one and a half windows of them, since the first
    goes by the pace and only the next by the account.
    """
    limits = job.setting.known
    rows = max(depth.rows_a_run, ROUNDS * (limits.fixed_in_flight or 0))
    if limits.tpm is not None:
        mean_tokens = max(1.0, job.sizes.total_tokens / max(1, job.sizes.seen))
        rows_a_minute = limits.tpm / mean_tokens
        if limits.rpm is None or rows_a_minute < limits.rpm:
            rows = max(rows, ceil(1.5 * rows_a_minute))
    return min(rows, max(MOST_ROWS_A_RUN, depth.rows_a_run))


def _rows_a_day(job: Job) -> int:
    """Return how many rows the limits of a day allow."""
    known = job.setting.known
    mean_tokens = max(1.0, job.sizes.total_tokens / max(1, job.sizes.seen))
    allowed = [known.rpd, None if known.tpd is None else known.tpd / mean_tokens]
    return max(1, floor(min((rows for rows in allowed if rows is not None), default=float(job.rows))))


def _affordable(job: Job) -> int | None:
    """Return how many rows the budget pays for, by their mean price, or None when there is no budget."""
    setting = job.setting
    if setting.limits.max_cost is None or setting.prices is None:
        return None
    left_usd = setting.limits.max_cost - setting.spent_usd
    mean_tokens = job.sizes.total_tokens / max(1, job.sizes.seen)
    each_usd = setting.prices.estimate_usd(mean_tokens, setting.outputs.mean_tokens)
    return max(0, floor(left_usd / each_usd)) if each_usd > 0 else None


def _most_cost(job: Job, outlook: Outlook) -> float | None:
    """Return the cost of the longest answers that the rows allow; None when some have no limit, or a budget rules."""
    prices, limits = job.setting.prices, job.setting.limits
    sizes = job.sizes.rows(ROWS_A_RUN)
    if prices is None or limits.max_cost is not None or not sizes:
        return None
    costs = [
        prices.estimate_usd(size.input_tokens, size.max_output_tokens)
        for size in sizes
        if size.max_output_tokens is not None
    ]
    return fmean(costs) * outlook.reached if len(costs) == len(sizes) else None


def _what_ifs(job: Job, depth: Depth, outlook: Outlook, binding: Binding) -> Iterator[WhatIf]:
    """Simulate the changes that come to mind, so that what is said of them was seen."""
    for changed, value, limits in _changes(_changeable(job.setting), binding, job, outlook):
        setting = msgspec.structs.replace(job.setting, limits=limits, start=())
        other = look_ahead(msgspec.structs.replace(job, setting=setting), depth.of_a_what_if)
        yield WhatIf(changed, value, quantile(other.durations_s, 0.5), other.days, other.reached, other.binding)


def _changeable(setting: Setting) -> Limits:
    """Return all that is known of the limits as if the user had said it."""
    return msgspec.structs.replace(setting.known, concurrency=setting.planned.concurrency)


def _changes(limits: Limits, binding: Binding, job: Job, outlook: Outlook) -> Iterator[tuple[Binding, float, Limits]]:
    """Yield what would help by the look of it, and then what people try first although it may not."""
    replace = msgspec.structs.replace
    peak = max(rehearsal.statistics.peak_in_flight for rehearsal in outlook.rehearsals)
    in_flight = min(MOST_LANES, 2 * (limits.fixed_in_flight or peak))
    more_in_flight: tuple[Binding, float, Limits] = (
        "concurrency",
        float(in_flight),
        replace(limits, concurrency=in_flight),
    )
    match binding:
        case "requests" if limits.rpm is not None:
            yield "requests", 2 * limits.rpm, replace(limits, rpm=2 * limits.rpm)
            yield more_in_flight
        case "tokens" if limits.tpm is not None:
            yield "tokens", 2 * limits.tpm, replace(limits, tpm=2 * limits.tpm)
            yield more_in_flight
        case "output" if limits.otpm is not None:
            yield "output", 2 * limits.otpm, replace(limits, otpm=2 * limits.otpm)
            yield more_in_flight
        case "day" if limits.rpd is not None:
            yield "day", 2 * limits.rpd, replace(limits, rpd=2 * limits.rpd)
        case "concurrency":
            yield more_in_flight
            if limits.rpm is not None:
                kept = limits.most_in_flight
                yield "requests", 2 * limits.rpm, replace(limits, rpm=2 * limits.rpm, concurrency=kept)
            if limits.tpm is not None:
                yield "tokens", 2 * limits.tpm, replace(limits, tpm=2 * limits.tpm)
        case "budget" if limits.max_cost is not None:
            needed_usd = limits.max_cost * job.rows / max(1, outlook.reached) * 1.1
            yield "budget", needed_usd, replace(limits, max_cost=needed_usd)
        case _:
            yield more_in_flight


def course_of(outlook: Outlook, limits: Limits) -> Course:
    """Return the course of the first virtual run, drawn out to the length of a day's whole run."""
    rehearsal = outlook.rehearsals[0]
    moments, steady = rehearsal.moments, rehearsal.steady
    rows_more = max(0, outlook.a_day - rehearsal.rows) if rehearsal.stopped is None else 0
    longer_s = outlook.day_s[0] - rehearsal.duration_s
    is_longer = rows_more > 0 and longer_s > 0

    def is_after(at_s: float) -> bool:
        return is_longer and at_s > steady.to_s

    per_minute = {"requests/min": limits.rpm, "input tokens/min": limits.tpm}
    counted = {
        "requests/min": [moment.accepted for moment in moments],
        "input tokens/min": [moment.accepted_tokens for moment in moments],
    }
    look_back = max(1, round(WINDOW_S / rehearsal.interval_s))
    use = {
        name: tuple(
            (total - (counted[name][place - look_back] if place >= look_back else 0)) / limit
            for place, total in enumerate(counted[name])
        )
        for name, limit in per_minute.items()
        if limit is not None
    }
    return Course(
        duration_s=outlook.day_s[0],
        at_s=tuple(moment.at_s + (longer_s if is_after(moment.at_s) else 0.0) for moment in moments),
        in_flight=tuple(moment.in_flight for moment in moments),
        answered=tuple(moment.answered + (rows_more if is_after(moment.at_s) else 0) for moment in moments),
        use=use,
        gap=(steady.to_s, steady.to_s + longer_s) if is_longer else None,
        days=outlook.days,
    )


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that ``part`` of the values keep within, on the line between the two nearest."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _first(sizes: Sequence[RowSize], rows: int) -> Sequence[RowSize]:
    """Return so many rows, those at hand over again where they are fewer."""
    if not sizes or len(sizes) >= rows:
        return sizes
    return [sizes[place % len(sizes)] for place in range(rows)]
