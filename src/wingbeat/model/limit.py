"""What is known of a service's limits: as a reply's headers tell them, and as they were learnt."""

from __future__ import annotations

from typing import Literal

import msgspec

REQUESTS = "requests"
INPUT_TOKENS = "input_tokens"
OUTPUT_TOKENS = "output_tokens"
TOKENS = "tokens"
"""Names of what a limit counts; ``tokens`` are input and output together."""

MINUTE_S = 60.0
DAY_S = 86_400.0

Enforcement = Literal["unknown", "window", "bucket", "rate"]
"""How a service was seen to enforce a limit: by what a window holds, by a bucket that is refilled evenly and holds
about a window's worth, or by a rate over spans much shorter than its window."""

Origin = Literal["user", "told", "headers", "measured"]
"""Who says so: the user, a refusal of the service, the headers of its replies, or our own account of refusals."""


class LimitHint(msgspec.Struct, frozen=True):
    """
    One limit as the headers of a reply tell it.

    Args:
        resource: What it counts: ``requests``, ``input_tokens``, ``output_tokens`` or ``tokens``.
        limit: Most units in its window, or None when not said.
        remaining: Units left, as the service counts, or None when not said.
        reset_s: Seconds from the reply until nothing of it is used any more, or None when not said.
    """

    resource: str
    limit: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


class LearntLimit(msgspec.Struct, frozen=True):
    """
    One limit of a route, as known after a run.

    Args:
        resource: What it counts.
        limit: Most units in its window.
        window_s: Seconds of the window.
        enforcement: How the service was seen to enforce it.
        origin: Who says so.
    """

    resource: str
    limit: float
    window_s: float = MINUTE_S
    enforcement: Enforcement = "unknown"
    origin: Origin = "measured"
