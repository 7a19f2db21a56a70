"""Progress of long calls as bars: in a terminal by rich, in a notebook as HTML, and nowhere else."""

import sys
from html import escape
from typing import Any

from cimemu.shown import printable


class Progress:
    """Bars for a call's `progress`, one a stage, for as long as the `with` lasts.

    They are on a terminal's error stream or in the cell of a notebook. Where there is neither, nothing is shown.

    >>> import cimemu
    >>> workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    >>> network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    >>> with cimemu.Progress() as bars:
    ...     result = cimemu.run(arch, network, workload.inputs(2)[0], progress=bars)
    >>> bars.stages
    {'images': (2, 2), 'timing': (2, 2)}
    """

    def __init__(self) -> None:
        self.stages: dict[str, tuple[int, int]] = {}
        self._terminal: Any = None
        self._tasks: dict[str, Any] = {}
        self._cell: Any = None

    def __enter__(self) -> "Progress":
        if "ipykernel" in sys.modules:
            from IPython.display import HTML, display

            self._cell = display(HTML(""), display_id=True)
        elif sys.stderr is not None and sys.stderr.isatty():
            self._terminal = terminal_bars()
            self._terminal.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal is not None:
            self._terminal.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` (0: not known) of a stage."""
        self.stages[stage] = (done, total)
        if self._terminal is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._terminal.add_task(printable(stage).replace("[", "\\["), total=total or None)
            self._terminal.update(self._tasks[stage], completed=done)
        if self._cell is not None:
            from IPython.display import HTML

            self._cell.update(HTML(self._repr_html_()))

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        lines = []
        for stage, (done, total) in self.stages.items():
            most, count = (f" max='{total}'", f"{done:,} of {total:,}") if total else ("", f"{done:,}")
            bar = f"<progress value='{done}'{most}></progress>"
            lines.append(f"<div><label>{escape(printable(stage))} {bar}</label> {count}</div>")
        return "".join(lines)


def terminal_bars() -> Any:
    """rich's bars on the error stream: bar, share, time left, count."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress as Bars

    return Bars(
        *Bars.get_default_columns(),
        MofNCompleteColumn(),
        console=Console(stderr=True, force_jupyter=False),
        transient=True,
    )
