"""Whole probes, in virtual time, against services of every kind."""

import asyncio
from itertools import pairwise

import msgspec
import pytest

from wingbeat.concluding import learnt_from
from wingbeat.errors import AccessRefused, QuotaExhausted, ServiceDown
from wingbeat.ledgers.prices import Prices, TokenPrice
from wingbeat.ledgers.ramp import Part, Settings
from wingbeat.model.http import HttpReply, HttpRequest, TransportFailure, TransportFault
from wingbeat.probing import Probing
from wingbeat.report.probe import ProbeFound, found_lines
from wingbeat.testing import ScriptedTransport, answer_body

from .playing import MODEL, play, probe, simulator

PATH = f"/v1/models/{MODEL}:generateContent"
BODY = b'{"contents": [{"parts": [{"text": "Say yes."}]}]}'

ENFORCEMENTS = {"sliding": "window", "fixed": "window", "bucket": "bucket", "subsecond": "rate"}


def per_minute(found: ProbeFound) -> float:
    """Return the limit that was found."""
    assert found.limit is not None
    limit = found.limit.limit
    return limit.limit * 60.0 / limit.window_s


@pytest.mark.parametrize("bare", [False, True], ids=["told", "bare"])
@pytest.mark.parametrize("rpm", [60, 120])
@pytest.mark.parametrize("enforcement", ENFORCEMENTS)
def test_the_limit_is_found(enforcement: str, rpm: int, bare: bool):
    """However a service enforces its limit, and whether or not it tells it, it is found within 5 %."""
    found = probe(f"rpm={rpm},enforcement={enforcement},latency=0.3,bare_refusals={bare}")
    assert per_minute(found) == pytest.approx(rpm, rel=0.05)
    assert found.limit is not None
    assert found.limit.limit.enforcement in (ENFORCEMENTS[enforcement], "unknown")
    assert found.limit.limit.origin == ("measured" if bare else "told")
    assert found.requests <= 600
    assert learnt_from(found) == (found.limit.limit,)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rpm", [20, 60, 120, 250, 600])
@pytest.mark.parametrize("enforcement", ENFORCEMENTS)
def test_the_range_holds_the_truth(enforcement: str, rpm: int, seed: int):
    """What a service without words allows lies within the range that is told, and the value not far below it."""
    text = f"rpm={rpm},enforcement={enforcement},latency=0.3,bare_refusals=true,seed={seed}"
    found = probe(text, Settings(max_requests=4 * rpm + 600), seed=seed)
    limit = found.limit
    assert limit is not None
    truth = rpm if enforcement != "subsecond" or rpm < 60 else rpm // 60 * 60
    assert 0.89 * truth <= per_minute(found) <= 1.02 * truth
    if limit.low is not None and limit.high is not None:
        assert 0.98 * limit.low <= truth * limit.limit.window_s / 60 <= 1.02 * limit.high


def test_a_stated_limit_that_is_not_kept_is_measured():
    """250 a minute, cut into whole requests a second, are found to be 240."""
    found = probe("rpm=250,enforcement=subsecond,latency=0.3")
    assert found.refusal is not None
    assert found.refusal.stated is not None
    assert found.refusal.stated.limit == 250
    assert found.limit is not None
    assert (found.limit.limit.origin, found.limit.limit.enforcement) == ("measured", "rate")
    assert per_minute(found) == pytest.approx(240, rel=0.01)


def test_a_quota_that_was_used_before_is_not_taken_for_a_smaller_one():
    """A stated limit stands where refusals came in the first minute only: somebody else may have used it up."""
    transport = simulator("rpm=20,latency=0.1,enforcement=sliding")
    for _each in range(20):
        transport.app.respond("POST", PATH, {"x-goog-api-key": "simulated"}, BODY, 0.0)
    found = play(transport, Settings(learn_for_s=0.0)).found()
    assert found.answered == 0
    assert found.limit is not None
    assert (found.limit.limit.limit, found.limit.limit.origin) == (20, "told")


def test_tokens_are_told_as_tokens():
    """A refusal that names input tokens gives a limit of tokens."""
    found = probe("tpm=300,enforcement=bucket,latency=0.3")
    assert found.limit is not None
    assert found.limit.limit.resource == "input_tokens"
    assert found.limit.limit.limit == pytest.approx(300, rel=0.05)


def test_a_refused_burst_is_told_apart_from_a_refused_pace():
    """Where ten at once are too many, the refusal is the burst's; where they pass, it is the pace's."""
    at_once = probe("rpm=5,enforcement=sliding,latency=0.3")
    assert at_once.refusal is not None
    assert (at_once.refusal.part, at_once.refusal.per_minute) == ("burst", None)
    assert at_once.steps[0].refused == 5
    paced = probe("rpm=60,enforcement=sliding,latency=0.3")
    assert paced.refusal is not None
    assert paced.refusal.part == "ramp"
    assert paced.refusal.after == 60
    assert paced.refusal.per_minute == paced.steps[-1].per_minute
    assert paced.steps[0].refused == 0


