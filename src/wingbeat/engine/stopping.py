"""Whether a run is to stop, and why: a drain asked for, or something that no further request can mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from wingbeat.engine.admission import AdmissionClosed
from wingbeat.engine.route import Route
from wingbeat.engine.statistics import Statistics
from wingbeat.errors import AccessRefused, BudgetSpent, QuotaExhausted, RunStopped, ServiceDown
from wingbeat.ledgers.budget import Budget
from wingbeat.model.answer import Failure, FailureKind

HOPELESS_AFTER_S = 600.0
"""A service that has given nothing but failures, or nothing but refusals, for so long stops the run."""

ALL_INVALID_AFTER = 20
"""So many requests refused as invalid, with none answered, stop the run: the next thousands would be refused too."""

_HINTS = {
    FailureKind.INVALID_KEY: "set GEMINI_API_KEY or GOOGLE_API_KEY to a valid key; get one in Google AI Studio",
    FailureKind.PERMISSION: "check that the key's project may use this API and model",
    FailureKind.NOT_FOUND: "check the model's name and --api-version; --base-url must not hold the version",
    FailureKind.NO_QUOTA: "this model is not on the key's plan: choose another model, or link billing",
}


class Stopping:
    """
    The one switch that ends a run early, without losing what is in flight.

    Args:
        notice: Called with every refusal for quota, and every failure of a service that is down, and the seconds of
            pause that follow it; or None.
        close_intake: Called once when the run is to stop, so that no lane waits for input.
    """

    def __init__(
        self,
        notice: Callable[[Failure, float], None] | None = None,
        close_intake: Callable[[], None] = lambda: None,
    ) -> None:
        self._close_intake = close_intake
        self.cause: RunStopped | None = None
        self.granted_go = False
        self.waiters: set[asyncio.Future[Any]] = set()
        self._event = asyncio.Event()
        self._notice = notice

    def __repr__(self) -> str:
        return f"<Stopping {self.is_set} {self.cause!r}>"

    @property
    def is_set(self) -> bool:
        """True once nothing new is to be sent."""
        return self._event.is_set()

    def drain(self) -> None:
        """Send nothing new; what is in flight ends."""
        if not self._event.is_set():
            self._event.set()
            self._close_intake()
            for future in self.waiters:
                if not future.done():
                    future.set_exception(AdmissionClosed())

    def stop(self, cause: RunStopped) -> None:
        """Drain for a reason that the run reports; the first reason stays."""
        if self.cause is None and not self._event.is_set():
            self.cause = cause
        self.drain()

    def stop_for(self, cause: Literal["day_quota", "access", "spending"], failure: Failure, route: Route) -> None:
        """Stop because the service said that nothing else can succeed either."""
        if cause == "day_quota":
            named = ", ".join(item.quota_id for item in failure.violations if item.window_s == 86_400.0)
            self.stop_for_day(route, f"{failure.detail} ({named})" if named else failure.detail)
        elif cause == "spending":
            hint = "raise the spending limit or wait for it to reset, then run the same command again"
            self.stop(AccessRefused(f"{route.name}: the account can't spend more: {failure.detail}", hint=hint))
        else:
            message = f"{route.name}: the service refuses this run: {failure.detail}"
            self.stop(AccessRefused(message, hint=_HINTS.get(failure.kind)))

    def stop_for_day(self, route: Route, detail: str, *, granted_go: bool = False) -> None:
        """
        Stop because the requests of the day are used up, and say when they are back.

        Args:
            route: The route.
            detail: What is used up, for a person.
            granted_go: Whether requests that were granted before are still sent: the last of the user's own allowance.
        """
        self.granted_go = granted_go
        resets = route.day_resets()
        hint = f"run the same command again after the quota resets at {resets}; what was answered is kept"
        self.stop(QuotaExhausted(f"{route.name}: the day's quota is used up: {detail}", hint=hint))

    def stop_for_budget(self, budget: Budget, next_usd: float) -> None:
        """Stop because the next request could cost more than is left."""
        message = (
            f"spent {budget.spent_usd:.6f} USD with {budget.reserved_usd:.6f} in flight of {budget.limit_usd:g}; "
            f"the next request may cost {next_usd:.6f}"
        )
        self.stop(BudgetSpent(message, hint="run the same command again with a higher --max-cost"))

    def stop_if_hopeless(self, route: Route, now: float) -> bool:
        """Stop, and return True, when the route has given nothing good for ten minutes."""
        for since, what in (
            (route.breaker.failing_since, "failed"),
            (route.quota.refusing_since, "refused every request"),
        ):
            if since is not None and now - since >= HOPELESS_AFTER_S:
                message = f"{route.name}: the service has {what} for {(now - since) / 60:.0f} minutes"
                self.stop(ServiceDown(message, hint="run the same command again later; what was answered is kept"))
                return True
        return False

    def stop_if_all_invalid(self, statistics: Statistics, failure: Failure, route: Route) -> None:
        """Stop when a good many requests were refused as wrong and none was answered: the options are wrong."""
        invalid = statistics.failures[FailureKind.INVALID_REQUEST]
        if invalid >= ALL_INVALID_AFTER and not statistics.answered:
            message = f"{route.name}: the service refuses every request as invalid: {failure.detail}"
            self.stop(AccessRefused(message, hint="mend the options or the rows, then run the same command again"))

    def note_pause(self, failure: Failure, wait_s: float) -> None:
        """Tell whoever shows the run why it pauses, for quota or because the service is down, and for how long."""
        if self._notice is not None:
            self._notice(failure, wait_s)

    async def sleep(self, seconds: float) -> bool:
        """Sleep unless the run stops; True when the whole time has passed."""
        if self._event.is_set():
            return False
        if seconds <= 0:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return True
        return False
