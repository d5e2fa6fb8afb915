"""`wingbeat limits`: shown, set, forgotten, and used by runs."""

import datetime
import json
from pathlib import Path

import pytest

from wingbeat.cli.known import known_lines
from wingbeat.config import Service
from wingbeat.learnt import KnownRoute
from wingbeat.limitbook import LimitBook
from wingbeat.model.limit import DAY_S, LearntLimit

from .conftest import Command

KEY = "AIzaSyD-a-key-that-nobody-may-see-42"
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)


def service(model: str = "gemini-2.5-flash", key: str = KEY) -> Service:
    """A model of the real service."""
    return Service("gemini", model, "https://generativelanguage.googleapis.com", None, key)


def keep(*limits: LearntLimit, days: float = 0.0, of: Service | None = None) -> None:
    """Keep limits as a run does that ended so many days ago."""
    LimitBook().remember(of or service(), limits, NOW - datetime.timedelta(days=days))


def test_without_limits_it_says_what_would_make_some(command: Command):
    """An empty book is no error; the hint names both ways to fill it."""
    said = command("limits")
    assert (said.code, said.out) == (0, "")
    assert said.err.startswith("no limits are known yet\nhint: a run learns them")
    assert "wingbeat limits set" in said.err
    assert json.loads(command("limits", "--json").out)["routes"] == []


def test_the_list_tells_what_who_and_how_old(command: Command):
    """Each limit is shown with its window, kind, source, age and use, under its model and host."""
    keep(LearntLimit("requests", 1000, enforcement="window", origin="told"), days=2.5)
    keep(LearntLimit("input_tokens", 1_234_567, enforcement="rate"))
    command("limits", "set", "gemini-2.5-flash", "--rpd", 10000)
    said = command("limits")
    assert said.code == 0
    assert said.out.splitlines() == [
        "gemini/gemini-2.5-flash at generativelanguage.googleapis.com",
        "  10,000 requests/day                                 set by you         just now    kept to",
        "  1,000 requests/min       window                     told in a refusal  2 days ago  runs start at half",
        "  1.23 M input tokens/min  enforced over short spans  measured           just now    runs start from it",
    ]


def routes() -> tuple[KnownRoute, ...]:
    """What is known after `keep`."""
    return LimitBook().routes()


def test_the_list_fits_a_narrow_terminal():
    """On 60 columns no line is longer, and nothing is left out."""
    keep(LearntLimit("requests", 1000, enforcement="rate", origin="told"), LearntLimit("tokens", 5e6), days=40)
    lines = ["".join(line) for line in known_lines(routes(), NOW, 60)]
    assert max(map(len, lines)) <= 60
    text = " ".join(" ".join(lines).split())
    for part in (
        "gemini/gemini-2.5-flash",
        "1,000 requests/min (enforced over short spans)",
        "40 days ago",
        "not used",
    ):
        assert part in text


def test_keys_are_told_apart_but_not_shown(command: Command):
    """A digest's first digits stand beside the host only where it has several keys; a key stands nowhere."""
    command("limits", "set", "gemini-2.5-flash", "--rpm", 5)
    assert "key" not in command("limits").out
    keep(LearntLimit("requests", 7), of=service(key="another"))
    said = command("limits", "--json").out + command("limits").out
    assert said.count(", key #") == 2
    assert KEY not in said
    assert KEY[-4:] not in said


def test_setting_completes_what_was_set(command: Command):
    """Each `set` changes the limits that it names; the whole route is shown."""
    assert command("limits", "set", "gemini-2.5-flash", "--rpm", 1000, "--concurrency", 50).code == 0
    said = command("limits", "set", "gemini-2.5-flash", "--rpm", 2000, "--otpm", 8000, "--json")
    (route,) = json.loads(said.out)["routes"]
    assert {limit["resource"]: limit["limit"] for limit in route["limits"]} == {
        "requests": 2000,
        "output_tokens": 8000,
        "in_flight": 50,
    }
    assert {(limit["origin"], limit["use"]) for limit in route["limits"]} == {("user", "kept")}


