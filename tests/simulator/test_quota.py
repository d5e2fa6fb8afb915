import json
import re

import pytest

from .ask import ask, body, message, new_app, read


def told_wait_s(reply) -> float:
    """Return the exact wait at the end of a 429 message."""
    return float(re.search(r"Please retry in ([\d.]+)s\.$", message(reply))[1])


def test_refusal_a_minute_has_the_recorded_body():
    """The 429 of a free tier names metric, id, model and value, and cuts the wait to whole seconds."""
    app = new_app("tier=free,rpm=1,enforcement=sliding")
    assert ask(app).status == 200
    reply = ask(app, now=18.078045493)
    assert reply.status == 429
    assert read(reply) == {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing details. For more "
            "information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your "
            "current usage, head to: https://ai.dev/rate-limit. \n* Quota exceeded for metric: "
            "generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 1, model: "
            "gemini-2.5-flash\nPlease retry in 42.921955507s.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.Help",
                    "links": [
                        {
                            "description": "Learn more about Gemini API quotas",
                            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
                        }
                    ],
                },
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [
                        {
                            "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                            "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
                            "quotaValue": "1",
                        }
                    ],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "42s"},
            ],
        }
    }


def test_model_off_the_plan_has_limit_zero_three_times():
    """A model that the tier lacks is refused for day, minute and tokens at once, without quotaValue."""
    reply = ask(new_app("tier=free"), model="gemini-2.0-flash")
    violations = read(reply)["error"]["details"][1]["violations"]
    assert [violation["quotaId"] for violation in violations] == [
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    ]
    assert all("quotaValue" not in violation for violation in violations)
    assert message(reply).count("limit: 0, model: gemini-2.0-flash") == 3
    assert 1 <= told_wait_s(reply) <= 60


@pytest.mark.parametrize("tier", ["1", "2", "3"])
def test_paid_tier_names_itself(tier: str):
    """A paid tier's quota id ends in its number."""
    app = new_app(f"tier={tier},rpm=0")
    violations = read(ask(app))["error"]["details"][1]["violations"]
    assert violations[0]["quotaId"] == f"GenerateRequestsPerMinutePerProjectPerModel-PaidTier{tier}"


def test_input_tokens_have_a_quota_of_their_own():
    """A prompt that doesn't fit into the tokens of the minute is refused with the token quota alone."""
    app = new_app("tpm=20")
    assert ask(app, body("x" * 60)).status == 200
    (violation,) = read(ask(app, body("x" * 60)))["error"]["details"][1]["violations"]
    assert violation["quotaId"] == "GenerateContentPaidTierInputTokensPerModelPerMinute"
    assert violation["quotaValue"] == "20"


def test_day_quota_tells_a_short_wait_that_does_not_help():
    """A spent day still carries a wait of at most a minute, as recorded."""
    app = new_app("rpd=1")
    ask(app)
    reply = ask(app, now=2.0)
    assert "PerDay" in read(reply)["error"]["details"][1]["violations"][0]["quotaId"]
    assert 1 <= told_wait_s(reply) <= 60
    assert ask(app, now=2.0 + told_wait_s(reply)).status == 429
    assert ask(app, now=86_400.0).status == 200


@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket", "subsecond"])
@pytest.mark.parametrize("limits", ["rpm=7", "rpm=60", "tpm=100", "rpm=7,tpm=30"])
def test_retry_after_the_told_wait_is_admitted(kind: str, limits: str):
    """A client that comes back exactly when it was told to is answered, whatever the enforcement."""
    app = new_app(f"{limits},enforcement={kind},seed=3")
    now, refused = 1000.0, 0
    for number in range(150):
        reply = ask(app, body(f"prompt {number}"), now=now)
        if reply.status == 429:
            refused += 1
            now += told_wait_s(reply)
            assert ask(app, body(f"prompt {number}"), now=now).status == 200
    assert refused > 0


def test_refused_requests_charge_nothing():
    """A request refused for tokens leaves the request quota alone: all are debited or none."""
    app = new_app("rpm=2,tpm=10")
    assert ask(app, body("x" * 40)).status == 200
    for _ in range(5):
        violations = read(ask(app, body("x" * 40)))["error"]["details"][1]["violations"]
        assert [violation["quotaId"] for violation in violations] == [
            "GenerateContentPaidTierInputTokensPerModelPerMinute"
        ]


def test_refused_requests_count_on_demand():
    """With count_refused, asking in vain puts the end of the wait off."""
    app = new_app("rpm=1,enforcement=sliding,count_refused=true")
    assert ask(app, now=0.0).status == 200
    assert told_wait_s(ask(app, now=30.0)) == pytest.approx(60, abs=1e-3)
    assert ask(app, now=61.0).status == 429


def test_keys_and_models_have_separate_quotas():
    """The quota of one key and model leaves another key, and another model, alone."""
    app = new_app("rpm=1")
    other = {"x-goog-api-key": "other"}
    assert ask(app).status == 200
    assert ask(app).status == 429
    assert ask(app, headers=other).status == 200
    assert ask(app, model="gemini-2.5-pro").status == 200


def test_an_alias_shares_the_quota_of_its_model():
    """`gemini-flash-latest` and the model behind it draw on one quota."""
    app = new_app("rpm=1")
    assert ask(app, model="gemini-flash-latest").status == 200
    assert ask(app, model="gemini-3.8-flash").status == 429


def test_bare_refusal_says_nothing():
    """The short 429 carries no details and no wait."""
    app = new_app("rpm=0,bare_refusals=true")
    assert read(ask(app)) == {
        "error": {
            "code": 429,
            "message": "Resource has been exhausted (e.g. check quota).",
            "status": "RESOURCE_EXHAUSTED",
        }
    }


def test_spending_cap_is_for_good():
    """After its answers are used up, a key is refused for its spending cap at any later time."""
    app = new_app("spending_cap_after=1")
    assert ask(app).status == 200
    assert "monthly spending cap" in message(ask(app, now=1e7))


def test_refusals_come_early_or_late():
    """A refusal takes the refusal latency, or with late_refusals the time of an answer."""
    early = ask(new_app("rpm=0,latency=2,refusal_latency=0.03"))
    late = ask(new_app("rpm=0,latency=2,late_refusals=true"))
    assert (early.duration_s, late.duration_s) == (0.03, 2.0)


def test_refusal_of_a_plain_stream_is_wrapped():
    """A stream without alt=sse wraps its errors in an array; one with it doesn't."""
    app = new_app("rpm=0")
    plain = ask(app, method="streamGenerateContent")
    events = ask(app, method="streamGenerateContent", query="?alt=sse")
    assert json.loads(plain.body)[0]["error"]["code"] == 429
    assert json.loads(events.body)["error"]["code"] == 429


def test_seed_moves_the_phase():
    """The edges of fixed windows differ from seed to seed and from key to key."""
    waits = {told_wait_s(ask(new_app(f"rpm=0,seed={seed}"))) for seed in range(4)}
    assert len(waits) == 4
