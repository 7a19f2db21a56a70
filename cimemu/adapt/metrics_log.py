"""The log of a training run: a CSV file of one row an epoch, and TensorBoard's events where that is installed."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cimemu import table_file
from cimemu.errors import WorkloadError
from cimemu.whole_file import whole_file

Row = Mapping[str, float | int | None]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows as a CSV file, columns in the order they first appear; the file is replaced in one step."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path, WorkloadError, overwrite=True) as made:
        table_file.write_rows(made, [{name: _text(row.get(name)) for name in names} for row in rows], ends="\n")


def _text(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def board_of() -> Any:
    """PyTorch's writer of TensorBoard's events. WorkloadError where tensorboard is not installed."""
    try:
        return importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        raise WorkloadError(
            'tensorboard is not installed: pip install "cimemu[board]", or leave --tensorboard out'
        ) from None


class Board:
    """TensorBoard's events below a folder; nothing where no folder is named."""

    def __init__(self, folder: Path | None) -> None:
        """Raises WorkloadError where tensorboard is not installed."""
        self.writer: Any = None
        if folder is not None:
            self.writer = board_of().SummaryWriter(str(folder))

    def add(self, row: Row) -> None:
        """One epoch's row."""
        if self.writer is not None:
            for name, value in row.items():
                if value is not None and name != "epoch":
                    self.writer.add_scalar(name, value, row["epoch"])

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()
