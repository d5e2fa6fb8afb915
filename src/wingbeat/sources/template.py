"""Prompt templates: Jinja2, sandboxed, strict on missing names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wingbeat.errors import ConfigurationError


class TemplateFault(Exception):
    """One row can't be rendered; the message says why."""


class Template:
    """
    Render a prompt from a row's columns.

    Args:
        text: The Jinja2 text.
        name: What to call it in messages.

    Raises:
        ConfigurationError: The text is no valid template.
    """

    def __init__(self, text: str, name: str = "the template") -> None:
        from jinja2 import StrictUndefined, TemplateSyntaxError, meta
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        self.text = text
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False
        )
        try:
            self._template = environment.from_string(text)
            names = meta.find_undeclared_variables(environment.parse(text))
            self.variables = frozenset(names.difference(environment.globals))
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"{name} is wrong at line {error.lineno}: {error.message}") from None

    def __repr__(self) -> str:
        return f"<Template of {', '.join(sorted(self.variables))}>"

    def render(self, columns: dict[str, Any]) -> str:
        """
        Render one row.

        Raises:
            TemplateFault: A name is missing, or the template fails on this row's values.
        """
        from jinja2 import TemplateError, UndefinedError

        try:
            return self._template.render(columns)
        except UndefinedError as error:
            missing = next((name for name in sorted(self.variables) if f"'{name}' is" in str(error)), None)
            if missing is not None and missing not in columns:
                raise TemplateFault(f"has no column `{missing}`, which the template uses") from None
            raise TemplateFault(f"the template fails: {error.message}") from None
        except TemplateError as error:
            raise TemplateFault(f"the template fails: {error.message or type(error).__name__}") from None
        except Exception as error:  # noqa: BLE001 - a template may run into anything with a row's values
            raise TemplateFault(f"the template fails: {type(error).__name__}: {error}") from None


def read_template(argument: str) -> Template:
    """
    Read a template given as text or as a file's path.

    Raises:
        ConfigurationError: It is neither, or is no valid template.
    """
    if "{{" in argument or "{%" in argument:
        return Template(argument)
    path = Path(argument)
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        message = f"the template {argument!r} is neither a file nor a text with `{{{{ column }}}}` in it"
        raise ConfigurationError(message, hint="write it like --template 'Classify: {{ text }}'") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"can't read the template `{argument}`: {error}") from None
    return Template(text, f"`{argument}`")
