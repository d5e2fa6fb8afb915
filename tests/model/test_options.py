"""Options as users write them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingbeat.model.options import NO_OPTIONS, OPTION_NAMES, Options, parse_options


def test_known_and_unknown_names_are_parted() -> None:
    """Names that are not ours go to ``extra``; None is not set at all."""
    options = parse_options({"temperature": 1, "top_k": None, "response_mime_type": "text/plain", "stop": "x"})
    assert options == Options(temperature=1.0, stop=("x",), extra={"response_mime_type": "text/plain"})


@pytest.mark.parametrize(
    "raw",
    [
        {"temperature": -0.1},
        {"temperature": "hot"},
        {"temperature": float("nan")},
        {"top_p": 1.01},
        {"top_k": 0},
        {"max_output_tokens": 0},
        {"max_output_tokens": 1.5},
        {"thinking_budget": -2},
        {"stop": [1]},
        {"stop": {}},
        {"seed": True},
    ],
)
def test_values_out_of_range_are_refused(raw: dict[str, Any]) -> None:
    """A value that no service takes is named before anything is sent."""
    with pytest.raises(ValueError, match="bad generation option"):
        parse_options(raw)


def test_merging_lets_the_row_win() -> None:
    """A row's own options replace the run's, and extras are joined."""
    run = Options(temperature=0.5, seed=1, extra={"a": 1, "b": 1})
    row = Options(temperature=0.0, extra={"b": 2})
    assert run.merged(row) == Options(temperature=0.0, seed=1, extra={"a": 1, "b": 2})
    assert run.merged(NO_OPTIONS) is run
    assert NO_OPTIONS.merged(row) is row


@given(st.dictionaries(st.sampled_from([*OPTION_NAMES, "extra", "x"]), st.one_of(st.none(), st.integers(), st.text())))
def test_anything_is_read_or_refused(raw: dict[str, Any]) -> None:
    """Whatever is given, the result is options or a ValueError that names the option."""
    message = ""
    try:
        options = parse_options(raw)
    except ValueError as error:
        message = str(error)
    else:
        assert parse_options(options.as_dict()) == options
    assert not message or message.startswith("bad generation option")
