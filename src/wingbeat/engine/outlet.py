"""The way of outcomes from a run to whoever iterates over them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from typing import Any

from wingbeat.model.answer import Outcome

CANCEL_AGAIN_S = 0.2
"""A foreign library may lose a cancellation; so it is asked for until it has happened."""


class Outlet:
    """
    Hand outcomes on as they come; when nobody takes them the run waits, and so does its source.

    Args:
        size: Most outcomes that wait to be taken.
    """

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[Outcome | None] = asyncio.Queue(maxsize=max(16, size))

    async def put(self, outcome: Outcome) -> None:
        """Hand one outcome on, when there is room."""
        await self._queue.put(outcome)

    def offer(self, outcome: Outcome) -> Awaitable[None] | None:
        """Hand one outcome on at once where there is room; else return what has to be awaited."""
        try:
            self._queue.put_nowait(outcome)
        except asyncio.QueueFull:
            return self._queue.put(outcome)
        return None

    async def outcomes_of(self, run: Coroutine[Any, Any, None]) -> AsyncGenerator[Outcome, None]:
        """
        Carry a run out beside the iteration, and yield what it puts in; its error is raised at the end.

        Closing the generator early cancels the run and waits until it has ended.
        """
        task = asyncio.create_task(self._to_its_end(run))
        try:
            while not (task.done() and self._queue.empty()):
                outcome = await self._queue.get()
                if outcome is not None:
                    yield outcome
            await task
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
            if not task.cancelled():
                task.exception()  # whoever left early does not want it

    async def _to_its_end(self, run: Coroutine[Any, Any, None]) -> None:
        try:
            await run
        finally:
            # Wakes whoever waits for an outcome. A full queue needs no waking: the end is seen when it is empty.
            with contextlib.suppress(asyncio.QueueFull):
                self._queue.put_nowait(None)
