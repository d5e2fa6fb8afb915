"""
Check that every relative link of the documents leads to a file, and its anchor to a heading.

Every page of docs/ must also stand in the site's navigation. Links to other hosts are not followed.

Run: python scripts/check_links.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent

_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"(?m)^\[[^\]]+\]:\s+(\S+)")
_ATTRIBUTE = re.compile(r"(?:href|src)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def main() -> int:
    """Check all pages and name each bad link."""
    found = [problem for page in pages() for problem in problems(page)]
    found += left_out((ROOT / "mkdocs.yml").read_text("utf-8"))
    for problem in found:
        print(problem, file=sys.stderr)
    if found:
        print(f"error: {len(found)} problems with links", file=sys.stderr)
    return 1 if found else 0


def pages() -> list[Path]:
    """Return the pages whose links are checked."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "changes/README.md")]
    return [path for path in top if path.exists()] + sorted((ROOT / "docs").rglob("*.md"))


def problems(page: Path) -> Iterator[str]:
    """Yield what is wrong with the links of a page."""
    text = without_code(page.read_text("utf-8"))
    for pattern in (_LINK, _REFERENCE, _ATTRIBUTE):
        for match in pattern.finditer(text):
            target = match[1]
            if _ELSEWHERE.match(target):
                continue
            line = text.count("\n", 0, match.start()) + 1
            where = f"{page.relative_to(ROOT)}:{line}: `{target}`"
            path, _, anchor = target.partition("#")
            aim = page if not path else (page.parent / unquote(path)).resolve()
            if not aim.exists():
                yield f"{where}: there is no such file"
            elif ROOT not in (aim, *aim.parents):
                yield f"{where} leads out of the repository"
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim):
                yield f"{where}: there is no such heading"


def left_out(settings: str) -> list[str]:
    """Return what is wrong with the navigation: pages that it lacks, and pages that there are not."""
    listed = set(re.findall(r"(?m)^\s*- (?:.*: )?(\S+\.md)$", settings))
    present = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    lacking = [f"mkdocs.yml: docs/{name} is not in the navigation" for name in sorted(present - listed)]
    return lacking + [f"mkdocs.yml: there is no docs/{name}" for name in sorted(listed - present)]


def without_code(text: str) -> str:
    """Blank out code, so that nothing in it is taken for a link or a heading; lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    text = re.sub(r"(?ms)^(\s*)(`{3,}|~{3,}).*?^\s*\2[`~]*\s*$", blank, text)
    return re.sub(r"(?s)<!--.*?-->", blank, text)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page: its headings as Markdown tools spell them, and explicit identifiers."""
    text = page.read_text("utf-8")
    found: list[str] = re.findall(r"\bid=\"([^\"]+)\"", text)
    seen: dict[str, int] = {}
    for heading in re.findall(r"(?m)^#{1,6}\s+(.+?)\s*#*$", without_code(text)):
        own = re.search(r"\{\s*#([\w-]+)[^}]*\}\s*$", heading)
        if own is not None:
            found.append(own[1])
            continue
        bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", bare.lower()).strip())
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found += [slug] if not count else [f"{slug}_{count}", f"{slug}-{count}"]
    return frozenset(found)


if __name__ == "__main__":
    sys.exit(main())
