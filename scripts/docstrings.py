"""Python objects as Markdown: signatures and Google-style docstrings, read without running anything."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Example", "Source")

_LINE_WIDTH = 100


def split(text: str) -> tuple[str, dict[str, str]]:
    """Split a docstring into its prose and its sections."""
    prose: list[str] = []
    sections: dict[str, list[str]] = {}
    current = prose
    for line in inspect.cleandoc(text).splitlines():
        name, colon, rest = line.partition(":")
        if colon and name in SECTIONS:
            current = sections.setdefault(name, [])
            if rest.strip():
                current.append(rest.strip())
        elif current is not prose and line and not line.startswith(" ") and "Source" not in sections:
            current = prose
            prose.append(line)
        else:
            current.append(line)
    bodies = {name: textwrap.dedent("\n".join(lines)).strip() for name, lines in sections.items()}
    return markdown("\n".join(prose)), bodies


def items(section: str) -> dict[str, str]:
    """Return the entries of an Args, Attributes or Raises section, by name."""
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            name, _, rest = line.partition(":")
            found[name] = rest.strip()
        elif name:
            found[name] += " " + line.strip()
    return {name: markdown(text).strip() for name, text in found.items()}


def markdown(text: str) -> str:
    """Turn the light markup of docstrings into Markdown: double backticks become single, indented lists lists."""
    text = text.replace("``", "`").strip()
    return re.sub(r"(?m)^    (?=(\d+\.|-|  ) )", "", text)


def documented(owner: object, name: str = "Args") -> dict[str, str]:
    """Return the entries of one section of an object's docstring."""
    return items(split(inspect.getdoc(owner) or "")[1].get(name, ""))


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; pipes in cells are escaped."""
    lines = [list(heads), *(list(row) for row in rows)]
    width = len(lines[0])
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return "\n".join([text[0], "|" + " --- |" * width, *text[1:]])


def signature(call: Callable[..., Any], name: str, *, drop_first: bool = False) -> str:
    """Return a call's signature as source text, on one line where it fits."""
    shape = inspect.signature(call)
    parameters = list(shape.parameters.values())[1 if drop_first else 0 :]
    parts: list[str] = []
    for position, parameter in enumerate(parameters):
        previous = parameters[position - 1].kind if position else None
        if parameter.kind is parameter.KEYWORD_ONLY and previous not in (
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        ):
            parts.append("*")
        parts.append(_parameter(parameter))
    returned = (
        ""
        if shape.return_annotation is shape.empty or name[:1].isupper()
        else f" -> {inspect.formatannotation(shape.return_annotation)}"
    )
    word = "async def " if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call) else ""
    return _laid_out(word + name, parts, _short(returned))


def _parameter(parameter: inspect.Parameter) -> str:
    bare = parameter.replace(default=parameter.empty)
    spaced = " = " if parameter.annotation is not parameter.empty else "="
    if parameter.default is parameter.empty:
        return _short(str(bare))
    is_struct = isinstance(parameter.default, msgspec.Struct)
    default = f"{type(parameter.default).__name__}()" if is_struct else repr(parameter.default)
    return f"{_short(str(bare))}{spaced}{default}"


def _short(text: str) -> str:
    """Leave out the modules of types, and the quotes of those that are written as text."""
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text.replace("'", ""))


def annotation(struct: type, name: str) -> str:
    """Return a field's type as it stands in the source."""
    value = inspect.get_annotations(struct).get(name, "")
    return value if isinstance(value, str) else getattr(value, "__name__", str(value))


@cache
def _tree(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text("utf-8"))


def literals(module: ModuleType, owner: str | None = None) -> dict[str, str]:
    """Return the docstrings that stand after assignments, in a module or in a class of it."""
    body = _tree(module).body
    if owner is not None:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == owner)
    found = {}
    for node, following in pairwise(body):
        if (
            isinstance(node, ast.Assign)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            target = node.targets[0]
            if isinstance(target, ast.Name) and isinstance(following.value.value, str):
                found[target.id] = markdown(inspect.cleandoc(following.value.value)).replace("\n", " ")
    return found


def source_of(module: ModuleType, name: str) -> str:
    """Return the source of an assignment's value."""
    for node in _tree(module).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.unparse(node.value)
    raise KeyError(name)


def render(
    value: object, heading: str, title: str, link: Callable[[str], str], *, is_method: bool = False
) -> list[str]:
    """Return the blocks that document a class or a function, its public methods included."""
    name = title.rpartition(".")[2]
    blocks = [f"{heading} {title}"]
    if isinstance(value, type) and issubclass(value, msgspec.Struct):
        blocks.append(_code(signature(value, name)))
    elif isinstance(value, type) and _takes_arguments(value):
        blocks.append(_code(signature(value.__init__, name, drop_first=True)))
    elif inspect.isfunction(value):
        blocks.append(_code(signature(value, name, drop_first=is_method)))
    prose, sections = split(inspect.getdoc(value) or "")
    blocks.append(link(prose))
    blocks += _sections(sections, link)
    if isinstance(value, type):
        blocks += _properties(value, link)
        for method_name, method in vars(value).items():
            if inspect.isfunction(method) and not method_name.startswith("_"):
                blocks += render(method, heading + "#", f"{title}.{method_name}", link, is_method=True)
    return blocks


def _takes_arguments(value: type) -> bool:
    return "__init__" in vars(value) and not all(
        parameter.startswith("_") or parameter == "self" or parameter == "mapping"
        for parameter in inspect.signature(value.__init__).parameters  # type: ignore[misc]
    )


def _sections(sections: dict[str, str], link: Callable[[str], str]) -> list[str]:
    blocks = []
    for name in SECTIONS:
        body = sections.get(name)
        if not body:
            continue
        match name:
            case "Args" | "Attributes":
                rows = [[f"`{key}`", link(text)] for key, text in items(body).items()]
                blocks.append(table(["Argument" if name == "Args" else "Attribute", "Meaning"], rows))
            case "Raises":
                rows = [[link(f"`{key}`"), link(text)] for key, text in items(body).items()]
                blocks.append(table(["Raises", "When"], rows))
            case "Example":
                blocks.append(body)
            case _:
                blocks.append(f"**{name}:** {link(markdown(body))}".replace("\n", " "))
    return blocks


def _properties(value: type, link: Callable[[str], str]) -> list[str]:
    rows = [
        [f"`{name}`", link(markdown(inspect.getdoc(member) or "").replace("\n", " "))]
        for name, member in vars(value).items()
        if isinstance(member, property) and not name.startswith("_")
    ]
    return [table(["Property", "Meaning"], rows)] if rows else []


def _code(text: str) -> str:
    return f"```py\n{text}\n```"


def _laid_out(head: str, parts: list[str], tail: str) -> str:
    line = f"{head}({', '.join(parts)}){tail}"
    if len(line) <= _LINE_WIDTH:
        return line
    inner = "".join(f"    {part},\n" for part in parts)
    return f"{head}(\n{inner}){tail}"
