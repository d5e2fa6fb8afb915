"""Settings of the whole process that a command may change and a library may not."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path

SWITCH_INTERVAL_S = 0.0005
"""How long the event loop may keep the interpreter lock from the HTTP and the journal thread. At Python's own 5 ms the
HTTP thread waits for it while replies lie in its sockets (`benchmarks/figures.py throughput`)."""

COLLECT_AFTER = 50_000
"""Objects between two collections. A run makes few cycles; at Python's own 700 it looks for them in vain."""


def tune_process() -> None:
    """Prepare this process for a run: one core, threads that hand over quickly, little garbage collection."""
    stay_on_this_core()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collect_rarely()


def collect_rarely() -> None:
    """Leave what is there now alone, and look for garbage in the rest once in a while."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


def stay_on_this_core() -> None:
    """
    Keep the process's threads on the core that it runs on now, where the system allows it (Linux).

    Only one of them can run Python at a time. On two cores every reply wakes the other core and moves the interpreter
    lock there: 0.16 ms of CPU a prompt instead of 0.10 (`benchmarks/figures.py throughput`, two cores).
    """
    with contextlib.suppress(AttributeError, OSError, ValueError, IndexError):
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        os.sched_setaffinity(0, {int(after_name[PROCESSOR_FIELD])})


PROCESSOR_FIELD = 36
"""Where ``/proc/self/stat`` names the core last run on, counted behind the name. Source: proc(5), field 39."""
