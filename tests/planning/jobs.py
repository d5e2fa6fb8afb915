"""Jobs to forecast: rows of many sizes, for a model whose latency is recorded."""

from __future__ import annotations

from random import Random
from typing import Any

from wingbeat.config import find_service
from wingbeat.forecasting import Job
from wingbeat.job.sizes import MOST_SIZES, SizeSample
from wingbeat.ledgers.limits import Limits
from wingbeat.ledgers.prices import Prices, TokenPrice
from wingbeat.modelled import OutputLengths
from wingbeat.rehearsal import Setting

PRICES = Prices(TokenPrice(0.3), TokenPrice(2.5), None, "prices of a test")
MODEL = "gemini-2.5-flash"


def setting(*, model: str = MODEL, outputs: float = 400.0, simulator: str | None = None, **limits: Any) -> Setting:
    """Return a setting within limits; nothing is looked up."""
    service = find_service(model, needs_key=False, environment={})
    return Setting(service, Limits(**limits), OutputLengths(outputs), PRICES, simulator=simulator)


def sizes_of(rows: int, *, mean: float = 100.0, kept: int = MOST_SIZES, most_output: int | None = None) -> SizeSample:
    """Return rows whose sizes are spread widely around their mean."""
    random = Random(7)
    sizes = SizeSample(kept)
    for _ in range(rows):
        sizes.add(max(1.0, random.lognormvariate(0, 0.8) * mean / 1.377), most_output)
    return sizes


def job(rows: int, *, mean: float = 100.0, most_output: int | None = None, **given: Any) -> Job:
    """Return a job of so many rows."""
    return Job(setting(**given), rows, sizes_of(rows, mean=mean, most_output=most_output))
