"""The bench over real sockets: what it reckons from arrivals, and a few seconds of it with two processes a cell."""

from __future__ import annotations

import pytest
from benchmarks.quota import loopback
from benchmarks.quota.pair import PROMPT_TOKENS, Arrival, Backlog, Cell, ClientReport, Counted, tokens_of

CLIENT = ClientReport(cpu_s=0.5, answered=4, failed=0, learnt="")


def cell(counted: Counted, per_minute: int, *, is_known: bool, minutes: float, mixed_scripts: bool = False) -> Cell:
    """Return a cell whose service counts over a sliding window."""
    return Cell(
        counted=counted,
        per_minute=per_minute,
        enforcement="sliding",
        is_known=is_known,
        minutes=minutes,
        mixed_scripts=mixed_scripts,
    )


def test_every_way_of_enforcing_meets_every_limit_known_and_unknown() -> None:
    """Side by side run two limits, four enforcements, known and unknown, and one cell of mixed scripts."""
    found = loopback.cells(8.0)
    assert len({(each.counted, each.enforcement, each.is_known) for each in found}) == 16
    assert [each.mixed_scripts for each in found].count(True) == 1
    assert len({each.name for each in found}) == len(found) == 17


def test_only_the_measured_minutes_count_as_used_but_all_refusals_count() -> None:
    """Time begins with the first request; a known limit is measured from minute 2 to the end of the cell."""
    arrivals = [
        Arrival(100.0, 50, True),
        Arrival(110.0, 50, False),
        Arrival(220.0, 30, True),
        Arrival(579.9, 10, True),
        Arrival(580.0, 500, True),
    ]
    requests = loopback.evaluate(cell("requests", 2, is_known=True, minutes=8.0), arrivals, CLIENT)
    assert requests.used == pytest.approx(2 / (2 * 6))
    assert (requests.refused, requests.refused_measured) == (1 / 5, 0.0)
    assert requests.by_minute == (0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5)
    assert requests.refusals_by_minute == (1, 0, 0, 0, 0, 0, 0, 0)
    assert requests.cpu_ms == pytest.approx(100.0)
    tokens = loopback.evaluate(cell("tokens", 10_000, is_known=True, minutes=8.0), arrivals, CLIENT)
    assert tokens.used == pytest.approx(40 / (10_000 * 6))


def test_an_unknown_limit_is_measured_later() -> None:
    """The first five minutes of a long cell, or half of a short one, are for learning."""
    assert cell("requests", 300, is_known=False, minutes=8.0).measured_from_min == 4.0
    assert cell("requests", 300, is_known=False, minutes=20.0).measured_from_min == 5.0


@pytest.mark.slow
def test_all_of_a_limit_of_requests_can_be_used_but_not_of_tokens_by_the_second() -> None:
    """Requests fill every limit; long prompts leave gaps in slices of a second, whoever sends them."""
    for each in loopback.cells(8.0):
        if each.is_known:
            least = 0.75 if (each.counted, each.enforcement) == ("tokens", "subsecond") else 0.985
            assert least <= loopback.possible(each) <= 1.001
            assert each.counted == "tokens" or loopback.possible(each) == pytest.approx(1.0)


@pytest.mark.parametrize("mixed_scripts", [False, True])
def test_prompts_have_the_sizes_wanted(mixed_scripts: bool) -> None:
    """Whatever the script, prompts have 20 to 2,000 tokens by the simulator's count, and no two are alike."""
    prompts = Backlog(cell("tokens", 60_000, is_known=True, minutes=8.0, mixed_scripts=mixed_scripts))
    texts = [prompts[number] for number in range(300)]
    sizes = [tokens_of(text) for text in texts]
    assert PROMPT_TOKENS[0] <= min(sizes) < 100
    assert 1_900 < max(sizes) <= PROMPT_TOKENS[1]
    assert len(set(texts)) == len(texts)
    assert sum(not text.isascii() for text in texts) == (150 if mixed_scripts else 0)


def test_a_line_of_the_table_says_what_failed() -> None:
    """A prompt that failed for good is no detail of the figures."""
    result = loopback.evaluate(
        cell("requests", 300, is_known=False, minutes=8.0),
        [Arrival(0.0, 20, True)],
        ClientReport(cpu_s=0.1, answered=1, failed=2, learnt="300 requests in 60 s (window)"),
    )
    assert loopback.line(result).startswith("| nothing | 300 requests | sliding | 100.0 | 0.0 | 0.00 (0 of 1) |")
    assert "**2 prompts failed**" in loopback.line(result)


@pytest.mark.slow
def test_a_few_seconds_over_sockets() -> None:
    """Beside a client that was given the limit, one that was not meets refusals; no prompt of either fails."""
    known, unknown = loopback.measure(
        [cell("requests", 600, is_known=True, minutes=0.05), cell("requests", 8, is_known=False, minutes=0.05)]
    )
    assert known.requests > 0
    assert unknown.refusals > 0
    assert unknown.requests - unknown.refusals <= 8
    assert known.client.failed == unknown.client.failed == 0


@pytest.mark.slow
def test_a_process_that_dies_ends_the_bench() -> None:
    """A client that can't begin is noticed at once, not when its time would be over."""
    broken = cell("requests", -1, is_known=True, minutes=10.0)
    with pytest.raises(RuntimeError, match="has ended or hangs"):
        list(loopback.measure([broken]))
