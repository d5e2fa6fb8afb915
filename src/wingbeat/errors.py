"""
What stops a run, as exceptions. A single record's failure is a value (`wingbeat.model.answer.Failure`).

    WingbeatError
    ├── ConfigurationError      wrong options, unknown model, no key          exit 2
    │   ├── SourceError         the input can't be used                       exit 2
    │   └── ChangedRunError     the output belongs to another run             exit 2
    ├── JournalError            the journal can't be opened or written        exit 2 or 3
    │   ├── JournalBusyError    another process holds it                      exit 2
    │   └── JournalVersionError written by a newer wingbeat                   exit 2
    ├── RunStopped              stopped early, resumable                      exit 3
    │   ├── QuotaExhausted      the day's quota is used up                    exit 3
    │   ├── BudgetSpent         ``max_cost`` is used up                       exit 3
    │   ├── AccessRefused       key, permission, model or billing refused     exit 3
    │   └── ServiceDown         the service did not recover                   exit 3
    ├── AnswerFailed            one awaited answer has failed                 exit 1
    └── EventLoopRunning        a blocking call inside a running loop         exit 2
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wingbeat.model.answer import Outcome


class WingbeatError(Exception):
    """
    Base of every error that wingbeat raises on purpose.

    Args:
        message: What happened and which value, in one line.
        hint: What to do next, when there is something to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")


class ConfigurationError(WingbeatError, ValueError):
    """An option, a model name or a key is wrong; nothing was sent."""

    exit_code = 2


class SourceError(ConfigurationError):
    """The input can't be read, or a row of it is wrong and strictness was asked for."""


class ChangedRunError(ConfigurationError):
    """The output was started with another model or other options; nothing was sent."""


class JournalError(WingbeatError):
    """The journal can't be opened, read or written."""

    exit_code = 3


class JournalBusyError(JournalError):
    """Another process is writing the same output."""

    exit_code = 2


class JournalVersionError(JournalError):
    """The journal was written by a newer wingbeat, or is none at all."""

    exit_code = 2


class RunStopped(WingbeatError):
    """The run ended before its input did; what was answered is kept and the run can be resumed."""

    exit_code = 3


class QuotaExhausted(RunStopped):
    """The day's quota is used up."""


class BudgetSpent(RunStopped):
    """The next request could cost more than what is left of ``max_cost``."""


class AccessRefused(RunStopped):
    """The service refuses the key, the model, the permission or the account."""


class ServiceDown(RunStopped):
    """The service has not given one good answer for too long."""


class AnswerFailed(WingbeatError):
    """
    One awaited answer has failed for good.

    Args:
        outcome: What the request ended with.
    """

    def __init__(self, outcome: Outcome) -> None:
        error = outcome.error
        super().__init__(f"{error.kind}: {error.message}" if error else "no answer")
        self.outcome = outcome


class EventLoopRunning(WingbeatError, RuntimeError):
    """A blocking call was made where an event loop already runs."""

    exit_code = 2
