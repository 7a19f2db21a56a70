"""What an exporter and a subcommand of a plug-in derive from; the other kinds' bases stand in their rooms (`cimemu.extend`)."""

from pathlib import Path
from typing import Any, ClassVar


class Exporter:
    """A format of `cimemu export`: `name` for `--format`, `suffix` of the file, and `write`."""

    plugin_group: ClassVar[str] = "cimemu.export"
    name: ClassVar[str] = ""
    suffix: ClassVar[str] = ".out"

    def write(self, trace: Any, events: Any, path: Path) -> None:
        """Write the chosen `events` of `trace` (a `cimemu.trace.read.Trace`) to the new file `path`.

        `events` maps unit, op, kind, layer, image, start and end to integer arrays [events]: indices into the names of
        `trace.table("units")` and `trace.table("layers")`, and cycles. The file gets its name when `write` returns, and
        is removed when it raises.
        """
        raise TypeError(f"exporter {self.name or type(self).__name__} lacks write, define it")


class Command:
    """A subcommand `cimemu NAME`: the annotated parameters of `run` are its arguments and options, as Typer has them.

    The docstring of `run` is its help. A parameter without a default is an argument, one with a default an option. A
    mistake of the user's is a CimemuError: one line, exit status 2.
    """

    plugin_group: ClassVar[str] = "cimemu.command"
    name: ClassVar[str] = ""
    run: Any = None
