"""The table of the bench: one line for each scenario, and what of its bar was missed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.quota.measuring import Measured
from benchmarks.quota.peers import NotPlayed, Played
from benchmarks.quota.scenario import Bar, Scenario

OURS = "wingbeat"

HEADINGS = (
    f"{'row':6} {'scenario':50} {'client':20} {'used %':>16} {'refused %':>16} {'95 % after s':>14} "
    f"{'over':>5} {'wall s':>6}  bar"
)


def line(scenario: Scenario, runs: list[Measured]) -> str:
    """Return the line of our own runs."""
    over = [run.violations for run in runs if run.violations is not None]
    missed = missed_bars(scenario.bar, runs)
    return (
        f"{scenario.row:6} {scenario.name:50} {OURS:20} {_figures(runs)} {max(over) if over else '–':>5} "
        f"{sum(run.wall_s for run in runs):6.1f}  {'MISSED ' + ', '.join(missed) if missed else 'met'}{_also(runs)}"
    )


def peer_line(scenario: Scenario, client: str, runs: list[Played]) -> str:
    """Return the line of another client's runs, which no bar is held to."""
    wall_s = sum(run.wall_s for run in runs)
    return f"{scenario.row:6} {scenario.name:50} {client:20} {_figures(runs)} {'':>5} {wall_s:6.1f}"


def not_played_line(scenario: Scenario, client: str, reason: NotPlayed) -> str:
    """Return the line of a client that was not run."""
    return f"{scenario.row:6} {scenario.name:50} {client:20} {reason.reason:>16}"


def _figures(runs: Sequence[Measured | Played]) -> str:
    """Return what is measured of every run: the worst, and the median in brackets."""
    used = [100 * run.used for run in runs]
    refused = [100 * run.refused for run in runs]
    times = [run.reached_95_s for run in runs if run.reached_95_s is not None]
    reached = f"{max(times):.0f} ({statistics.median(times):.0f})" if len(times) == len(runs) else "never"
    return (
        f"{f'{min(used):.2f} ({statistics.median(used):.2f})':>16} "
        f"{f'{max(refused):.3f} ({statistics.median(refused):.3f})':>16} {reached:>14}"
    )


def _also(runs: list[Measured]) -> str:
    """Return what only some scenarios measure: the worst of each."""
    parts = []
    for number in range(len(runs[0].recoveries)):
        recoveries = [run.recoveries[number] for run in runs]
        seconds = [recovery.seconds for recovery in recoveries if recovery.seconds is not None]
        back = f"{max(seconds):.0f} s" if len(seconds) == len(runs) else "never"
        refused = max(recovery.refused for recovery in recoveries)
        parts.append(f"back after {back}, {100 * refused:.2f} % refused")
    wasted = [run.wasted for run in runs if run.wasted is not None]
    if wasted:
        parts.append(f"wasted {100 * max(wasted):.1f} %")
    seconds = [run.first_second for run in runs if run.first_second is not None]
    if seconds:
        parts.append(f"first second {max(seconds):.2f} of the limit")
    return f" ({'; '.join(parts)})" if parts else ""


def missed_bars(bar: Bar, runs: list[Measured]) -> list[str]:
    """Return what any of the runs falls short of."""
    return sorted({missed for run in runs for missed in _missed(bar, run)})


def _missed(bar: Bar, run: Measured) -> list[str]:
    missed = []
    if bar.used is not None and run.used < bar.used:
        missed.append(f"used {100 * bar.used:.1f} %")
    if bar.refused is not None and run.refused > bar.refused:
        missed.append(f"refused {100 * bar.refused:g} %")
    if bar.reached_95_s is not None and (run.reached_95_s is None or run.reached_95_s > bar.reached_95_s):
        missed.append(f"95 % in {bar.reached_95_s:.0f} s")
    for most_s, recovery in zip(bar.recovered_s, run.recoveries, strict=False):
        if recovery.seconds is None or recovery.seconds > most_s:
            missed.append(f"back in {most_s:.0f} s")
    most = bar.refused_after_change
    if most is not None and any(recovery.refused > most for recovery in run.recoveries):
        missed.append(f"refused after a change {100 * most:g} %")
    if bar.wasted is not None and (run.wasted is None or run.wasted > bar.wasted):
        missed.append(f"wasted {100 * bar.wasted:g} %")
    if bar.first_second is not None and (run.first_second is None or run.first_second > bar.first_second):
        missed.append(f"first second {bar.first_second:g}")
    if run.lost:
        missed.append("records lost")
    if run.stopped is not None:
        missed.append("run stopped")
    return missed
