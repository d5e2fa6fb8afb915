import ast
from pathlib import Path

import wingbeat.simulator


def test_the_simulator_imports_nothing_else_of_wingbeat():
    """The witness is independent: every import from wingbeat stays inside the simulator."""
    for path in Path(wingbeat.simulator.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            assert all(name.startswith("wingbeat.simulator") for name in names if name.startswith("wingbeat")), path
