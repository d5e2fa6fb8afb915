"""Answer any number of prompts with hosted language models, as fast as the quota allows, and lose none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wingbeat._version import __version__

if TYPE_CHECKING:
    from wingbeat.client import Client, Flow, Prompt, run
    from wingbeat.engine.statistics import Statistics
    from wingbeat.errors import (
        AccessRefused,
        AnswerFailed,
        BudgetSpent,
        ChangedRunError,
        ConfigurationError,
        EventLoopRunning,
        JournalBusyError,
        JournalError,
        JournalVersionError,
        QuotaExhausted,
        RunStopped,
        ServiceDown,
        SourceError,
        WingbeatError,
    )
    from wingbeat.ledgers.flows import FlowState
    from wingbeat.ledgers.limits import Limits
    from wingbeat.mapping import Mapped, map  # noqa: A004
    from wingbeat.model.answer import ErrorDetail, FailureKind, Outcome, Usage

_HOMES = {
    "Client": "client",
    "Flow": "client",
    "FlowState": "ledgers.flows",
    "Prompt": "client",
    "run": "client",
    "Limits": "ledgers.limits",
    "Statistics": "engine.statistics",
    "AccessRefused": "errors",
    "AnswerFailed": "errors",
    "BudgetSpent": "errors",
    "ChangedRunError": "errors",
    "ConfigurationError": "errors",
    "EventLoopRunning": "errors",
    "JournalBusyError": "errors",
    "JournalError": "errors",
    "JournalVersionError": "errors",
    "QuotaExhausted": "errors",
    "RunStopped": "errors",
    "ServiceDown": "errors",
    "SourceError": "errors",
    "WingbeatError": "errors",
    "Mapped": "mapping",
    "map": "mapping",
    "ErrorDetail": "model.answer",
    "FailureKind": "model.answer",
    "Outcome": "model.answer",
    "Usage": "model.answer",
}
"""Where each public name lives: looked up on first use, so that importing wingbeat costs nothing."""

__all__ = [
    "AccessRefused",
    "AnswerFailed",
    "BudgetSpent",
    "ChangedRunError",
    "Client",
    "ConfigurationError",
    "ErrorDetail",
    "EventLoopRunning",
    "FailureKind",
    "Flow",
    "FlowState",
    "JournalBusyError",
    "JournalError",
    "JournalVersionError",
    "Limits",
    "Mapped",
    "Outcome",
    "Prompt",
    "QuotaExhausted",
    "RunStopped",
    "ServiceDown",
    "SourceError",
    "Statistics",
    "Usage",
    "WingbeatError",
    "__version__",
    "map",
    "run",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wingbeat' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"wingbeat.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
