import asyncio
import threading

import pytest

from wingbeat.journal import GroupWriter
from wingbeat.journal.writer import GROUP_ROWS, MOST_WAITING


class Disk:
    """What groups were committed; can be held up and can fail."""

    def __init__(self):
        self.groups = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error = None

    def commit(self, group):
        self.begun.set()
        self.may_go_on.wait(10)
        if self.error is not None:
            raise self.error
        self.groups.append(group)

    @property
    def rows(self):
        return [row for group in self.groups for row in group]


async def until(event):
    """Wait for an event of another thread without blocking the loop."""
    assert await asyncio.to_thread(event.wait, 10)


async def test_order_is_kept():
    """Outcomes are committed in the order in which they came, in few groups, the last ones by `close`."""
    disk = Disk()
    writer = GroupWriter(disk.commit)
    for row in range(3 * GROUP_ROWS + 7):
        waiting = writer.put(row)
        assert waiting is None
        if row % 1000 == 0:
            await asyncio.sleep(0)
    await writer.close()
    assert disk.rows == list(range(3 * GROUP_ROWS + 7))
    assert len(disk.groups) < 12


async def test_closing_with_nothing():
    """A writer that was given nothing commits nothing and closes, twice if need be."""
    disk = Disk()
    writer = GroupWriter(disk.commit)
    await writer.close()
    await writer.close()
    assert disk.groups == []


async def test_one_outcome_is_committed_without_close():
    """A single outcome is committed though no other follows."""
    disk = Disk()
    writer = GroupWriter(disk.commit)
    writer.put("one")
    await until(disk.begun)
    await writer.close()
    assert disk.rows == ["one"]


async def test_a_slow_disk_makes_callers_wait():
    """When far too many outcomes wait, `put` returns something to await, which ends when the disk has caught up."""
    disk = Disk()
    disk.may_go_on.clear()
    writer = GroupWriter(disk.commit)
    writer.put(0)
    await until(disk.begun)
    waits = [wait for row in range(1, MOST_WAITING + 2) if (wait := writer.put(row)) is not None]
    assert len(waits) == 2
    assert not any(wait.done() for wait in waits)
    disk.may_go_on.set()
    await asyncio.gather(*waits)
    await writer.close()
    assert disk.rows == list(range(MOST_WAITING + 2))


async def test_an_error_is_raised_by_put_and_close():
    """After a failed commit every `put` and `close` raise its error, and nothing more is committed."""
    disk = Disk()
    disk.error = OSError("disk on fire")
    writer = GroupWriter(disk.commit)
    writer.put(1)
    await until(disk.begun)
    with pytest.raises(OSError, match="on fire"):
        await writer.close()
    disk.error = None
    for _ in range(2):
        with pytest.raises(OSError, match="on fire"):
            writer.put(2)
        with pytest.raises(OSError, match="on fire"):
            await writer.close()
    assert disk.groups == []


async def test_an_error_wakes_who_waits():
    """Callers who wait for a disk that then fails are told, not left waiting."""
    disk = Disk()
    disk.may_go_on.clear()
    writer = GroupWriter(disk.commit)
    writer.put(0)
    await until(disk.begun)
    waits = [wait for row in range(MOST_WAITING) if (wait := writer.put(row)) is not None]
    disk.error = OSError("disk on fire")
    disk.may_go_on.set()
    told = await asyncio.gather(*waits, return_exceptions=True)
    assert [str(error) for error in told] == ["disk on fire"]
    with pytest.raises(OSError, match="on fire"):
        await writer.close()


async def test_cancelled_close_commits_first():
    """A `close` that is cancelled, even twice, still commits everything before it ends as cancelled."""
    disk = Disk()
    disk.may_go_on.clear()
    writer = GroupWriter(disk.commit)
    writer.put(0)
    await until(disk.begun)
    writer.put(1)
    closing = asyncio.create_task(writer.close())
    for _ in range(2):
        await asyncio.sleep(0)
        closing.cancel()
    await asyncio.sleep(0)
    disk.may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert disk.rows == [0, 1]


async def test_a_cancelled_caller_loses_nothing():
    """A caller cancelled while it waits for the disk leaves its outcome with the writer."""
    disk = Disk()
    disk.may_go_on.clear()
    writer = GroupWriter(disk.commit)
    writer.put(0)
    await until(disk.begun)
    waits = [wait for row in range(1, MOST_WAITING + 1) if (wait := writer.put(row)) is not None]
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    disk.may_go_on.set()
    await writer.close()
    assert disk.rows == list(range(MOST_WAITING + 1))


async def test_put_after_close_is_refused():
    """What would never be committed is not taken."""
    writer = GroupWriter(Disk().commit)
    await writer.close()
    with pytest.raises(RuntimeError, match="after close"):
        writer.put(1)
