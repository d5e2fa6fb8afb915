"""`wingbeat probe`: what it says before, on the way and after, what it keeps, and how it ends."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from xml.etree import ElementTree

import pytest

from wingbeat.limitbook import LimitBook
from wingbeat.simulator import Simulator, SimulatorConfig

from .conftest import Command, Said

KEY = "AIzaSyD-a-key-that-nobody-may-see-42"
QUICK = ("--start", "3000", "--hold", "0.1", "--learn-for", "0")


def simulate(command: Command, simulator: str, *more: str) -> Said:
    """Probe a simulator of its own, quickly."""
    return command("probe", "--model", "sim/gemini-2.5-flash", "--simulator", f"latency=0,{simulator}", *QUICK, *more)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a simulator that runs by itself, allows twenty requests a minute, and stands for the service."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    urls: list[str] = []
    started, done = Event(), Event()

    async def serve() -> None:
        async with Simulator(SimulatorConfig.parse("latency=0,rpm=20")) as simulator:
            urls.append(simulator.url)
            started.set()
            await asyncio.to_thread(done.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    started.wait()
    yield urls[0]
    done.set()
    thread.join()


@pytest.mark.slow
def test_it_says_what_it_will_do_and_what_it_found(command: Command):
    """The most requests and cost stand before anything is sent; the limit and the next command at the end."""
    said = simulate(command, "rpm=20")
    assert said.code == 0
    before, _, _after = said.err.partition("refused after")
    assert "at most 600 requests, at most $" in before
    assert "10 at once, then 3,000 requests/min (50/s), ×1.5 every 0.1 s" in before
    lines = dict(line.strip().split("  ", 1) for line in said.out.splitlines())
    assert lines["burst"] == "10 at once: all let through"
    assert lines["refused"].startswith("first at ")
    assert "in flight, after 20 requests in" in lines["refused"]
    assert lines["said"].startswith("GenerateRequestsPerMinutePerProjectPerModel-PaidTier; 20 requests/min; wait")
    assert lines["limit"].startswith("20 requests/min")
    assert said.err.splitlines()[-1] == (
        "hint: keep to it: wingbeat run prompts.jsonl -o answers.jsonl --model sim/gemini-2.5-flash --rpm 20"
    )


@pytest.mark.slow
def test_json_is_one_object(command: Command):
    """`--json` writes all that was found to standard output, as one object."""
    said = simulate(command, "rpm=20", "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["refusal"]["part"] == "ramp"
    assert found["refusal"]["after"] == 20
    assert found["limit"]["limit"]["limit"] == 20
    assert found["limit"]["limit"]["origin"] == "told"
    assert found["is_kept"] is False
    assert found["requests"] == found["answered"] + found["refused"]


@pytest.mark.slow
def test_no_refusal_ends_with_the_command_that_goes_on(command: Command):
    """Where nothing is refused, what has passed is told, and the same command with more requests."""
    said = simulate(command, "rpm=100000", "--max-requests", "40")
    assert said.code == 0
    assert "30 requests passed in one minute, so the limit is 15 requests/min at least" in said.out
    assert said.err.splitlines()[-1].startswith("hint: go on from here: wingbeat probe --model sim/gemini-2.5-flash")
    assert said.err.splitlines()[-1].endswith("--learn-for 0 --max-requests 120")


@pytest.mark.slow
def test_the_picture_is_a_drawing_of_the_probe(command: Command):
    """`--picture` writes one whole SVG file that names what was found."""
    said = simulate(command, "rpm=20", "--picture", "probe.svg")
    assert said.code == 0
    assert "picture: probe.svg" in said.err
    text = Path("probe.svg").read_text("utf-8")
    ElementTree.fromstring(text)
    assert "limit: 20 requests/min" in text
    assert "first refusal: " in text


@pytest.mark.slow
def test_what_is_found_is_kept_for_the_next_run(command: Command, served: str):
    """Of a real address the limit is kept, and shown by `wingbeat limits`; `--no-save` keeps nothing."""
    probe = ("probe", "--model", "gemini-2.5-flash", "--base-url", served, *QUICK)
    assert command(*probe, "--no-save").code == 0
    assert LimitBook().routes() == ()
    said = command(*probe)
    assert said.code == 0
    assert said.err.splitlines()[-1] == "hint: `wingbeat run` will start from this; see it with: wingbeat limits"
    (route,) = LimitBook().routes()
    assert [(limit.resource, limit.limit, limit.origin) for limit in route.limits] == [("requests", 20, "told")]
    assert KEY not in said.err + said.out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--model", "gemini-2.5-flash"), 2, "there is no API key"),
        (("--model", "nonsense"), 2, "unknown model"),
        (("--prompt", " "), 2, "`--prompt` is empty"),
        (("--picture", "probe.png"), 2, "must be an .svg file"),
        (("--picture", "nowhere/probe.svg"), 2, "no folder `nowhere`"),
        (("--max-cost", "0.0000001"), 2, "one request may cost"),
        (("--simulator", "latency=0,spending_cap_after=0"), 3, "can't spend more"),
        (("--simulator", "latency=0,rpd=3"), 3, "the day's quota is used up"),
    ],
)
def test_what_stops_it_is_told_with_the_way_out(command: Command, words: tuple[str, ...], code: int, told: str):
    """A wrong option ends with 2, a service that refuses for good with 3; each with one clear error."""
    said = command("probe", *words, *QUICK)
    assert said.code == code
    assert told in said.err
    assert "hint: " in said.err
    assert "Traceback" not in said.err


def test_no_service_ends_it(command: Command, monkeypatch: pytest.MonkeyPatch):
    """Where nobody listens, a probe ends with 3 after a few requests."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    said = command("probe", "--model", "gemini-2.5-flash", "--base-url", "http://127.0.0.1:9", *QUICK)
    assert said.code == 3
    assert "requests have failed" in said.err


@pytest.mark.slow
def test_an_interrupt_ends_it_with_what_is_known(folder: Path):
    """Ctrl-C ends a probe at once, with 130 and all that was seen until then."""
    words = ("probe", "--model", "sim/gemini-2.5-flash", "--simulator", "latency=0", "--json")
    program = (sys.executable, "-c", "from wingbeat.cli import main; main()")
    with subprocess.Popen(
        [*program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "so far" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; this is what is known so far" in err
    found = json.loads(out)
    assert found["ended"] == "stopped"
    assert found["answered"] >= 10


@pytest.mark.parametrize("option", ["--start", "--step", "--hold", "--learn-for"])
def test_what_is_no_finite_number_is_refused_before_anything_is_sent(command: Command, option: str):
    """`nan` passes every range of numbers, and is refused all the same."""
    said = command("probe", "--model", "sim/gemini-2.5-flash", option, "nan")
    assert said.code == 2
    assert f"`{option}` must be a finite number, not nan" in said.err
    assert not said.out


@pytest.mark.slow
def test_a_probe_that_the_money_has_ended_names_the_money(command: Command):
    """Where `--max-cost` allows fewer requests than `--max-requests`, the next command raises `--max-cost`."""
    said = simulate(command, "seed=1", "--max-cost", "0.0005")
    assert said.code == 0
    assert "--max-cost 0.005" in said.err
    assert "--max-requests" not in said.err


@pytest.mark.slow
def test_a_probe_too_small_to_tell_a_limit_says_so(command: Command):
    """One request says nothing of a limit a minute."""
    said = simulate(command, "seed=1", "--max-requests", "1")
    assert "until one is refused, or 1 is sent" in said.err
    assert "too few were sent to say more" in said.out
    assert "1 request in " in said.out
