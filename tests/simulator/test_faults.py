import json

import pytest

from wingbeat.simulator import Ending

from .ask import ask, body, message, new_app


def test_errors_have_their_texts():
    """Each error fault answers with its code and recorded text; 503 has two."""
    texts = {
        name: {(reply.status, message(reply)) for reply in (ask(app) for _ in range(30))}
        for name in ("error_429", "error_500", "error_503", "error_504")
        for app in [new_app(f"fault.{name}=1")]
    }
    assert texts["error_429"] == {(429, "Resource has been exhausted (e.g. check quota).")}
    assert {code for code, _ in texts["error_500"]} == {500}
    assert {text for _, text in texts["error_503"]} == {
        "The model is overloaded. Please try again later.",
        "This model is currently experiencing high demand. Spikes in demand are usually temporary. "
        "Please try again later.",
    }
    assert texts["error_504"] == {(504, "Deadline expired before operation could complete.")}


def test_broken_replies():
    """Each transport fault has its ending, and each content fault its body."""

    def spoiled(name: str):
        return ask(new_app(f"fault.{name}=1"))

    assert (spoiled("reset").ending, spoiled("reset").body) == (Ending.RESET, b"")
    assert (spoiled("hang").ending, spoiled("hang").parts) == (Ending.HANG, ())
    truncated = spoiled("truncate")
    assert truncated.ending is Ending.TRUNCATE
    assert len(truncated.body) < truncated.length
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(spoiled("garbage").body)
    assert (spoiled("html").status, spoiled("html").headers[0][1]) == (502, "text/html; charset=UTF-8")
    assert (spoiled("empty").status, spoiled("empty").body) == (200, b"")
    assert "candidates" not in json.loads(spoiled("wrong_shape").body)


def test_slow_drip_is_right_in_the_end():
    """A dripped body comes in many parts over its time, and is the right answer."""
    dripped = ask(new_app("fault.slow_drip=1,drip=3"))
    assert dripped.body == ask(new_app()).body
    assert len(dripped.parts) == 20
    assert dripped.duration_s == pytest.approx(3)


def test_stream_error_comes_after_the_first_part():
    """The error is an event of a stream that began with 200; a unary answer never has it."""
    app = new_app("fault.stream_error=1")
    events = ask(app, method="streamGenerateContent", query="?alt=sse").body.decode().split("\r\n\r\n")
    assert '"candidates"' in events[0]
    assert json.loads(events[1].removeprefix("data: "))["error"]["code"] == 503
    assert json.loads(ask(app, method="streamGenerateContent").body)[-1]["error"]["code"] == 503
    assert ask(app).status == 200


def test_outage_has_a_beginning_and_an_end():
    """An outage answers 503 during its time, counted from the start, and not before or after."""
    app = new_app("outage=10:5:1")
    assert [ask(app, now=now).status for now in (9.9, 10.0, 14.9, 15.0)] == [200, 503, 503, 200]


def test_faults_are_seeded_and_counted():
    """The same seed draws the same faults at about their probability, and the statistics count them."""

    def statuses(seed: int):
        app = new_app(f"fault.error_500=0.2,seed={seed}")
        return [ask(app, body("x")).status for _ in range(500)], app.statistics()

    first, statistics = statuses(1)
    assert first == statuses(1)[0]
    assert first != statuses(2)[0]
    assert 60 < first.count(500) < 140
    assert statistics.faults == {"error_500": first.count(500)}
    assert statistics.answered == first.count(200)


def test_unanswered_faults_do_not_count_as_answers():
    """A reply that breaks off is no answer; a slow one is."""
    for name, answered in (("reset", 0), ("truncate", 0), ("slow_drip", 1)):
        app = new_app(f"count_prompts=true,fault.{name}=1")
        ask(app, body("p"))
        assert sum(app.statistics().answers_by_prompt.values()) == answered
