"""Prices of a model from the package genai-prices, which works offline; looked up once and remembered for a day."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
from pathlib import Path
from typing import Any

import msgspec

from wingbeat.ledgers.prices import Prices, Tier, TokenPrice


def find_prices(model: str, *, cache_folder: Path | None = None) -> Prices | None:
    """
    Return a Gemini model's prices as of today, or None when the package knows none.

    Importing the package takes a fifth of a second, so what was found is kept in the user's cache for the day.

    Args:
        model: The model's own name.
        cache_folder: Where to keep it; the user's cache by default.
    """
    origin = importlib.util.find_spec("genai_prices")
    if origin is None or origin.origin is None:
        return None
    today = datetime.datetime.now(datetime.UTC).date()
    stamp = f"{Path(origin.origin).with_name('data.py').stat().st_mtime_ns:x}-{today}"
    file = (cache_folder or _cache_folder()) / f"prices-{stamp}-{_safe(model)}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode(file.read_bytes(), type=Prices | None)
    prices = _look_up(model, today)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in file.parent.glob("prices-*.json"):
            if not old.name.startswith(f"prices-{stamp}-"):
                old.unlink(missing_ok=True)
        file.write_bytes(msgspec.json.encode(prices))
    return prices


def _look_up(model: str, today: datetime.date) -> Prices | None:
    from importlib.metadata import version

    from genai_prices.data_snapshot import get_snapshot

    try:
        _provider, info = get_snapshot().find_provider_model(model, None, "google", None)
    except LookupError:
        return None
    now = datetime.datetime.combine(today, datetime.time(12), datetime.UTC)
    price = info.get_prices(now)
    if price.input_mtok is None or price.output_mtok is None:
        return None
    return Prices(
        input=_token_price(price.input_mtok),
        output=_token_price(price.output_mtok),
        cached=None if price.cache_read_mtok is None else _token_price(price.cache_read_mtok),
        source=f"genai-prices {version('genai-prices')}, as of {today}",
    )


def _token_price(raw: Any) -> TokenPrice:
    if hasattr(raw, "tiers"):
        return TokenPrice(float(raw.base), tuple(Tier(tier.start, float(tier.price)) for tier in raw.tiers))
    return TokenPrice(float(raw))


def _cache_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("wingbeat", appauthor=False))


def _safe(model: str) -> str:
    return "".join(char if char.isalnum() or char in "-._" else "_" for char in model)
