"""Prices, against the package that they come from."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from wingbeat.ledgers.prices import Prices, Tier, TokenPrice
from wingbeat.model.answer import Usage
from wingbeat.pricing import find_prices

MODELS = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash", "gemini-2.5-flash-lite"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep prices away from the user's own cache."""
    return tmp_path_factory.mktemp("prices")


def test_tiers_take_all_tokens() -> None:
    """Above a tier's start the dearer price holds for all tokens; at the start it does not yet."""
    price = TokenPrice(1.0, (Tier(200_000, 2.0),))
    assert (price.of(200_000, 200_000), price.of(200_001, 200_001)) == (0.2, 0.400002)


def test_cached_tokens_without_a_price_cost_as_others() -> None:
    """A model without a price for cached input charges it as input."""
    prices = Prices(TokenPrice(1.0), TokenPrice(2.0), None, "test")
    assert prices.cost_usd(Usage(1_000_000, 0, 0, 500_000)) == 1.0


def test_no_answer_costs_less_than_nothing() -> None:
    """A reply that claims more cached tokens than it had input is priced as wholly cached."""
    prices = Prices(TokenPrice(1.0), TokenPrice(2.0), TokenPrice(0.1), "test")
    assert prices.cost_usd(Usage(10, 0, 0, 1000)) == pytest.approx(1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 400_000), st.integers(0, 70_000), st.floats(0, 1))
def test_costs_agree_with_their_source(
    folder: Path, model: str, input_tokens: int, output_tokens: int, cached_share: float
) -> None:
    """The price of any usage is what genai-prices itself calculates."""
    prices = find_prices(model, cache_folder=folder)
    assert prices is not None
    cached = int(input_tokens * cached_share)
    noon = datetime.datetime.combine(datetime.datetime.now(datetime.UTC).date(), datetime.time(12), datetime.UTC)
    theirs = calc_price(
        TheirUsage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached),
        model,
        provider_id="google",
        genai_request_timestamp=noon,
    )
    ours = prices.cost_usd(Usage(input_tokens, output_tokens, 0, cached))
    assert ours == pytest.approx(float(theirs.total_price), abs=1e-12)


def test_an_unknown_model_has_no_price(folder: Path) -> None:
    """No price is made up, and not knowing is remembered too."""
    for _ in range(2):
        assert find_prices("gemini-imaginary-99", cache_folder=folder) is None


@pytest.mark.parametrize("rubbish", [b"", b"{", b"\xff\xfe", b'{"input": 5}', b"[]"])
def test_a_broken_cache_is_looked_up_anew(folder: Path, rubbish: bytes) -> None:
    """A file of the cache that can't be read is no error."""
    find_prices("gemini-2.5-flash", cache_folder=folder)
    (file,) = folder.glob("prices-*-gemini-2.5-flash.json")
    file.write_bytes(rubbish)
    assert find_prices("gemini-2.5-flash", cache_folder=folder) is not None
