"""Links within the documents lead somewhere."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def load():
    """Import the script."""
    spec = importlib.util.spec_from_file_location("wingbeat_check_links", ROOT / "scripts" / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_bad_file_and_a_bad_anchor_are_found(tmp_path):
    """A link to no file and one to no heading are named with their lines; good ones and code are not."""
    links = load()
    links.ROOT = tmp_path
    (tmp_path / "other.md").write_text("# Some `code` here\n\n## Twice\n\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[good](other.md#some-code-here) [second](other.md#twice_1)\n[away](https://example.org/x)\n"
        "[no file](none.md)\n[no heading](other.md#none)\n```text\n[in code](none.md)\n```\n"
    )
    found = list(links.problems(page))
    assert [text.split(": ")[0] for text in found] == ["page.md:3", "page.md:4"]


def test_every_link_of_the_documents_leads_somewhere():
    """README, CONTRIBUTING, CHANGELOG and docs/ hold no bad relative link."""
    links = load()
    assert [problem for page in links.pages() for problem in links.problems(page)] == []
