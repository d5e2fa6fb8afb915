"""The arrows between modules: layers may look down, never up, and nothing goes round in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import wingbeat

ROOT = Path(wingbeat.__file__).parent

LAYERS = {
    "model": 0,
    "ledgers": 1,
    "providers": 1,
    "journal": 2,
    "sources": 2,
    "sinks": 2,
    "transport": 2,
    "engine": 3,
    "report": 4,
    "job": 4,
    "testing": 4,
    "(top)": 5,
    "cli": 6,
}
"""Each package's layer; ``(top)`` stands for the modules directly in ``wingbeat``. The simulator stands apart."""

ENGINE_SEES = {"model", "ledgers", "providers", "engine"}
"""The engine reaches disk and network through its ports only."""

SIMULATOR_SEEN_BY = {"connecting", "cli.simulate", "testing.simulated", "rehearsal", "modelled", "forecasting"}


class Arrow(NamedTuple):
    """One module importing another, by names below ``wingbeat``."""

    source: str
    target: str


def module_names() -> dict[str, Path]:
    """Return every module below ``wingbeat`` by its dotted name; the root package is the empty name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_for_types_only(node: ast.AST) -> bool:
    """Tell whether a statement is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def import_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield imports that happen when the program runs, those inside functions included."""
    for child in ast.iter_child_nodes(node):
        if is_for_types_only(child):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from import_nodes(child)


def arrows(modules: dict[str, Path]) -> set[Arrow]:
    """Return every import of one of our modules by another."""
    found = set()
    for source, path in modules.items():
        for node in import_nodes(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                names = [alias.name for alias in node.names]
            targets = {name.removeprefix("wingbeat").removeprefix(".") for name in names if is_ours(name)}
            known = {target for target in targets if target in modules}
            found |= {Arrow(source, target) for target in known if target not in ("", source)}
    return found


def is_ours(name: str) -> bool:
    """Tell whether a dotted name lies below ``wingbeat``."""
    return name == "wingbeat" or name.startswith("wingbeat.")


def package(module: str) -> str:
    """Return the package of a module, ``(top)`` for those directly in ``wingbeat``; ``-m wingbeat`` is a command."""
    if module == "__main__":
        return "cli"
    head, dot, _ = module.partition(".")
    return head if dot or (ROOT / head).is_dir() else "(top)"


@pytest.fixture(scope="module")
def modules() -> dict[str, Path]:
    """Every module of the package."""
    return module_names()


@pytest.fixture(scope="module")
def graph(modules: dict[str, Path]) -> set[Arrow]:
    """Every arrow of the package."""
    return arrows(modules)


def test_every_package_has_a_layer(modules: dict[str, Path]):
    """A new package must be given its place before anything may import it."""
    packages = {package(name) for name in modules if name} - {"simulator"}
    assert packages == set(LAYERS)


def test_no_arrow_points_up(graph: set[Arrow]):
    """A module imports only its own layer or lower ones; `errors` and the version may be imported by all."""
    upward: dict[str, set[str]] = {}
    for source, target in graph:
        if "simulator" in (package(source), package(target)) or target in ("errors", "_version") or source == "":
            continue
        if LAYERS[package(source)] < LAYERS[package(target)]:
            upward.setdefault(source, set()).add(target)
    assert upward == {}


def test_the_engine_sees_values_and_ledgers_only(graph: set[Arrow]):
    """The engine imports no journal, source, sink or transport: they come to it through ports."""
    seen = {target for source, target in graph if package(source) == "engine" and target != "errors"}
    assert {package(target) for target in seen} <= ENGINE_SEES


def test_values_import_nothing_of_ours(graph: set[Arrow]):
    """The model imports only itself."""
    assert {package(target) for source, target in graph if package(source) == "model"} <= {"model"}


def test_codecs_do_not_know_ledgers(graph: set[Arrow]):
    """Codecs and ledgers, though of one layer, import only the model and their own package."""
    for name in ("ledgers", "providers"):
        seen = {target for source, target in graph if package(source) == name and target != "errors"}
        assert {package(target) for target in seen} <= {"model", name}


def test_errors_import_nothing_at_run_time(graph: set[Arrow]):
    """`errors` can be imported by all because it imports none."""
    assert not [arrow for arrow in graph if arrow.source == "errors"]


def test_nothing_imports_the_command_line(graph: set[Arrow]):
    """The command line is the last layer."""
    assert not [arrow for arrow in graph if package(arrow.target) == "cli" and package(arrow.source) != "cli"]


def test_the_simulator_is_a_stranger(graph: set[Arrow]):
    """The simulator imports nothing else of wingbeat, and few import it."""
    inside = {arrow for arrow in graph if package(arrow.source) == "simulator"}
    assert {package(target) for _, target in inside} <= {"simulator"}
    seen_by = {source for source, target in graph - inside if package(target) == "simulator"}
    assert seen_by <= SIMULATOR_SEEN_BY


def test_no_imports_go_round(modules: dict[str, Path], graph: set[Arrow]):
    """Modules can be put in an order in which each imports only earlier ones."""
    below: dict[str, set[str]] = {name: set() for name in modules}
    for source, target in graph:
        if not source.startswith(f"{target}."):  # a module loads its own package first anyway
            below[source].add(target)
    while below:
        free = [name for name, targets in below.items() if not targets & below.keys()]
        assert free, f"a cycle among {sorted(below)}"
        for name in free:
            del below[name]
