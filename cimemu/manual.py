"""The pages of the manual as they are installed with the package: their topics, titles and text."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cimemu.errors import CimemuError

FOLDER = Path(__file__).parent / "docs"
GROUPS = {"manual": "how to use it", "extend": "how to add to it", "design": "what it is, and why", "": "more"}
FIRST = "first-run"  # the page that a newcomer reads first
LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)?(?:\w+/)?([\w-]+)\.md(?:#[\w-]+)?\)")  # from one page to another


@dataclass(frozen=True)
class Page:
    """One page: `topic` is what `cimemu docs` calls it, `group` the folder that it lies in ("": none)."""

    topic: str
    title: str
    group: str
    path: Path


def pages() -> list[Page]:
    """Every installed page, by group, and by name in its group but for the first page of all."""
    found = []
    for path in FOLDER.rglob("*.md"):
        folder = path.parent.name
        found.append(Page(path.stem, _title(path), folder if folder in GROUPS else "", path))
    order = list(GROUPS)
    return sorted(found, key=lambda page: (order.index(page.group), page.topic != FIRST, page.topic))


def page_text(topic: str) -> str:
    """The Markdown of a page, links to other pages as commands, without the comments that tests and printers read.

    Raises CimemuError with close matches where there is no such page.
    """
    there = {page.topic: page for page in pages()}
    if topic not in there:
        near = get_close_matches(topic.lower(), there, 3, 0.5)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise CimemuError(f"docs {topic}: no such page; {guess}cimemu docs lists all pages")
    text = re.sub(r"<!-- [^\n]*? -->\n?", "", there[topic].path.read_text(encoding="utf-8"))
    return LINK.sub(r"\1 (`cimemu docs \2`)", text)


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("# ").strip()
