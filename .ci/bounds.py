"""Constraints for pip of the lowest versions that pyproject.toml allows; nothing for the newest: bounds.py lowest|newest FILE."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

EXTRAS = ("check", "view", "plot")


def lowest(requirements: list[str]) -> Iterator[str]:
    """`name==X.*` of every `name>=X`: the first release of that series, with its repairs."""
    for text in requirements:
        found = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?>=([0-9.]+)(?:,<.*)?", text)
        if found is None:
            raise SystemExit(f"{text}: has no lower bound, give it one")
        yield f"{found[1]}=={found[2]}.*"


def main(which: str, file: str) -> None:
    """Print the constraints."""
    if which not in ("lowest", "newest"):
        raise SystemExit(f"{which}: must be lowest or newest")
    project = tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    if which == "lowest":
        print("\n".join(lowest(wanted)))


if __name__ == "__main__":
    main(*sys.argv[1:])
