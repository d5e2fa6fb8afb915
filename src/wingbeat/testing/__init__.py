"""Tools for testing code that uses wingbeat: virtual time, a scripted transport, and the simulator in process."""

from wingbeat.testing.scripted import ScriptedTransport, answer_body
from wingbeat.testing.simulated import Served, SimulatedTransport
from wingbeat.testing.virtual_time import Deadlock, VirtualTimeLoop, run_virtual

__all__ = [
    "Deadlock",
    "ScriptedTransport",
    "Served",
    "SimulatedTransport",
    "VirtualTimeLoop",
    "answer_body",
    "run_virtual",
]
