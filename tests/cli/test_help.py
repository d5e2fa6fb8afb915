import random
from pathlib import Path

import click
import pytest

import wingbeat
from wingbeat.cli.main import LazyGroup
from wingbeat.cli.main import wingbeat as program

from .conftest import Command

VERBS = sorted(LazyGroup.COMMANDS)


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_complete_and_narrow(command: Command, verb: str):
    """`--help` and `-h` of every command end with 0, describe each option, and stay within 100 columns."""
    words = [verb] if verb else []
    said = command(*words, "--help")
    assert said.code == 0
    assert command(*words, "-h").out == said.out
    assert said.out.startswith(f"Usage: wingbeat {verb}".rstrip())
    assert max(map(len, said.out.splitlines())) < 100
    assert said.err == ""
    if verb:
        chosen = program.get_command(click.Context(program), verb)
        assert chosen is not None
        for option in chosen.params:
            if isinstance(option, click.Option):
                assert option.help, f"{verb} {option.name}"
                assert option.opts[0] in said.out


def test_the_list_of_verbs_is_true(command: Command):
    """The list that is shown without importing any verb names exactly those that there are."""
    said = command("--help")
    for verb in VERBS:
        assert f"  {verb} " in said.out


def test_version_is_one_line(command: Command):
    """`--version` prints name and version."""
    assert command("--version").out == f"wingbeat, version {wingbeat.__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["stauts"], "did you mean `status`?"),
        (["fly"], "known are compare, config, limits, plan, probe, run, simulate, status"),
        (["run"], "missing argument 'INPUT'"),
        (["run", "a b", "--modle", "x"], "no such option"),
        (["--bogus"], "no such option"),
        (["config", "fly"], "fly"),
    ],
)
def test_a_slip_is_told_with_the_way_out(command: Command, words: list[str], told: str):
    """A wrong verb, option or argument ends with 2, one error and a hint."""
    said = command(*words)
    assert said.code == 2
    assert said.out == ""
    assert told in said.err
    assert said.err.splitlines()[-1].startswith("hint: see wingbeat")


VALUES = [
    *(
        "",
        " ",
        "-",
        "--",
        "0",
        "-1",
        "1",
        "1e3",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "9" * 40,
        "0.0000000001",
        "x",
        "é",
        "🐦",
    ),
    *(
        "\udcff",
        "\x00",
        "a\nb",
        "a" * 5000,
        "in.txt",
        "out.jsonl",
        "/",
        ".",
        "..",
        "/proc/x.jsonl",
        "{{ x }}",
        "{{",
        "{% x %}",
    ),
    *(
        "{{ prompt.__class__ }}",
        "{}",
        "[]",
        "null",
        "sim/x",
        "gemini-x",
        "http://[",
        "http://x:y",
        "latency=0,seed=x",
        "%s",
    ),
    *("true", "~", "*", "folder", "in.txt/x", "low"),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_no_mistake_is_a_traceback(command: Command, seed: int):
    """Whatever stands on a command line, it ends with a known exit code and never with an exception."""
    draw = random.Random(seed)
    Path("in.txt").write_text("Why?\nWho?\n")
    Path("folder").mkdir()
    verb = draw.choice(["run", "run", "run", "run", "status", "config"])
    chosen = program.get_command(click.Context(program), verb)
    assert chosen is not None
    words = [verb]
    if verb == "run":
        words += [draw.choice(["in.txt", "in.txt", "in.txt", draw.choice(VALUES)]), "--model", "sim/gemini-2.5-flash"]
        words += ["--simulator", "latency=0", "--quiet"]
    elif verb == "status":
        words += [draw.choice(VALUES)]
    options = [option for option in chosen.params if isinstance(option, click.Option)]
    for option in draw.sample(options, draw.randint(1, 3) if verb == "run" else min(1, len(options))):
        words.append(draw.choice(option.opts))
        if option.name in ("tpm", "rpm", "repeat", "lanes"):
            words.append(draw.choice([value for value in VALUES if value not in ("1", "0.0000000001", "9" * 40)]))
        elif not option.is_flag:
            words.append(draw.choice(VALUES))
    said = command(*words)
    assert said.code in (0, 1, 2, 3), words
    assert "Traceback" not in said.err
    if said.code in (2, 3):
        assert "error: " in said.err
