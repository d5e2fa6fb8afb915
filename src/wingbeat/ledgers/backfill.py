"""
Who may take room that somebody else may want: a small request beside a large one, a light flow beside a heavy one.

It asks the limits, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from wingbeat.ledgers.guard import Guard
from wingbeat.ledgers.quota import Cost
from wingbeat.ledgers.rate import STRICTER_PACES
from wingbeat.model.limit import MINUTE_S, REQUESTS

MOST_CANDIDATES = 16
"""Flows looked at when the next one has to wait, so that a wake-up costs the same however many there are."""

SPARE = 0.005
"""Part of each window that is left to heavier flows. An account that a backlog has filled gives room back as it was
taken a minute ago: after a burst, not for seconds. Requests of a heavier flow need not wait for that. Beside the
backlog of ``tests/client/test_flows.py``, which is bound by tokens, the 99th percentile of their waits is 0.2 s instead
of 1.9 s, and up to half a per cent of the quota stays unused."""

_SLOWEST = 1 - STRICTER_PACES[-1].margin
"""The least part of its quota at which a known limit is paced."""


def ready_beside_spare(guards: Iterable[Guard], cost: Cost, now: float) -> float:
    """Return when a request fits and leaves `SPARE` of every limit: ``now``, or later."""
    return max((guard.ready_at(now, _with_spare(guard, cost)) for guard in guards if not guard.is_open), default=now)


def delays(
    guards: Iterable[Guard], head: Cost, candidate: Cost, due: float, now: float, *, leaves_spare: bool = False
) -> bool:
    """
    Tell whether sending ``candidate`` now would make ``head`` wait beyond ``due``.

    Ask it only of a candidate that every limit lets go now: no limit is paused or in debt then, so that the head can
    be waiting for room alone. Room that the candidate takes is not given back before its window has passed, which is
    after ``due``: the head then needs room for both, by the time when it would have had room for itself. And the
    candidate's debt must be paid by then. What was saved up of the pace would pay for it sooner; that is not counted
    on, so a few are turned down that would have done no harm.

    This is the rule of EASY backfilling.

    Args:
        guards: All limits of the route.
        head: What the request that is next takes.
        candidate: What the request behind it takes.
        due: When the head may go as things are.
        now: The time.
        leaves_spare: Whether the head has to leave `SPARE`.

    Source: D. Lifka, "The ANL/IBM SP Scheduling System", Job Scheduling Strategies for Parallel Processing, 1995.
    """
    for guard in guards:
        if guard.is_open:
            continue
        taken = candidate.units(guard.name)
        both = taken + (_with_spare(guard, head) if leaves_spare else head.units(guard.name))
        if guard.per_window is not None and both > guard.per_window:
            return True
        if guard.ready_at(now, both) > due or now + _debt_s(guard, taken) > due:
            return True
    return False


def _with_spare(guard: Guard, cost: Cost) -> float:
    units, limit = cost.units(guard.name), guard.per_window
    if limit is None:
        return units
    spare = limit * SPARE
    # Half a request is no use to anyone, and of a few a minute none can be spared.
    return max(units, min(limit, units + (spare // 1.0 if guard.name == REQUESTS else spare)))


def _debt_s(guard: Guard, units: float) -> float:
    """Return the longest time for which a request of so many units is paid for."""
    known, learnt = guard.known, guard.learning.per_window
    known_s = 0.0 if known is None else units * known.window_s / known.limit
    learnt_s = 0.0 if learnt is None else units * MINUTE_S / learnt
    return max(known_s, learnt_s) / _SLOWEST
