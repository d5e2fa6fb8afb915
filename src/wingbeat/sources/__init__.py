"""Read prompts from files, pipes and plain texts; one bad row never spoils the others."""

from wingbeat.sources.opening import open_source
from wingbeat.sources.rows import BadRow, Row, Source

__all__ = ["BadRow", "Row", "Source", "open_source"]
