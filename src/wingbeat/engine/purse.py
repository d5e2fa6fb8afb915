"""Money set aside for requests; lanes wait here while what is in flight may still leave something over."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from wingbeat.ledgers.budget import Budget


class Purse:
    """
    Set money aside for each request; what is spent and set aside together stays within the budget.

    Lanes that wait are served in order, each once there is enough for it; one that is cancelled leaves no trace. When
    nothing in flight can leave anything over, all that wait are sent away.

    Args:
        budget: What may be spent.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._waiting: deque[tuple[float, asyncio.Future[bool]]] = deque()

    def __repr__(self) -> str:
        return f"<Purse {len(self._waiting)} waiting, {self.budget!r}>"

    def take(self, amount_usd: float) -> bool:
        """Set money aside for one request; False, and nothing set aside, when it could overshoot or others wait."""
        self._serve()
        return not self._waiting and self.budget.reserve(amount_usd)

    async def take_in_turn(self, amount_usd: float, waiters: set[asyncio.Future[Any]]) -> bool:
        """
        Set money aside for one request once there is enough.

        Args:
            amount_usd: What it may cost.
            waiters: Holds the lane's future while it waits, for the end of a whole run.

        Returns:
            False when there will not be enough: nothing that is in flight can leave anything over.
        """
        if self.take(amount_usd):
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount_usd, future))
        self._serve()
        waiters.add(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None and future.result():
                self.settle(amount_usd, 0.0)
            raise
        finally:
            waiters.discard(future)

    def settle(self, reserved_usd: float, spent_usd: float) -> None:
        """Turn what was set aside into what was really spent."""
        if reserved_usd or spent_usd:
            self.budget.settle(reserved_usd, spent_usd)
            self._serve()

    def _serve(self) -> None:
        waiting = self._waiting
        while waiting:
            amount_usd, future = waiting[0]
            if not future.done():
                if self.budget.reserve(amount_usd):
                    future.set_result(True)
                elif self.budget.open_reservations:
                    return
                else:
                    future.set_result(False)
            waiting.popleft()
