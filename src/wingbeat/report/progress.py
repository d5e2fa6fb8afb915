"""How a run goes, while it goes: a live panel on a terminal, a line a minute elsewhere, events for programs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from wingbeat.engine.route import Route
from wingbeat.engine.statistics import Statistics
from wingbeat.ledgers.breaker import BreakerState
from wingbeat.ledgers.limits import Limits
from wingbeat.model.answer import Failure, FailureKind
from wingbeat.model.limit import INPUT_TOKENS, MINUTE_S, OUTPUT_TOKENS, REQUESTS, TOKENS, LearntLimit
from wingbeat.report.words import count, duration, money

EVENT_VERSION = 1

LONGEST_RATE_S = 3600.0
"""A limit over a longer time, such as a day's, is an amount and not a rate: it ends a run and does not slow it."""


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=False):
    """
    How a run stands at one moment; the fields of a ``progress`` event.

    Args:
        rows: Rows of the input, or None while unknown.
        done: Rows that have an outcome, those of earlier runs included.
        answered: Rows answered by this run.
        failed: Rows failed in this run.
        in_flight: Requests sent and not yet replied to.
        waiting: Lanes that wait to send.
        backing_off: Lanes that wait before they try again; they hold no slot.
        waiting_for: What the run waits for now, in words, or None.
        requests_per_minute: Requests answered a minute, over the last minute at most.
        input_tokens_per_minute: Input tokens of these, as the service reported them.
        refused: Requests refused for quota so far.
        retried: Requests sent again after a failure so far.
        cost_usd: Price of the answers so far; answers without a known price count as nothing.
        eta_s: Seconds that the rest should take at the present rate, or None while unknown.
        elapsed_s: Seconds since the run began to connect.
        learnt: What is known of the service's limits by now, without those that the user gave.
        hedged: Second requests sent beside late first ones so far.
        hedges_won: Those of them that answered first.
    """

    rows: int | None
    done: int
    answered: int
    failed: int
    in_flight: int
    waiting: int
    backing_off: int
    waiting_for: str | None
    requests_per_minute: float
    input_tokens_per_minute: float
    refused: int
    retried: int
    cost_usd: float
    eta_s: float | None
    elapsed_s: float
    learnt: tuple[LearntLimit, ...] = ()
    hedged: int = 0
    hedges_won: int = 0


def take_snapshot(statistics: Statistics, route: Route, limits: Limits, now: float, started_at: float) -> Snapshot:
    """Read the counters of a run."""
    rpm, tpm = statistics.per_minute(now, started_at)
    admission = route.admission
    learnt = route.quota.learnt()
    return Snapshot(
        rows=statistics.rows,
        done=statistics.done,
        answered=statistics.answered,
        failed=statistics.failed,
        in_flight=statistics.in_flight,
        waiting=admission.waiting,
        backing_off=statistics.backing_off,
        waiting_for=waiting_for(statistics, route, now),
        requests_per_minute=round(rpm, 1),
        input_tokens_per_minute=round(tpm, 1),
        refused=statistics.refused,
        retried=statistics.retried,
        cost_usd=round(statistics.cost_usd, 6),
        eta_s=reckon_eta_s(statistics, limits, learnt, rpm, bound_by_quota=admission.blocked_by == "quota"),
        elapsed_s=round(now - started_at, 1),
        learnt=learnt,
        hedged=statistics.hedged,
        hedges_won=statistics.hedges_won,
    )


def waiting_for(statistics: Statistics, route: Route, now: float) -> str | None:
    """Say what the run waits for now: the service's replies, its recovery, quota, a slot or a backoff; or nothing."""
    admission = route.admission
    if route.breaker.state is not BreakerState.CLOSED:
        return "the service to recover"
    if admission.waiting and admission.blocked_by == "quota":
        wait_s = admission.due_at - now
        return f"quota ({duration(wait_s)})" if wait_s >= 1 else "quota"
    if admission.waiting and admission.blocked_by == "slot":
        return "a slot (all are in flight)"
    if statistics.backing_off and not statistics.in_flight:
        return "backoff"
    if statistics.in_flight:
        return "replies"
    return None


def reckon_eta_s(
    statistics: Statistics, limits: Limits, learnt: Sequence[LearntLimit], rpm: float, *, bound_by_quota: bool
) -> float | None:
    """
    Reckon how long the rest takes.

    Args:
        statistics: Counters of the run.
        limits: What the user gave.
        learnt: What is known besides; it counts from the moment it is known.
        rpm: Requests answered a minute, lately.
        bound_by_quota: Whether requests wait for quota: then the rest goes at the limits, and else at the present
            rate, at most at the limits. A first minute that began with a burst says little about the next.

    Returns:
        Seconds, or None while too little is known.
    """
    remaining = statistics.remaining
    if remaining is None or rpm <= 0 or statistics.answered < 3:
        return None
    most = _allowed_rpm(statistics, limits, learnt)
    rate = rpm if most is None else most if bound_by_quota else min(rpm, most)
    return round(remaining / rate * 60.0, 1)


def _allowed_rpm(statistics: Statistics, limits: Limits, learnt: Sequence[LearntLimit]) -> float | None:
    """Return the requests a minute that all limits allow, of the size of those answered; None without limits."""
    given = [
        LearntLimit(resource, limit)
        for resource, limit in ((REQUESTS, limits.rpm), (INPUT_TOKENS, limits.tpm))
        if limit is not None
    ]
    per_request = {
        REQUESTS: 1.0,
        INPUT_TOKENS: statistics.input_tokens / statistics.answered,
        OUTPUT_TOKENS: statistics.output_tokens / statistics.answered,
        TOKENS: (statistics.input_tokens + statistics.output_tokens) / statistics.answered,
    }
    rates = [
        limit.limit * MINUTE_S / limit.window_s / per_request[limit.resource]
        for limit in (*given, *learnt)
        if 0 < limit.window_s <= LONGEST_RATE_S and per_request.get(limit.resource)
    ]
    return min(rates, default=None)