def test_without_a_refusal_it_says_what_passed():
    """A service that refuses nothing is asked no more than three quarters of what may be sent, and that is told."""
    found = probe("latency=0.3", Settings(max_requests=200))
    assert (found.refusal, found.limit, found.ended) == (None, None, "requests")
    assert found.requests == found.answered == 150
    assert found.busiest_minute == 150
    assert 75 <= found.at_least <= 150
    assert dict(found_lines(found))["limit"].startswith("none was refused, up to ")


def test_no_more_is_sent_than_may_be():
    """The most requests hold whatever the service does."""
    for text in ("rpm=60,enforcement=bucket,latency=0.3", "rpm=10,bare_refusals=true,latency=0.3"):
        for most in (1, 9, 50):
            transport = simulator(text)
            play(transport, Settings(max_requests=most))
            assert len(transport.served) <= most


def test_no_more_is_spent_than_may_be():
    """A probe ends before the request that could cost more than is left."""
    prices = Prices(TokenPrice(0.0), TokenPrice(1_000_000.0), None, "a test")
    transport = ScriptedTransport(lambda _request, _number: HttpReply(200, {}, answer_body("yes", 10, 5)))
    probing = play(transport, Settings(), prices=prices, max_usd=100.0, each_usd=5.0)
    found = probing.found()
    assert (found.ended, found.requests, found.cost_usd) == ("cost", 20, 100.0)


class Crowded:
    """A service with four places and no limit: who comes later waits."""

    def __init__(self) -> None:
        self._inner = ScriptedTransport(latency_s=0.5)
        self._places = asyncio.Semaphore(4)

    async def send(self, request: HttpRequest, timeout_s: float) -> HttpReply | TransportFailure:
        """Answer once there is a place."""
        async with self._places:
            return await self._inner.send(request, timeout_s)

    stream = None  # type: ignore[assignment]


def test_answers_that_come_later_look_like_capacity():
    """A service that refuses nothing, and takes longer the more it is asked, is said to be short of capacity."""
    found = play(Crowded(), Settings(max_requests=400)).found()  # type: ignore[arg-type]
    assert found.refusal is None
    assert found.lacks_capacity
    assert "looks like a limit of capacity" in dict(found_lines(found))["limit"]


def test_an_overloaded_service_is_not_pressed():
    """A service that has no capacity is asked no faster: a few such replies end the probe, and are told."""
    probing = play(simulator("fault.error_503=0.5,latency=0.3,seed=3"), Settings(burst=0))
    found = probing.found()
    assert (found.ended, found.refusal) == ("overloaded", None)
    assert found.requests < 40
    assert "the service has no capacity" in dict(found_lines(found))["limit"]


def test_steps_are_even():
    """Within a step requests go one after the other, at equal distances."""
    probing = play(simulator("latency=0.3", delay_spread_s=0.0), Settings(max_requests=120, burst=0))
    trials = [trial for trial in probing.ramp.trials if trial.step == 1]
    gaps = [after.sent_at - before.sent_at for before, after in pairwise(trials)]
    assert min(gaps) == pytest.approx(1 / 1.5, rel=0.01)
    assert max(gaps) == pytest.approx(1 / 1.5, rel=0.01)


def test_nothing_is_sent_while_it_is_told_to_wait():
    """After a refusal nothing goes before the told time is over, and then one request alone."""
    probing = play(simulator("rpm=60,enforcement=fixed,latency=0.3", delay_spread_s=0.0), Settings())
    trials = probing.ramp.trials
    first = next(trial for trial in trials if trial.end == "refused")
    refusal = probing.found().refusal
    assert refusal is not None
    assert refusal.retry_after_s is not None
    assert first.ended_at is not None
    after = [trial.sent_at for trial in trials if trial.sent_at > first.ended_at]
    assert after[0] >= first.ended_at + refusal.retry_after_s
    assert trials[len(trials) - len(after)].part is Part.LEARN


def test_stopping_keeps_what_is_known():
    """A probe that is stopped ends at once, and tells what it has seen until then."""

    def stop_later(probing: Probing) -> None:
        asyncio.get_running_loop().call_later(30.0, probing.stop)

    found = play(simulator("latency=5"), Settings(), meanwhile=stop_later).found()
    assert found.ended == "stopped"
    assert found.elapsed_s == 30.0
    assert found.answered > 20


def test_a_refused_key_ends_it():
    """What no other request can mend ends a probe with the error that a run ends with."""
    body = msgspec.json.encode(
        {
            "error": {
                "code": 400,
                "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT",
                "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
            }
        }
    )
    transport = ScriptedTransport(lambda _request, _number: HttpReply(400, {}, body))
    probing = play(transport, Settings())
    assert isinstance(probing.error, AccessRefused)
    assert "GEMINI_API_KEY" in str(probing.error.hint)
    assert len(transport.requests) == 10


def test_a_used_up_day_ends_it():
    """A day's quota ends a probe, with the hint when to come back."""
    probing = play(simulator("rpd=15,latency=0.3"), Settings())
    assert isinstance(probing.error, QuotaExhausted)
    assert str(probing.error.hint).startswith("probe again after")


def test_a_service_that_is_gone_ends_it():
    """Ten failures in a row end a probe."""
    gone = TransportFailure(TransportFault.CONNECT, "connection refused")
    probing = play(ScriptedTransport(lambda _request, _number: gone), Settings(burst=3))
    assert isinstance(probing.error, ServiceDown)
    assert probing.found().failed == 10
