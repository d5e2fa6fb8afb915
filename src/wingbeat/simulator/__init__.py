"""
A server on loopback that speaks the Gemini API's wire: quotas, latencies and faults without a key or a bill.

It shares no code with the client, so that a wrong codec meets an independent witness.
"""

from wingbeat.simulator.app import SimulatorApp
from wingbeat.simulator.config import FaultConfig, LatencyConfig, Outage, QuotaConfig, SimulatorConfig
from wingbeat.simulator.reply import Ending, Reply
from wingbeat.simulator.server import Simulator
from wingbeat.simulator.statistics import Statistics

__all__ = [
    "Ending",
    "FaultConfig",
    "LatencyConfig",
    "Outage",
    "QuotaConfig",
    "Reply",
    "Simulator",
    "SimulatorApp",
    "SimulatorConfig",
    "Statistics",
]
