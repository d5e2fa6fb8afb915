"""
Put CHANGELOG.md together from the fragments in changes/.

Run: python scripts/changelog.py                  writes the section Unreleased
     python scripts/changelog.py --check          fails when it is not up to date, or a fragment is wrong
     python scripts/changelog.py --release 0.2.0  turns the fragments into a release, and deletes them
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAGMENTS = ROOT / "changes"
CHANGELOG = ROOT / "CHANGELOG.md"
KINDS = ("added", "changed", "fixed", "removed")

HEAD = """# Changelog

All notable changes, newest first. Versions follow [semantic versioning](https://semver.org/). Put together by
`scripts/changelog.py` from the files in `changes/`.
"""


class Wrong(Exception):
    """A fragment or an argument is wrong."""


def main() -> int:
    """Write, check, or release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="compare with the committed file instead")
    action.add_argument("--release", metavar="VERSION", help="make a release of all fragments")
    chosen = parser.parse_args()
    try:
        before = CHANGELOG.read_text("utf-8") if CHANGELOG.exists() else HEAD
        fragments = read_fragments(FRAGMENTS)
        if chosen.release:
            text = release(before, fragments, chosen.release, datetime.datetime.now(datetime.UTC).date())
        else:
            text = assemble(before, fragments)
    except Wrong as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if chosen.check:
        if text != before:
            print("CHANGELOG.md does not hold what changes/ says; run: python scripts/changelog.py", file=sys.stderr)
            return 1
        return 0
    CHANGELOG.write_text(text, "utf-8")
    if chosen.release:
        for path in FRAGMENTS.glob("*.*.md"):
            path.unlink()
    return 0


def read_fragments(folder: Path) -> dict[str, list[str]]:
    """
    Return the text of every fragment, by kind, in order of name.

    Raises:
        Wrong: A file's name or content is not that of a fragment.
    """
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.iterdir()):
        if path.name == "README.md" or path.name.startswith("."):
            continue
        match = re.fullmatch(r"[a-z0-9-]+\.(\w+)\.md", path.name)
        if match is None or match[1] not in KINDS:
            raise Wrong(f"changes/{path.name}: a fragment is named slug.kind.md, with a kind of {', '.join(KINDS)}")
        text = " ".join(path.read_text("utf-8").split())
        if not text:
            raise Wrong(f"changes/{path.name} is empty")
        if text.startswith(("#", "- ", "* ")):
            raise Wrong(f"changes/{path.name}: write sentences, no heading and no list")
        found[match[1]].append(text)
    return found


def section(title: str, fragments: dict[str, list[str]]) -> str:
    """Return one version's section."""
    parts = [f"## {title}"]
    for kind, texts in fragments.items():
        if texts:
            parts.append(f"### {kind.capitalize()}\n\n" + "\n".join(f"- {text}" for text in texts))
    return "\n\n".join(parts) + "\n"


def released(changelog: str) -> str:
    """Return the sections of the releases so far."""
    match = re.search(r"(?m)^## (?!Unreleased$)", changelog)
    return "" if match is None else changelog[match.start() :]


def assemble(changelog: str, fragments: dict[str, list[str]]) -> str:
    """Return the changelog with its section Unreleased made anew."""
    parts = [HEAD]
    if any(fragments.values()):
        parts.append(section("Unreleased", fragments))
    if earlier := released(changelog):
        parts.append(earlier)
    return "\n".join(parts)


def release(changelog: str, fragments: dict[str, list[str]], version: str, today: datetime.date) -> str:
    """
    Return the changelog with the fragments as a release.

    Raises:
        Wrong: The version is not one, is there already, or there is nothing to release.
    """
    if re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version) is None:
        raise Wrong(f"{version!r} is not a version like 0.2.0")
    if re.search(rf"(?m)^## {re.escape(version)} ", changelog):
        raise Wrong(f"{version} is in the changelog already")
    if not any(fragments.values()):
        raise Wrong("there are no fragments to release")
    return "\n".join(
        part for part in (HEAD, section(f"{version} – {today.isoformat()}", fragments), released(changelog)) if part
    )


if __name__ == "__main__":
    sys.exit(main())