def test_forgetting_one_or_all(command: Command):
    """A model is forgotten by name, everything by `--all`; what is not there is no error."""
    for model in ("gemini-2.5-flash", "gemini-2.5-pro"):
        keep(LearntLimit("requests", 7), of=service(model))
    said = command("limits", "forget", "gemini-2.5-flash")
    assert (said.code, said.err) == (0, "forgotten: gemini/gemini-2.5-flash at generativelanguage.googleapis.com\n")
    assert command("limits", "forget", "gemini-2.5-flash").err.startswith("nothing was known")
    assert len(json.loads(command("limits", "forget", "--all", "--json").out)["routes"]) == 1
    assert routes() == ()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["set", "gemini-2.5-flash"], "no limit of 'gemini-2.5-flash' is given"),
        (["set", "gemini-2.5-flash", "--rpm", "0"], "invalid value for '--rpm'"),
        (["set", "gemini-2.5-flash", "--rpm", "nan"], "rpm must be above zero"),
        (["set", "gemini-2.5-flash", "--concurrency", "999999999"], "concurrency must be from 1"),
        (["set", "sim/gemini-2.5-flash", "--rpm", "5"], "nothing is kept"),
        (["set", "fly", "--rpm", "5"], "unknown model 'fly'"),
        (["set", "gemini-2.5-flash", "--rpm", "5", "--base-url", "nowhere"], "nowhere"),
        (["forget"], "forget one model or all"),
        (["forget", "gemini-2.5-flash", "--all"], "forget one model or all"),
        (["forget", "--all", "--base-url", "http://localhost:1"], "forget one model or all"),
        (["gemini-2.5-flash"], "there is no command `limits gemini-2.5-flash`"),
        (["set"], "missing argument 'MODEL'"),
    ],
)
def test_a_slip_is_told_with_the_way_out(command: Command, words: list[str], told: str):
    """A wrong use ends with 2, one error and a hint, and keeps nothing."""
    said = command("limits", *words)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert routes() == ()


@pytest.mark.parametrize("words", [["set"], ["forget"]])
def test_help_of_the_verbs_is_complete(command: Command, words: list[str]):
    """`--help` of each verb ends with 0 and stays within 100 columns."""
    said = command("limits", *words, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: wingbeat limits {words[0]}")
    assert max(map(len, said.out.splitlines())) < 100


def test_setting_needs_the_key(command: Command, monkeypatch: pytest.MonkeyPatch):
    """Without a key there is no route to set limits for; the hint names the variable."""
    monkeypatch.delenv("GEMINI_API_KEY")
    said = command("limits", "set", "gemini-2.5-flash", "--rpm", 5)
    assert said.code == 2
    assert "GEMINI_API_KEY" in said.err


def test_a_plan_starts_from_what_is_known(command: Command):
    """`--dry-run` shows what a run would start with and where that comes from; `--fresh-limits` leaves it out."""
    Path("in.txt").write_text("Why?\n")
    keep(LearntLimit("requests", 1000, enforcement="window", origin="told"), days=2)
    command("limits", "set", "gemini-2.5-flash", "--tpm", 5000)
    run = ("run", "in.txt", "--model", "gemini-2.5-flash", "--dry-run")
    said = command(*run).err
    assert "5,000 input tokens/min" in said
    assert "set for this model: 5,000 input tokens/min" in said
    assert "learnt 2 days ago: 1,000 requests/min (window); started at half" in said
    fresh = command(*run, "--fresh-limits").err
    assert "learnt" not in fresh
    assert "set for this model" in fresh
    assert "set for this model" not in command(*run, "--tpm", 7000, "--fresh-limits").err
    assert "learnt" not in command("run", "in.txt", "--model", "sim/gemini-2.5-flash", "--dry-run").err


def test_a_broken_file_stops_no_run(command: Command):
    """A run warns that what was known can't be read, and goes on; the list does so too."""
    Path("in.txt").write_text("Why?\n")
    path = LimitBook().path
    for words in (("run", "in.txt", "--model", "gemini-2.5-flash", "--dry-run"), ("limits",)):
        path.parent.mkdir(exist_ok=True)
        path.write_text("{")
        said = command(*words)
        assert said.code == 0
        assert said.err.count("warning: ") == 1
        assert "limits.json.bad" in said.err


def test_a_newer_file_is_an_error_only_where_it_matters(command: Command):
    """A run goes on without what a newer version has kept; showing and setting end with 2 and a hint."""
    Path("in.txt").write_text("Why?\n")
    path = LimitBook().path
    path.parent.mkdir()
    path.write_text('{"version": 2}')
    assert command("run", "in.txt", "--model", "gemini-2.5-flash", "--dry-run").code == 0
    for words in ((), ("set", "gemini-2.5-flash", "--rpm", 5), ("forget", "--all")):
        said = command("limits", *words)
        assert said.code == 2
        assert "hint: upgrade wingbeat" in said.err


def test_a_days_limit_is_set_too(command: Command):
    """What is set for a day ends runs as `--rpd` does, so the plan shows it as a limit of the run."""
    Path("in.txt").write_text("Why?\n")
    command("limits", "set", "gemini-2.5-flash", "--rpd", 20)
    kept = routes()[0].limits[0]
    assert (kept.resource, kept.window_s) == ("requests", DAY_S)
    assert "limits  20 requests/day" in command("run", "in.txt", "--model", "gemini-2.5-flash", "--dry-run").err
