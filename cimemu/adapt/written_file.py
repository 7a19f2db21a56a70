"""The file that a training run writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cimemu.errors import WorkloadError


@dataclass(frozen=True)
class File:
    """The file that a training run writes (none: no file), and whether it may replace one that is there."""

    out: Path | None = None
    overwrite: bool = False

    def refuse_taken(self) -> None:
        """WorkloadError where the file is there already and must not be replaced."""
        if self.out is not None and self.out.exists() and not self.overwrite:
            raise WorkloadError(f"{self.out}: exists already, name another file or add --force")


class FileKeywords(TypedDict, total=False):
    """Every field of `File`, as a keyword."""

    out: Path | None
    overwrite: bool
