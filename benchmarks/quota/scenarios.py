"""All scenarios of the bench, in the order of their rows."""

from __future__ import annotations

from benchmarks.quota.known import known
from benchmarks.quota.scenario import Scenario
from benchmarks.quota.unknown import unknown

__all__ = ["CAPACITY_ROW", "Scenario", "named", "scenarios"]

CAPACITY_ROW = "10"
"""Servers with no quota but a capacity; they have a bench of their own, in `capacity`."""

ORDER = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "11", "unseen")


def scenarios() -> list[Scenario]:
    """Return every scenario."""
    return sorted([*known(), *unknown()], key=lambda scenario: ORDER.index(scenario.row))


def named(name: str) -> Scenario:
    """Return the scenario of a name."""
    return next(scenario for scenario in scenarios() if scenario.name == name)
