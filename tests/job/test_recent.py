"""What one process has sent counts for the next."""

import datetime
from pathlib import Path

import pytest

from wingbeat.job.recent import RecentlySent
from wingbeat.journal import Journal
from wingbeat.ledgers.quota import Cost, Quota

NOON = datetime.datetime(2026, 7, 1, 20, tzinfo=datetime.UTC).timestamp()


def test_a_minute_s_requests_fill_the_next_process_s_window(tmp_path: Path):
    """A process that starts 20 s after another had sent a minute's quota waits out the rest of the window."""
    with Journal(tmp_path / "a.journal") as journal:
        journal.keep(recent=RecentlySent(journal).add(NOON, 10, 500))
        quota = Quota(10, 1_000_000)
        RecentlySent(journal).tell(quota, NOON + 20, 1000.0)
    assert quota.ready_at(1000.0, Cost(10)) == pytest.approx(1040.25)


def test_older_requests_count_for_nothing(tmp_path: Path):
    """Two minutes later the quota is whole again."""
    with Journal(tmp_path / "a.journal") as journal:
        journal.keep(recent=RecentlySent(journal).add(NOON, 10, 500))
        quota = Quota(10)
        RecentlySent(journal).tell(quota, NOON + 120, 1000.0)
    assert quota.ready_at(1000.0, Cost(10)) == 1000.0


@pytest.mark.parametrize(("hours", "today", "tokens"), [(1, 7, 90), (12, 0, 0)])
def test_the_day_goes_on_until_midnight_pacific(tmp_path: Path, hours: int, today: int, tokens: int):
    """Requests and tokens of the day are counted over all processes, and forgotten at midnight Pacific time."""
    with Journal(tmp_path / "a.journal") as journal:
        journal.keep(recent=RecentlySent(journal).add(NOON, 7, 90))
        quota = Quota(requests_per_day=10, input_tokens_per_day=100)
        RecentlySent(journal).tell(quota, NOON + hours * 3600, 0.0)
    assert quota.requests_today == today
    assert quota.input_tokens_today == tokens


def test_a_journal_that_counts_no_tokens_of_the_day_is_read(tmp_path: Path):
    """A journal of before counted only the day's requests: its tokens are taken for none."""
    with Journal(tmp_path / "a.journal") as journal:
        journal.keep(recent={"sent": [], "day": "2026-07-01", "today": 7})
        quota = Quota(requests_per_day=10, input_tokens_per_day=100)
        RecentlySent(journal).tell(quota, NOON, 0.0)
    assert (quota.requests_today, quota.input_tokens_today) == (7, 0)


def test_a_minute_is_kept_and_no_more(tmp_path: Path):
    """What is kept stays small however long the run is."""
    with Journal(tmp_path / "a.journal") as journal:
        recent = RecentlySent(journal)
        for second in range(1000):
            kept = recent.add(NOON + second, 1, 1)
    assert 60 <= len(kept.sent) <= 62
    assert kept.today == 1000


def test_a_clock_set_back_harms_nothing(tmp_path: Path):
    """Requests that seem to lie in the future are not counted."""
    with Journal(tmp_path / "a.journal") as journal:
        journal.keep(recent=RecentlySent(journal).add(NOON, 10, 500))
        quota = Quota(10)
        RecentlySent(journal).tell(quota, NOON - 3600, 1000.0)
    assert quota.ready_at(1000.0, Cost(10)) == 1000.0
