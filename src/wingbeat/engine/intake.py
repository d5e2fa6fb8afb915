"""Hand records to lanes one at a time, from whatever the caller has; nothing is read before a lane is free."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

from wingbeat.model.record import Record


class IteratorIntake:
    """Hand out records of a plain iterator, in order. Its ``next`` runs on the event loop and must not block."""

    def __init__(self, records: Iterator[Record]) -> None:
        self._records = records

    async def next_record(self) -> Record | None:
        """Return the next record, or None at the end."""
        return next(self._records, None)

    def close(self) -> None:
        """Nobody waits for a plain iterator, so there is nothing to end."""


class AsyncIntake:
    """Hand out records of an async iterator, in order; lanes that ask meanwhile wait their turn."""

    def __init__(self, records: AsyncIterator[Record]) -> None:
        self._records = records
        self._turn = asyncio.Lock()
        self._reading: asyncio.Future[Record] | None = None
        self._ended = False
        self._closed = False

    async def next_record(self) -> Record | None:
        """Return the next record, or None at the end."""
        async with self._turn:
            if self._ended:
                return None
            try:
                self._reading = asyncio.ensure_future(anext(self._records))
                return await self._reading
            except StopAsyncIteration:
                self._ended = True
                return None
            except asyncio.CancelledError:
                if self._closed:
                    return None
                self._ended = True
                task = asyncio.current_task()
                if task is not None and not task.cancelling():
                    raise RuntimeError("the source was cancelled while it was read") from None
                raise
            except BaseException:
                self._ended = True
                raise

    def close(self) -> None:
        """Stop waiting for the iterator."""
        self._closed = self._ended = True
        if self._reading is not None:
            self._reading.cancel()


class BlockingIntake:
    """
    Hand out records of an iterator that may block (a pipe), read ahead by a thread of its own.

    Args:
        records: The iterator; only the thread touches it.
        ahead: Most records read before a lane takes them.
    """

    def __init__(self, records: Iterator[Record], ahead: int = 64) -> None:
        self._records = records
        self._room = threading.Semaphore(ahead)
        self._queue: asyncio.Queue[Record | BaseException | None] = asyncio.Queue()
        self._thread: threading.Thread | None = None
        self._ended = False

    async def next_record(self) -> Record | None:
        """Return the next record, or None at the end; an error of the iterator is raised here, once."""
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._read, args=(loop,), name="wingbeat-source", daemon=True)
            self._thread.start()
        if self._ended:
            return None
        item = await self._queue.get()
        if isinstance(item, Record):
            self._room.release()
            return item
        self._ended = True
        self._queue.put_nowait(None)
        if item is not None:
            raise item
        return None

    def close(self) -> None:
        """Stop waiting for the iterator; its thread ends with the process."""
        self._ended = True
        self._queue.put_nowait(None)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        end: BaseException | None = None
        try:
            for record in self._records:
                self._room.acquire()
                loop.call_soon_threadsafe(self._queue.put_nowait, record)
        except BaseException as error:  # noqa: BLE001 - raised again in the lane that reads next
            end = error
        with contextlib.suppress(RuntimeError):  # the loop has ended; nobody reads on
            loop.call_soon_threadsafe(self._queue.put_nowait, end)
