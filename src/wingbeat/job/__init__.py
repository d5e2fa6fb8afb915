"""A run over files: plan it, find what an earlier one has answered, carry it out, and say how it went."""

from wingbeat.job.identity import RunIdentity
from wingbeat.job.job import FileJob
from wingbeat.job.scan import Scan, Selection, scan

__all__ = ["FileJob", "RunIdentity", "Scan", "Selection", "scan"]
