"""The changelog is put together from fragments, and nothing of an earlier release is lost."""

import datetime
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def changelog():
    """Import the script."""
    spec = importlib.util.spec_from_file_location("wingbeat_changelog", ROOT / "scripts" / "changelog.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_fragments_become_a_release_above_the_earlier_ones(changelog, tmp_path):
    """A release takes all fragments by kind, and stands above what was released before."""
    (tmp_path / "b.fixed.md").write_text("Second\nline.\n")
    (tmp_path / "a.added.md").write_text("First.\n")
    (tmp_path / "README.md").write_text("# Not a fragment\n")
    fragments = changelog.read_fragments(tmp_path)
    before = changelog.assemble(changelog.HEAD + "\n## 0.1.0 – 2026-01-01\n\n### Added\n\n- Old.\n", fragments)
    assert before.index("## Unreleased") < before.index("- First.") < before.index("- Second line.")
    after = changelog.release(before, fragments, "0.2.0", datetime.date(2026, 2, 3))
    assert "Unreleased" not in after
    assert after.index("## 0.2.0 – 2026-02-03") < after.index("- First.") < after.index("## 0.1.0")
    assert changelog.assemble(after, {}) == after


@pytest.mark.parametrize("name", ["a.md", "a.new.md", "A b.added.md"])
def test_a_fragment_with_a_wrong_name_is_refused(changelog, tmp_path, name):
    """What would be left out silently is an error."""
    (tmp_path / name).write_text("Text.\n")
    with pytest.raises(changelog.Wrong, match="slug"):
        changelog.read_fragments(tmp_path)


def test_a_version_can_be_released_once(changelog):
    """A second release of the same version is refused."""
    text = changelog.HEAD + "\n## 0.1.0 – 2026-01-01\n"
    with pytest.raises(changelog.Wrong, match="already"):
        changelog.release(text, {"added": ["New."]}, "0.1.0", datetime.date(2026, 1, 2))


def test_the_committed_changelog_is_up_to_date(changelog):
    """CHANGELOG.md holds what changes/ says."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert changelog.assemble(text, changelog.read_fragments(ROOT / "changes")) == text
