"""Which request goes wrong, and how: a seeded draw, and outages on a schedule."""

from enum import StrEnum
from itertools import accumulate
from random import Random

from wingbeat.simulator.config import FaultConfig


class Fault(StrEnum):
    """The ways in which an admitted request can go wrong."""

    ERROR_429 = "error_429"
    ERROR_500 = "error_500"
    ERROR_503 = "error_503"
    ERROR_504 = "error_504"
    RESET = "reset"
    TRUNCATE = "truncate"
    GARBAGE = "garbage"
    HTML = "html"
    EMPTY = "empty"
    WRONG_SHAPE = "wrong_shape"
    HANG = "hang"
    SLOW_DRIP = "slow_drip"
    STREAM_ERROR = "stream_error"


class Faults:
    """Draw at most one fault for each request; the same seed and order of requests draw the same faults."""

    def __init__(self, config: FaultConfig, seed: int) -> None:
        self._config = config
        self._rng = Random(f"faults:{seed}")
        probabilities = [getattr(config, fault.value) for fault in Fault]
        self._thresholds = tuple(zip(accumulate(probabilities), Fault, strict=True))
        self._is_quiet = not any(probabilities) and config.outage is None

    def draw(self, elapsed_s: float, *, streaming: bool) -> Fault | None:
        """
        Return the fault of the next request, if any.

        Args:
            elapsed_s: Seconds since the simulator started, for the outage.
            streaming: Whether the reply is a stream of events; `STREAM_ERROR` happens only there.
        """
        if self._is_quiet:
            return None
        outage = self._config.outage
        is_out = outage is not None and outage.start_s <= elapsed_s < outage.start_s + outage.length_s
        if outage is not None and is_out and self._rng.random() < outage.probability:
            return Fault.ERROR_503
        drawn = self._rng.random()
        for threshold, fault in self._thresholds:
            if drawn < threshold:
                return None if fault is Fault.STREAM_ERROR and not streaming else fault
        return None

    def coin(self) -> bool:
        """Return one fair, seeded bit, to choose between two recorded texts of the same error."""
        return self._rng.random() < 0.5
