"""Settings from files: the project's ``wingbeat.toml`` or ``[tool.wingbeat]``, then the user's own."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import msgspec

from wingbeat.errors import ConfigurationError


class Settings(msgspec.Struct, frozen=True):
    """
    Values for options that neither a flag nor the environment gives.

    Args:
        default_map: Command name to option name to value, as click takes it.
        origins: (command, option) to the file that the value comes from.
    """

    default_map: dict[str, dict[str, Any]]
    origins: dict[tuple[str, str], str]


def user_file() -> Path:
    """Return where the user's own settings lie."""
    import platformdirs

    return Path(platformdirs.user_config_dir("wingbeat", appauthor=False)) / "config.toml"


def read_settings(folder: Path | None = None, user: Path | None = None) -> Settings:
    """
    Read the settings of a project folder and of the user; the project's win.

    A file has a table a command: ``[run]`` with ``rpm = 1000``.

    Raises:
        ConfigurationError: A file is not valid TOML, or a table in it is no table.
    """
    folder = folder or Path.cwd()
    default_map: dict[str, dict[str, Any]] = {}
    origins: dict[tuple[str, str], str] = {}
    for path, tables in _files(folder, user or user_file()):
        for command, values in tables.items():
            if not isinstance(values, dict):
                raise ConfigurationError(
                    f"`{path}`: `{command}` must be a table of a command, such as [run]",
                    hint="write [run] above it",
                )
            for name, value in values.items():
                option = name.replace("-", "_")
                default_map.setdefault(command, {})[option] = value
                origins[command, option] = str(path)
    return Settings(default_map, origins)


INHERITED_FROM = {"plan": "run"}
"""Commands for which another's table holds too, since what they say is said of that other command."""

_OWN_OUTPUT = ("json", "quiet")


def with_inherited(default_map: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the settings with those of other commands that hold too; a command's own win."""
    found = dict(default_map)
    for name, other in INHERITED_FROM.items():
        shared = {option: value for option, value in default_map.get(other, {}).items() if option not in _OWN_OUTPUT}
        found[name] = {**shared, **default_map.get(name, {})}
    return found


def check_settings(settings: Settings, name: str, command: click.Command) -> None:
    """
    Refuse settings that a command has no use for, before any of them is silently ignored.

    Args:
        settings: What the files hold.
        name: The command's name.
        command: The command.

    Raises:
        ConfigurationError: A command or an option is unknown, or a value has a type that no option takes.
    """
    options = {str(option.name): option for option in command.params if isinstance(option, click.Option)}
    for option, value in settings.default_map.get(name, {}).items():
        where = f"`{settings.origins[name, option]}`: [{name}]"
        if option not in options:
            near = get_close_matches(option, options, 1)
            raise ConfigurationError(
                f"{where} has no setting `{option.replace('_', '-')}`",
                hint=f"did you mean `{near[0].replace('_', '-')}`?" if near else f"see wingbeat {name} --help",
            )
        values = value if isinstance(value, list) and options[option].multiple else [value]
        if isinstance(value, str) and options[option].multiple:
            values = [None]
        wanted = "a list of texts" if options[option].multiple else "a text, a number, or true or false"
        if not all(isinstance(item, str | int | float) for item in values):
            raise ConfigurationError(f"{where} `{option.replace('_', '-')}` must be {wanted}, not {value!r}")
        if isinstance(value, bool) and not options[option].is_flag:
            raise ConfigurationError(f"{where} `{option.replace('_', '-')}` takes a value, not {str(value).lower()}")


def _files(folder: Path, user: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the tables of each file that there is, the weakest first."""
    found = []
    if (tables := _read(user)) is not None:
        found.append((user, tables))
    project = folder / "pyproject.toml"
    if (tables := _read(project)) is not None:
        tools = tables.get("tool")
        own_tables = tools.get("wingbeat", {}) if isinstance(tools, dict) else {}
        if not isinstance(own_tables, dict):
            raise ConfigurationError(f"`{project}`: `tool.wingbeat` must be a table", hint="write [tool.wingbeat.run]")
        found.append((project, own_tables))
    own = folder / "wingbeat.toml"
    if (tables := _read(own)) is not None:
        found.append((own, tables))
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        if path.name == "pyproject.toml":
            return None
        raise ConfigurationError(f"`{path}` is not valid TOML: {error}") from None