class Reporter(Protocol):
    """Shows a run to somebody."""

    def start(self, read: Callable[[], Snapshot]) -> None:
        """Begin showing; ``read`` gives the state at any moment."""
        ...

    def say(self, kind: str, text: str, **details: Any) -> None:
        """Tell one thing that has happened."""
        ...

    def stop(self) -> None:
        """Stop showing."""
        ...


class LinesReporter:
    """Write a line a minute, for logs."""

    INTERVAL_S = 60.0

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def start(self, read: Callable[[], Snapshot]) -> None:
        """Write a line now and then."""

        async def write() -> None:
            while True:
                await asyncio.sleep(self.INTERVAL_S)
                print(_line(self._name, read()), file=sys.stderr, flush=True)  # noqa: T201

        self._task = asyncio.get_running_loop().create_task(write())

    def say(self, kind: str, text: str, **details: Any) -> None:  # noqa: ARG002
        """Write one line."""
        print(text if kind == "warning" else f"{self._name}: {text}", file=sys.stderr, flush=True)  # noqa: T201

    def stop(self) -> None:
        """Write no more."""
        if self._task is not None:
            self._task.cancel()


class QuietReporter:
    """Show nothing but what has to be known."""

    def start(self, read: Callable[[], Snapshot]) -> None:
        """Show nothing."""

    def say(self, kind: str, text: str, **details: Any) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Nothing to stop."""


class EventsReporter:
    """Write events as JSON lines on standard error: ``plan``, ``progress`` each second, what happens, ``end``."""

    INTERVAL_S = 1.0

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, read: Callable[[], Snapshot]) -> None:
        """Write a progress event each second."""

        async def write() -> None:
            while True:
                await asyncio.sleep(self.INTERVAL_S)
                self.event("progress", **msgspec.to_builtins(read()))

        self._task = asyncio.get_running_loop().create_task(write())

    def say(self, kind: str, text: str, **details: Any) -> None:
        """Write one event."""
        self.event(kind, message=text, **details)

    def stop(self) -> None:
        """Write no more progress."""
        if self._task is not None:
            self._task.cancel()

    @staticmethod
    def event(kind: str, **fields: Any) -> None:
        """Write one JSON line."""
        line = msgspec.json.encode({"event": kind, "version": EVENT_VERSION, "time": round(time.time(), 3), **fields})
        with contextlib.suppress(OSError):
            sys.stderr.write(line.decode() + "\n")
            sys.stderr.flush()


class LiveReporter:
    """A panel that renews itself on a terminal."""

    PER_SECOND = 8.0

    def __init__(self, name: str, limits: Limits) -> None:
        from rich.console import Console

        self._name = name
        self._limits = limits
        self._console = Console(stderr=True, highlight=False)
        self._live: Any = None
        self._quiet_keys = contextlib.ExitStack()

    def start(self, read: Callable[[], Snapshot]) -> None:
        """Show the panel."""
        from rich.live import Live

        from wingbeat.report.panel import panel

        self._live = Live(
            get_renderable=lambda: panel(self._name, read(), self._limits),
            console=self._console,
            refresh_per_second=self.PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,
        )
        self._quiet_keys.enter_context(without_echoed_control_keys())
        self._live.start()

    def say(self, kind: str, text: str, **details: Any) -> None:  # noqa: ARG002
        """Write one line above the panel; what is learnt stands in the panel."""
        if kind == "learnt":
            return
        style = "yellow" if kind in ("refused", "failing", "draining", "warning") else ""
        if self._live is not None:
            self._live.stop()  # printed over a running panel a line of it would stay behind
        self._console.print(text, style=style, markup=False, soft_wrap=True)
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        """Take the panel away."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._quiet_keys.close()


@contextlib.contextmanager
def without_echoed_control_keys() -> Iterator[None]:
    """Keep the terminal from writing ``^C`` into the panel, which would leave a line of it behind."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError, termios.error):
        yield
        return
    local_modes = 3
    changed = [*before]
    changed[local_modes] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def pause_text(failure: Failure, wait_s: float) -> str:
    """Say why the run pauses, and for how long: a quota that was passed, or a service that is down."""
    if failure.kind is not FailureKind.RATE_LIMITED:
        return f"the service fails ({failure.kind}: {failure.detail[:120]}); trying again in {duration(wait_s)}"
    named = []
    for item in failure.violations:
        limit = f" of {count(item.limit)}" if item.limit else ""
        named.append(f"{item.quota_id}{limit}")
    what = ", ".join(named) or failure.detail[:120].rstrip(".")
    return f"refused for quota: {what}; pausing {duration(wait_s)}"


def _line(name: str, now: Snapshot) -> str:
    rows = "?" if now.rows is None else f"{now.rows:,}"
    parts = [f"{now.done:,}/{rows} done", f"{now.failed:,} failed", f"{now.in_flight:,} in flight"]
    parts.append(f"{now.requests_per_minute:,.0f} requests/min")
    parts.append(f"{count(now.input_tokens_per_minute)} tokens/min")
    if now.cost_usd:
        parts.append(money(now.cost_usd))
    if now.waiting_for:
        parts.append(f"waiting for {now.waiting_for}")
    if now.eta_s is not None:
        parts.append(f"{duration(now.eta_s)} left")
    return f"{name}: {', '.join(parts)}"
