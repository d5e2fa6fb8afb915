"""Money set aside for requests; lanes wait here while what is in flight may still leave something over."""

from __future__ import annotations

import asyncio

from wingbeat.ledgers.budget import Budget


class Purse:
    """
    Set money aside for each request; what is spent and set aside together stays within the budget.

    Args:
        budget: What may be spent.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._settled = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Purse {self.budget!r}>"

    @property
    def may_be_refilled(self) -> bool:
        """True while requests in flight have money set aside, of which they may leave some."""
        return self.budget.open_reservations > 0

    def take(self, amount_usd: float) -> bool:
        """Set money aside for one request; False, and nothing set aside, when it could overshoot."""
        self._settled.clear()
        return self.budget.reserve(amount_usd)

    def settle(self, reserved_usd: float, spent_usd: float) -> None:
        """Turn what was set aside into what was really spent."""
        if reserved_usd or spent_usd:
            self.budget.settle(reserved_usd, spent_usd)
            self._settled.set()

    async def wait_settled(self) -> None:
        """Wait until some request has settled."""
        await self._settled.wait()
