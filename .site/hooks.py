"""What the site has beside the pages of cimemu/docs: README.md as its front page, and a reference from the source."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import cimemu

ROOT = Path(__file__).parent.parent
HOME = "https://github.com/cimemu/cimemu/blob/main/"


def on_files(files: Files, config: Any) -> Files:
    """Add the two pages that no file of the folder holds."""
    files.append(File.generated(config, "index.md", content=front_page()))
    names = [name for name in cimemu.__all__ if name != "__version__"]
    text = "# Signatures and types\n\nEvery public name as the source has it.\n\n"
    files.append(
        File.generated(config, "reference.md", content=text + "\n\n".join(f"::: cimemu.{name}" for name in names))
    )
    return files


def front_page() -> str:
    """README.md, its links to pages as links inside the site and all others to the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    def moved(found: re.Match[str]) -> str:
        target = found[1]
        if re.match("https?:|mailto:|#", target):
            return found[0]
        inside = target.removeprefix("cimemu/docs/")
        return f"]({inside})" if inside != target and inside.endswith((".md", ".svg")) else f"]({HOME}{target})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, text)
