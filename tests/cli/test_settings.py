import json
import os
from pathlib import Path

import pytest

from wingbeat.config import find_service

from .conftest import Command

USER = "home/wingbeat/config.toml"


@pytest.fixture(autouse=True)
def prompts(folder: Path) -> None:
    """One prompt, and a model for all commands of a test."""
    Path("in.txt").write_text("Why?\n")


def user_settings(folder: Path, text: str) -> None:
    """Write the user's file."""
    path = folder.parent / USER
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def planned(command: Command, *arguments: str) -> str:
    """Return the limits that a dry run plans with."""
    said = command("run", "in.txt", "--dry-run", "--json", *arguments)
    assert said.code == 0, said.err
    limits: str = json.loads(said.err.splitlines()[0])["limits"]
    return limits


def test_flags_win_over_variables_over_project_over_user(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Flag, environment, wingbeat.toml, pyproject.toml, user file, default: each wins over those after it."""
    monkeypatch.setenv("WINGBEAT_RUN_MODEL", "sim/gemini-2.5-flash")
    assert "requests/min" not in planned(command)
    user_settings(folder, "[run]\nrpm = 11\n")
    assert "11 requests/min" in planned(command)
    Path("pyproject.toml").write_text("[tool.wingbeat.run]\nrpm = 12\n")
    assert "12 requests/min" in planned(command)
    Path("wingbeat.toml").write_text("[run]\nrpm = 13\n")
    assert "13 requests/min" in planned(command)
    monkeypatch.setenv("WINGBEAT_RUN_RPM", "14")
    assert "14 requests/min" in planned(command)
    assert "15 requests/min" in planned(command, "--rpm", "15")


def test_config_shows_where_each_value_comes_from(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """`wingbeat config` names variable, project file, user file or default for every option."""
    user_settings(folder, "[run]\nlanes = 3\nrpm = 11\n")
    Path("wingbeat.toml").write_text("[run]\nrpm = 13\nmax-output-tokens = 9\n")
    monkeypatch.setenv("WINGBEAT_RUN_TPM", "14")
    said = command("config")
    assert said.code == 0
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in said.out.splitlines()}
    assert lines["tpm"] == ["14", "WINGBEAT_RUN_TPM"]
    assert lines["rpm"] == ["13", str(folder / "wingbeat.toml")]
    assert lines["max-output-tokens"] == ["9", str(folder / "wingbeat.toml")]
    assert lines["lanes"] == ["3", str(folder.parent / USER)]
    assert lines["ordered"] == ["-", "default"]


def test_config_never_shows_a_key(command: Command, monkeypatch: pytest.MonkeyPatch):
    """`wingbeat config` tells that a key is set, and not which."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-very-secret")
    said = command("config")
    assert "GEMINI_API_KEY" in said.out
    assert "AIza" not in said.out + said.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[run]\nrmp = 3\n", "[run] has no setting `rmp`"),
        ("[run]\nlimit = [1, 2]\n", "`limit` must be"),
        ("[run]\nseed = {a = 1}\n", "`seed` must be"),
        ("[run]\nrpm = 1979-05-27\n", "`rpm` must be"),
        ("[run]\nrpm = true\n", "`rpm` takes a value, not true"),
        ('[run]\nstop = "x"\n', "`stop` must be a list of texts"),
        ("[walk]\nrpm = 3\n", "there is no command `walk`"),
        ("run = 3\n", "`run` must be a table"),
        ("[run\n", "is not valid TOML"),
        ('[run]\nGEMINI_API_KEY = "AIza-secret"\n', "no setting `GEMINI-API-KEY`"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_file(command: Command, folder: Path, text: str, told: str):
    """A setting that nothing would read, or of a wrong type, ends with exit code 2 and the file's name."""
    Path("wingbeat.toml").write_text(text)
    said = command("run", "in.txt", "--dry-run", "--model", "sim/gemini-2.5-flash")
    assert said.code == 2
    assert str(folder / "wingbeat.toml") in said.err
    assert told in said.err
    assert "AIza" not in said.err


@pytest.mark.parametrize("value", ["many", "-1", "", "nan", "1e999"])
def test_a_wrong_value_says_where_to_look(command: Command, monkeypatch: pytest.MonkeyPatch, value: str):
    """A bad value that no flag gives is refused with the command that shows where it comes from."""
    monkeypatch.setenv("WINGBEAT_RUN_MODEL", "sim/gemini-2.5-flash")
    Path("wingbeat.toml").write_text(f'[run]\nrpm = "{value}"\n')
    said = command("run", "in.txt", "--dry-run")
    assert said.code == 2
    assert "rpm" in said.err


def test_a_wrong_value_of_a_file_names_the_command_that_shows_it(command: Command):
    """The hint for a bad value out of a file or variable is `wingbeat config`."""
    Path("wingbeat.toml").write_text('[run]\nrpm = "many"\n')
    assert "wingbeat config run" in command("run", "in.txt").err


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nwingbeat = 3", "not toml"])
def test_another_projects_file_does_no_harm(command: Command, text: str):
    """A pyproject.toml without settings for us is passed over; a wrong one ends with one line, never a traceback."""
    Path("pyproject.toml").write_text(text)
    Path("wingbeat.toml").mkdir()
    said = command("run", "in.txt", "--dry-run", "--model", "sim/gemini-2.5-flash")
    assert said.code == (2 if "wingbeat" in text else 0)


def test_google_api_key_wins_with_a_warning(command: Command, monkeypatch: pytest.MonkeyPatch):
    """With both keys set, GOOGLE_API_KEY is used, as Google's client does, and a warning says so."""
    service = find_service("gemini-2.5-flash", environment={"GOOGLE_API_KEY": "a-key", "GEMINI_API_KEY": "b-key"})
    assert service.key == "a-key"
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-that-is-long")
    monkeypatch.setenv("GEMINI_API_KEY", "b-key-that-is-long")
    said = command("run", "in.txt", "--dry-run", "--model", "gemini-2.5-flash")
    assert said.code == 0
    assert "warning: GOOGLE_API_KEY and GEMINI_API_KEY are both set; using GOOGLE_API_KEY" in said.err
    assert "that-is-long" not in said.err


@pytest.mark.parametrize(
    ("flags", "environment", "url", "version"),
    [
        ({}, {}, "https://generativelanguage.googleapis.com", None),
        ({}, {"GOOGLE_GEMINI_BASE_URL": "http://a"}, "http://a", None),
        ({"base_url": "http://b"}, {"GOOGLE_GEMINI_BASE_URL": "http://a"}, "http://b", None),
        ({"api_version": "v1"}, {"GOOGLE_GENAI_API_VERSION": "v1beta"}, os.devnull, "v1"),
        ({}, {"GOOGLE_GENAI_API_VERSION": "v1alpha"}, os.devnull, "v1alpha"),
    ],
)
def test_address_and_version_are_the_vendors(flags: dict, environment: dict, url: str, version: str | None):
    """Base URL and API version come from the flag, else from the variables of Google's own client."""
    service = find_service("gemini/gemini-2.5-flash", **flags, environment={"GEMINI_API_KEY": "k", **environment})
    assert url in (os.devnull, service.base_url)
    assert service.api_version == version


@pytest.mark.parametrize("name", ["gemini/gemini-2.5-flash", "gemini-2.5-flash", "gemini/models/gemini-2.5-flash"])
def test_a_model_has_one_route_name(name: str):
    """All ways to write a Gemini model mean the same route."""
    assert find_service(name, environment={"GEMINI_API_KEY": "k"}).route_name == "gemini/gemini-2.5-flash"
