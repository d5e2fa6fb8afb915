"""File descriptors: each request in flight needs one, and the usual limit of 1,024 is soon reached."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec

from wingbeat.ledgers.limits import Limits

SPARE = 64
"""Descriptors kept for files, the journal and the simulator's listening socket."""


def fit_to_descriptors(limits: Limits, warn: Callable[[str], None], *, per_request: int = 1) -> Limits:
    """
    Raise the process's limit as far as the system lets us, and lower the concurrency when that is not enough.

    Args:
        limits: What the user asked for.
        warn: Told when the concurrency is lowered.
        per_request: Descriptors that a request in flight needs here: 2 with the simulator in the same process.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return limits
    most = max(1, (soft - SPARE) // per_request)
    if limits.most_in_flight <= most:
        return limits
    if limits.fixed_in_flight is None:
        return msgspec.structs.replace(limits, most_concurrency=most)
    warn(f"{limits.most_in_flight:,} in flight need more than the {soft:,} open files allowed; using {most:,}")
    return msgspec.structs.replace(limits, concurrency=most)
