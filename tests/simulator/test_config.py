import pytest

from wingbeat.simulator import FaultConfig, LatencyConfig, Outage, QuotaConfig, SimulatorConfig

from .ask import ask, body, new_app


def test_parse_reads_every_kind_of_value():
    """A line of pairs gives the same configuration as its objects."""
    parsed = SimulatorConfig.parse(
        "rpm=60, enforcement=bucket, window=10, latency=0.2, seed=7, fault.reset=0.01, outage=5:2:0.5, "
        "count_prompts=true"
    )
    assert parsed == SimulatorConfig(
        quota=QuotaConfig(rpm=60, enforcement="bucket", window_s=10.0),
        latency=LatencyConfig(constant_s=0.2),
        faults=FaultConfig(reset=0.01, outage=Outage(5.0, 2.0, 0.5)),
        seed=7,
        count_prompts=True,
    )
    assert SimulatorConfig.parse("latency=model,") == SimulatorConfig.parse("") == SimulatorConfig()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("rps=3", "unknown key 'rps'; known: rpm, tpm"),
        ("fault.fire=1", "unknown key 'fault.fire'.*fault.reset"),
        ("rpm", "'rpm' has no value"),
        ("rpm=many", "rpm: expected `int"),
        ("rpm=-1", "rpm is -1"),
        ("enforcement=loose", "loose"),
        ("tier=9", "tier is '9'; known: free, 1, 2, 3"),
        ("window=0", "window_s"),
        ("seed=x", "seed: expected `int"),
        ("latency=nan", "constant_s is nan"),
        ("fault.reset=1.5", "fault reset is 1.5"),
        ("fault.reset=0.6,fault.hang=0.6", "add up to 1.2"),
        ("outage=5", "START:LENGTH:PROBABILITY"),
    ],
)
def test_parse_names_what_is_wrong(text: str, match: str):
    """A bad key or value raises ValueError and is named."""
    with pytest.raises(ValueError, match=match):
        SimulatorConfig.parse(text)


def test_latency_is_the_same_for_the_same_prompt():
    """Without jitter a prompt always takes equally long; with it, not; scale multiplies."""
    app, jittery = new_app("latency=model"), new_app("latency=model,jitter=true")
    first = ask(app).duration_s
    assert ask(app).duration_s == first
    assert ask(new_app("latency=model,latency_scale=0.5")).duration_s == pytest.approx(first / 2)
    assert ask(jittery).duration_s != ask(jittery).duration_s


def test_latency_follows_the_recorded_figures():
    """The median of gemini-2.5-flash lies near the recorded 1.6 s, and pro is slower."""

    def median(model: str) -> float:
        app = new_app("latency=model")
        times = sorted(ask(app, body(f"prompt {number}"), model=model).duration_s for number in range(101))
        return times[50]

    assert 1.2 < median("gemini-2.5-flash") < 2.6
    assert median("gemini-2.5-pro") > median("gemini-2.5-flash") * 1.5
