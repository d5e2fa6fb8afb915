"""Settings of the whole process that a command may change and a library may not."""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_S = 0.0005
"""How long the event loop may keep the interpreter lock from the HTTP and the journal thread. At Python's own 5 ms the
HTTP thread waits for it while replies lie in its sockets: a fifth of the throughput (`benchmarks/figures.py`)."""

COLLECT_AFTER = 50_000
"""Objects between two collections. A run makes few cycles; at Python's own 700 it looks for them in vain."""


def tune_process() -> None:
    """Prepare this process for a run: the modules in memory are no garbage, and threads hand over quickly."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)
