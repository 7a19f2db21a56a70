"""The pages of the manual as they are installed with the package: their topics, titles and text."""

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from cimemu.errors import CimemuError

FOLDER = Path(__file__).parent / "docs"
GROUPS = {
    "manual": "how to use it",
    "tutorials": "from an empty folder to a picture",
    "extend": "how to add to it",
    "design": "what it is, and why",
    "": "more",
}
FIRST = "first-run"  # the page that a newcomer reads first
LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)?(\w+/)?([\w-]+)\.md(?:#[\w-]+)?\)")  # from one page to another


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
    taken = {page.topic for page in found if page.group == "manual"}
    found = [  # a page of the manual may have the name of a recipe, which is then called by its folder, too
        replace(page, topic=f"{page.group}/{page.topic}") if page.group != "manual" and page.topic in taken else page
        for page in found
    ]
    return sorted(found, key=lambda page: (order.index(page.group), page.topic != FIRST, page.topic))


def page_text(topic: str) -> str:
    """The Markdown of a page, links to other pages as commands, without the comments that tests and printers read.

    Raises CimemuError with close matches where there is no such page.
    """
    there = {page.topic: page for page in pages()}
    there |= {f"{page.group}/{page.path.stem}": page for page in there.values() if page.group}
    if topic not in there:
        near = get_close_matches(topic.lower(), there, 3, 0.5)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise CimemuError(f"docs {topic}: no such page; {guess}cimemu docs lists all pages")
    text = re.sub(r"<!-- [^\n]*? -->\n?", "", there[topic].path.read_text(encoding="utf-8"))
    topics = {page.topic for page in there.values()}

    def command(link: re.Match[str]) -> str:
        longer = f"{link[2] or ''}{link[3]}"
        return f"{link[1]} (`cimemu docs {longer if longer in topics else link[3]}`)"

    return LINK.sub(command, text)


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("# ").strip()
