"""Tools for testing code that uses wingbeat: virtual time, and a transport that plays a script."""

from wingbeat.testing.scripted import ScriptedTransport, answer_body
from wingbeat.testing.virtual_time import Deadlock, VirtualTimeLoop, run_virtual

__all__ = ["Deadlock", "ScriptedTransport", "VirtualTimeLoop", "answer_body", "run_virtual"]
