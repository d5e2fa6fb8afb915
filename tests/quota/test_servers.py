"""Servers of the bench: what they count, what they say, and who else uses them."""

from __future__ import annotations

from random import Random

import pytest
from benchmarks.quota.meters import Bucket, FixedWindow, OnePerRequest, SlidingLog, constant
from benchmarks.quota.scenarios import scenarios
from benchmarks.quota.servers import CountsAsProduced, HoldsMost, OutsideUser, Server, Shut

from wingbeat.model.limit import REQUESTS, LimitHint


def test_a_request_is_counted_by_all_limits_or_none() -> None:
    """A request that one limit refuses takes nothing from the other."""
    tokens, requests = Bucket(constant(1000)), Bucket(constant(1))
    server = Server(tokens, OnePerRequest(requests))
    assert server.arrive(0.0, 400.0).accepted
    assert not server.arrive(0.0, 400.0).accepted
    assert tokens.remaining(0.0) == 600.0


@pytest.mark.parametrize(("says", "told_s"), [("nothing", None), ("seconds", 2.5), ("whole seconds", 3.0)])
def test_a_refusal_says_what_it_is_to_say(says: str, told_s: float | None) -> None:
    """A refusal tells no wait, the true one, or the true one rounded up."""
    server = Server(FixedWindow(constant(1), 60.0), says=says)  # type: ignore[arg-type]
    assert server.arrive(0.0, 1.0).accepted
    assert server.arrive(57.5, 1.0).retry_after_s == told_s


def test_a_request_that_never_fits_is_told_no_wait() -> None:
    """A refusal of what is larger than the limit tells no wait, as there is none."""
    server = Server(Bucket(constant(100)), says="seconds")
    verdict = server.arrive(0.0, 500.0)
    assert not verdict.accepted
    assert verdict.retry_after_s is None


def test_headers_of_a_bucket_tell_what_is_missing() -> None:
    """The reset in a bucket's headers is what is used, over the limit, in windows."""
    server = Server(Bucket(constant(10_000)), resource=REQUESTS)
    hint = server.arrive(0.0, 1.0).hints[0]
    assert hint == LimitHint(REQUESTS, 10_000.0, 9_999.0, 0.006)


def test_a_clock_that_is_wrong_shifts_the_reset() -> None:
    """With clocks apart the reset is wrong by their difference, and never below zero."""
    ahead = Server(Bucket(constant(60)), resource=REQUESTS, clock_offset_s=180.0).arrive(0.0, 1.0)
    behind = Server(Bucket(constant(60)), resource=REQUESTS, clock_offset_s=-180.0).arrive(0.0, 1.0)
    assert ahead.hints[0].reset_s == pytest.approx(181.0)
    assert behind.hints[0].reset_s == 0.0


def test_an_outside_user_takes_a_share() -> None:
    """Beside somebody who takes 300 of 1,000 a minute, a client gets the other 700."""
    server = OutsideUser(Server(SlidingLog(constant(1000))), constant(300.0), Random(1))
    accepted = sum(server.arrive(60.0 + number * 60 / 690, 1.0).accepted for number in range(6900))
    assert 6700 <= accepted <= 6900
    assert server.limit_at(0.0) == 700.0


def test_a_shut_server_refuses_everything_for_a_while() -> None:
    """While it is shut a server refuses all and tells a fixed wait."""
    server = Shut(Server(Bucket(constant(60))), 10.0, 11.0, 30.0)
    assert server.arrive(9.9, 1.0).accepted
    assert server.arrive(10.0, 1.0).retry_after_s == 30.0
    assert server.arrive(11.0, 1.0).accepted


def test_held_tokens_come_back_at_the_end() -> None:
    """A server that holds the most tokens of a request gives the rest back when its answer ends."""
    server = HoldsMost(constant(600), lambda _tokens: 600.0)
    assert server.arrive(0.0, 100.0).accepted
    server.answering(0.0, 100.0, 100.0, 5.0)
    assert not server.arrive(4.9, 100.0).accepted
    assert not server.arrive(5.0, 100.0).accepted
    assert server.arrive(10.1, 100.0).accepted


def test_output_tokens_count_while_they_are_produced() -> None:
    """An answer is accepted while anything is left, and takes its tokens as it is written, overdrawing if need be."""
    server = CountsAsProduced(constant(600), says="seconds")
    assert server.arrive(0.0, 0.0).accepted
    server.answering(0.0, 0.0, 1200.0, 10.0)
    assert server.arrive(5.0, 0.0).accepted
    refusal = server.arrive(10.0, 0.0)
    assert not refusal.accepted
    assert refusal.retry_after_s == pytest.approx(50.1)
    assert server.arrive(60.1, 0.0).accepted


def test_every_scenario_has_a_name_of_its_own() -> None:
    """Scenarios are found by their names, so no two share one."""
    names = [scenario.name for scenario in scenarios()]
    assert len(names) == len(set(names))


def test_every_server_can_be_made_and_used() -> None:
    """Each scenario's server accepts its first request and states a limit above zero."""
    for scenario in scenarios():
        server = scenario.server(Random(1))
        ask = scenario.asks.draw(Random(1))
        assert server.limit_at(0.0) > 0
        assert server.arrive(0.1, ask.cost).accepted, scenario.name
