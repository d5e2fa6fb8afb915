"""Output files as views of the journal: appended to while a run goes on, or built when it ends."""

from wingbeat.sinks.opening import open_sink
from wingbeat.sinks.output import Sink

__all__ = ["Sink", "open_sink"]
