"""Make outcomes durable in groups, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")

GROUP_WAIT_S = 0.05
"""Longest time an outcome waits for others to be committed with it. With the commit itself this keeps what a kill
can lose under 100 ms of answers."""

GROUP_ROWS = 1000
"""A group of this many is committed at once."""

MOST_WAITING = 4_000
"""Lanes wait when so many outcomes are not committed yet: the disk is slower than the service."""


class GroupWriter(Generic[T]):
    """
    Collect outcomes and commit them together, in the order in which they came.

    `put` returns at once until the disk falls behind. An error of ``commit`` is raised by the next `put` and by
    `close`; nothing is committed after it.

    Args:
        commit: Makes a group durable; called in a thread, one call at a time.
    """

    def __init__(self, commit: Callable[[list[T]], None]) -> None:
        self._commit = commit
        self._group: list[T] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wingbeat-journal")
        self._loop = asyncio.get_running_loop()
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = False
        self._error: Exception | None = None
        self._task = self._loop.create_task(self._write())

    def __repr__(self) -> str:
        return f"<GroupWriter {len(self._group)} waiting>"

    def put(self, item: T) -> asyncio.Future[None] | None:
        """
        Take one outcome.

        Returns:
            None, or something to await when the disk is behind.
        """
        if self._error is not None:
            raise self._error
        if self._task.done():
            raise RuntimeError("put after close: nothing would commit it")
        self._group.append(item)
        waiting = len(self._group)
        if waiting == 1 or waiting == GROUP_ROWS:
            self._something.set()
        if waiting >= MOST_WAITING:
            self._room.clear()
            return asyncio.ensure_future(self._wait_for_room())
        return None

    async def close(self) -> None:
        """Commit what is left and stop the thread. When cancelled meanwhile, it does both first."""
        self._closing = True
        self._something.set()
        cancelled: asyncio.CancelledError | None = None
        while not self._task.done():
            try:
                await asyncio.shield(self._task)
            except asyncio.CancelledError as error:
                cancelled = error
        self._thread.shutdown(wait=True)
        if self._error is not None:
            raise self._error
        if cancelled is not None:
            raise cancelled

    async def _wait_for_room(self) -> None:
        await self._room.wait()
        if self._error is not None:
            raise self._error

    async def _write(self) -> None:
        while not (self._closing and not self._group):
            await self._something.wait()
            self._something.clear()
            if len(self._group) < GROUP_ROWS and not self._closing:
                try:
                    async with asyncio.timeout(GROUP_WAIT_S):
                        await self._something.wait()
                except TimeoutError:
                    pass
            self._something.clear()
            group, self._group = self._group, []
            if group:
                try:
                    await self._loop.run_in_executor(self._thread, self._commit, group)
                except Exception as error:  # noqa: BLE001 - raised again by put and close
                    self._error = error
                    self._room.set()
                    return
            self._room.set()
            if self._group:
                self._something.set()
