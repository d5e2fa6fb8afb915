"""What a run has sent lately, kept in its journal so that the next process does not spend the same quota again."""

from __future__ import annotations

import datetime
from collections import deque

import msgspec

from wingbeat.journal.store import Journal
from wingbeat.ledgers.quota import Quota
from wingbeat.providers.gemini_day import day_of

KEPT_S = 61.0
"""A minute's window and its jitter; older requests count for nothing any more."""


class Sent(msgspec.Struct, frozen=True):
    """Requests that ended about the same time, by the wall clock, and their input tokens."""

    at: float
    requests: int
    input_tokens: int


class Recent(msgspec.Struct):
    """
    What was sent in the last minute and today.

    Args:
        sent: The last minute, oldest first.
        day: The date of the service's day that ``today`` belongs to.
        today: Requests of that day.
        tokens_today: Input tokens of that day.
    """

    sent: list[Sent] = []
    day: str = ""
    today: int = 0
    tokens_today: int = 0


class RecentlySent:
    """
    Keep count of what was sent, and tell a new process's quota of it.

    Requests that were in flight when a process was killed are not known to it.

    Args:
        journal: Where the count is kept.
    """

    NAME = "recent"

    def __init__(self, journal: Journal) -> None:
        kept = journal.read(self.NAME)
        before = Recent() if kept is None else msgspec.convert(kept, Recent)
        self._sent = deque(before.sent)
        self._day = before.day
        self._today = before.today
        self._tokens_today = before.tokens_today

    def add(self, wall_time: float, requests: int, input_tokens: int) -> Recent:
        """Count requests that have just ended; return what is to be kept."""
        day = day_of(datetime.datetime.fromtimestamp(wall_time, datetime.UTC))
        if day != self._day:
            self._day, self._today, self._tokens_today = day, 0, 0
        self._today += requests
        self._tokens_today += input_tokens
        self._sent.append(Sent(wall_time, requests, input_tokens))
        while self._sent and self._sent[0].at < wall_time - KEPT_S:
            self._sent.popleft()
        return Recent(list(self._sent), self._day, self._today, self._tokens_today)

    def tell(self, quota: Quota, wall_time: float, now: float) -> None:
        """
        Count what earlier processes have sent in a quota that has counted nothing yet.

        Args:
            quota: The quota.
            wall_time: The wall clock.
            now: The same moment by the quota's clock.
        """
        for sent in self._sent:
            age_s = wall_time - sent.at
            if 0 <= age_s <= KEPT_S:
                quota.recall(now - age_s, sent.requests, sent.input_tokens)
        if self._day == day_of(datetime.datetime.fromtimestamp(wall_time, datetime.UTC)):
            quota.requests_today += self._today
            quota.input_tokens_today += self._tokens_today
