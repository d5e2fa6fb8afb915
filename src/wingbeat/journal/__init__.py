"""What was answered, durably: SQLite, written in groups, found again by content."""

from wingbeat.journal.store import Journal, Kept, Progress, journal_path
from wingbeat.journal.writer import GroupWriter

__all__ = ["GroupWriter", "Journal", "Kept", "Progress", "journal_path"]
