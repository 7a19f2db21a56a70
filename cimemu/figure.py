"""Pictures by matplotlib (extra `plot`): drawn without a window, shown by notebooks, written whole."""

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from cimemu.errors import CimemuError
from cimemu.whole_file import whole_file

KINDS = ("png", "svg", "pdf")
MISSING = 'matplotlib is not installed: pip install "cimemu[plot]", or write the figures as CSV'


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of `size` (inches) and its axes, as `Figure.subplots` gives them. CimemuError without matplotlib.

    It belongs to no window and to no global state of matplotlib, and a notebook shows it by itself.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise CimemuError(MISSING) from None

    class Picture(Figure):
        """A figure that a notebook shows although pyplot was never imported."""

        def _repr_png_(self) -> bytes:
            held = BytesIO()
            self.savefig(held, format="png", dpi=110)
            return held.getvalue()

    figure = Picture(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def plot_kind(path: Path) -> str:
    """The format that the suffix names. CimemuError where there is none of it, or matplotlib is missing."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in KINDS:
        raise CimemuError(f"{path}: plots are .png, .svg or .pdf")
    if find_spec("matplotlib") is None:
        raise CimemuError(MISSING)
    return kind


def save_figure(figure: Any, path: Path, *, overwrite: bool = False) -> None:
    """Write `figure` in the format of the suffix; the file appears whole. CimemuError."""
    kind = plot_kind(path)
    with whole_file(path, CimemuError, overwrite=overwrite) as partial:
        figure.savefig(partial, format=kind, dpi=150)
