"""What the command line prints: tables and JSON on the output stream, bars on the error stream."""

import json
import math
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cimemu.facts import ends_text
from cimemu.fitted import Column, print_columns
from cimemu.progress import terminal_bars
from cimemu.shown import printable, printable_lines

if TYPE_CHECKING:
    from cimemu.adapt.exact import Compared
    from cimemu.fitting.mapped import NetworkOnChip
    from cimemu.fitting.report import FitReport
    from cimemu.fitting.size import SizedChip

FIT_SHARES = ("row_use", "column_use", "utilization")


def make_console() -> Any:
    """A console that takes text as it stands: no markup in it, and its control characters as escapes.

    It does not wrap tables where nobody looks at a terminal.
    """
    from rich.console import Console

    class PlainConsole(Console):
        """Every text that is printed, in a table too, goes through `render_str`."""

        def render_str(self, text: str, **options: Any) -> Any:
            """The text, without markup and without anything that a terminal would obey."""
            return super().render_str(printable_lines(text), **{**options, "markup": False, "emoji": False})

    width = None if sys.stdout.isatty() else 160
    return PlainConsole(width=width, soft_wrap=False, highlight=False, markup=False, emoji=False, quiet=loudness() < 0)


_LOUDNESS: ContextVar[int] = ContextVar("loudness", default=0)


def loudness() -> int:
    """-1 with `--quiet`, 1 with `--verbose`, else 0."""
    return _LOUDNESS.get()


@contextmanager
def spoken(level: int) -> Iterator[None]:
    """While it lasts, tables and notes are left out (-1), or more of them is printed (1)."""
    before = _LOUDNESS.set(level)
    try:
        yield
    finally:
        _LOUDNESS.reset(before)


def print_default_name(path: Any) -> None:
    """The file whose name nobody gave: all that `--quiet` leaves, so that a script can go on with it."""
    if loudness() < 0:
        print(path)


def print_page(text: str) -> None:
    """A page of Markdown: formatted on a terminal, as it stands elsewhere."""
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def print_json(value: Any) -> None:
    """One JSON object; what JSON has no number for becomes null."""
    import numpy as np

    def plain(item: Any) -> Any:
        return item.item() if isinstance(item, np.generic) else str(item)

    def finite(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: finite(value) for key, value in item.items()}
        if isinstance(item, list | tuple):
            return [finite(value) for value in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    print(json.dumps(finite(value), default=plain))


def print_sized(sized: "SizedChip", what: str, given: Sequence[str]) -> None:
    """A sized chip for people; `what` names chip and network as on the command line, `given` are its `--set`."""
    console = make_console()
    verdict = "reached" if sized.reached else f"not reached: {sized.images_per_s:,.4g} images/s is the most found"
    copies = [f"{name} {count}" for name, count in sized.copies.items() if count > 1]
    settings = [*given, *(f"{key}={value}" for key, value in sized.settings.items())]
    lines = [
        (f"{sized.wanted:,g} images/s", verdict),
        ("rate", f"{sized.images_per_s:,.5g} images/s; the first image takes {sized.latency_us:,.5g} us"),
        ("chip", f"{sized.macros:,} macros hold weights, on {sized.tiles:,} tiles; {sized.area_mm2:,.4g} mm2"),
        ("copies", ", ".join(copies) or "one of every layer"),
        (
            "power",
            f"{sized.power_mw:,.4g} mW at this rate, {sized.leakage_mw:,.4g} mW of it leakage; "
            f"{sized.energy_uj:,.4g} uJ an image",
        ),
        ("limit", sized.limit),
        ("try it", f"cimemu run {what} {' '.join(f'--set {setting}' for setting in settings)}"),
    ]
    for name, text in lines:
        console.print(f"{name:10} {printable(text)}", soft_wrap=True, highlight=False, markup=False)


def print_fit(found: "FitReport") -> None:
    """A fit for people."""
    console = make_console()
    macro = found.arch.macro
    console.print(
        f"{found.network} on {found.arch.name}: macros of {macro.rows} rows x {macro.columns} columns, "
        f"{found.outputs_per_macro} outputs each; the chip has {found.arch.macros}"
    )
    _print_mapped("as it is", found.mapped)
    for area, widths in found.full_widths.items():
        console.print(
            f"input channels that fill 1, 2, 3 ... row blocks, kernels of {area}: {', '.join(map(str, widths))}"
            f" ({widths[0] * area} of {macro.rows} rows)" * bool(widths)
        )
    proposal = found.proposal
    if proposal is None:
        console.print("no widths proposed")
        return
    console.print()
    _print_mapped(f"proposed for {proposal.macros} macros (mapping.packing=tight)", proposal.mapped)
    rows = [
        {"present": group.present, "proposed": group.proposed, "channels of": ", ".join(group.layers)}
        for group in proposal.groups
    ]
    print_table(rows, shares=FIT_SHARES)
    used = f"{100 * proposal.mapped.plan.utilization:.1f} % of the cells of {proposal.mapped.plan.macros_used} macros"
    verdict = "reached" if proposal.reached else "NOT reached, try another --macros or --seed"
    console.print(f"goal {100 * proposal.goal:g} %: {verdict}; the mapper puts the resized network on {used}")


def _print_mapped(title: str, mapped: "NetworkOnChip") -> None:
    total = mapped.summary()
    console = make_console()
    console.print(
        f"{title}: {total['macros']} macros, {100 * total['utilization']:.1f} % of their cells, "
        f"{total['parameters']:,} weights, {total['macs']:,} MACs"
    )
    console.print(
        f"counted by columns of whole kernels (as CIM-aware adaption, reconstructed): {total['paper_macros']} macros, "
        f"{100 * total['paper_utilization']:.1f} %"
    )
    again = "" if total["phases"] == 1 else f" a run, in {total['phases']} phases: it does not fit at once"
    console.print(
        f"loading its weights: {total['load_cycles']:,} cycles, {total['load_uj']:,.4g} uJ, "
        f"{total['cell_writes']:,} cells written{again}"
    )
    print_table(mapped.rows, shares=FIT_SHARES)


def print_table(
    rows: Sequence[Mapping[str, Any]],
    title: str | None = None,
    shares: Collection[str] = (),
    figures: Collection[str] = (),
) -> None:
    """Rows as a table; numbers to four digits, columns named in `shares` in %, nan and None as nothing.

    Texts of columns named in `figures` are numbers with what belongs to them: none of it is left out.
    """
    if not rows:
        make_console().print("no rows")
        return
    columns = [
        Column(
            (printable(name),),
            tuple(_shown(row[name], name in shares) for row in rows),
            name not in figures and any(isinstance(row[name], str) for row in rows[:1]),
        )
        for name in rows[0]
    ]
    print_columns(columns, make_console(), title)


def _shown(value: Any, share: bool) -> str:
    if value is None or value != value:
        return ""
    if share and not isinstance(value, str):
        return f"{100 * value:.1f} %"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))


def print_pairs(lines: Sequence[tuple[str, str]]) -> None:
    """Name and text of every line, the names in bold; what a text cannot fit goes on below itself."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, text in lines:
        table.add_row(Text(name, style="bold"), Text(printable(text)))
    make_console().print(table)


def print_scheme(layers: Sequence[Any], out: Any) -> None:
    """What a scheme's fit left of each layer."""
    rows = [
        {
            "layer": layer.layer,
            "weight error": layer.weight_error,
            "psum error": layer.psum_error,
            "interior": layer.interior_error,
            "activation": "in the ramp" if layer.folded else "",
        }
        for layer in layers
    ]
    print_table(rows)
    make_console().print(
        "weight error: of the sum of squared weights; psum error: of the variance, on held-out calibration images"
    )
    make_console().print(f"{out}: {len(rows)} layers on macros; its converters and scales are in its metadata")


def print_comparison(rows: list[dict[str, str]], axes: list[str]) -> None:
    """A comparison's rows; differences are to the first row that differs in granularities or scheme alone."""
    from cimemu.compare.table import baseline_of, paired_difference

    named = ["scheme", *axes]
    names = (
        *named,
        "accuracy",
        "to the first",
        "conversions",
        "multiplications",
        "cycles",
        "nJ",
        "nJ 90 %",
        "psum error",
    )
    lines = []
    for row in rows:
        first = baseline_of(row, rows, axes)
        change, error = paired_difference(row, first)
        lines.append(
            (
                *(row[name] for name in named),
                f"{100 * float(row['accuracy']):.2f} %",
                "" if first is row else f"{100 * change:+.2f} +- {100 * error:.2f}",
                f"{int(row['conversions_per_image']):,}",
                f"{int(row['scale_multiplications_per_image']):,}",
                f"{int(row['cycles_per_image']):,}",
                f"{float(row['energy_nj_per_image']):,.1f}",
                ends_text((float(row["energy_low_nj_per_image"]), float(row["energy_high_nj_per_image"]))).strip(),
                row["psum_error"] and f"{float(row['psum_error']):.3g}",
            )
        )
    columns = [Column((name,), cells, name in named) for name, cells in zip(names, zip(*lines))]
    print_columns(columns, make_console())


class ProgressBars:
    """A bar per stage on the terminal's error stream; silent where there is none, and with `--quiet`."""

    def __init__(self, wanted: bool) -> None:
        self.shown = wanted and sys.stderr.isatty() and loudness() == 0
        self.told = wanted and loudness() > 0
        self.tasks: dict[str, Any] = {}
        self.bar: Any = None
        self.begun = time.monotonic()

    def __enter__(self) -> "ProgressBars":
        if self.shown:
            self.bar = terminal_bars()
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` (0: not known) of a stage; with `--verbose` a line for every stage that ends."""
        if self.told and done == total:
            seconds = time.monotonic() - self.begun
            print(f"{printable(stage)}: {done:,} of {total:,}, {seconds:.1f} s", file=sys.stderr, flush=True)
            self.begun = time.monotonic()
        if self.bar is None:
            return
        if stage not in self.tasks:
            self.tasks[stage] = self.bar.add_task(printable(stage).replace("[", "\\["), total=total or None)
        self.bar.update(self.tasks[stage], completed=done)


class EpochLines:
    """A line on the error stream for every epoch of a training run."""

    def __init__(self, epochs: int, wanted: bool, by_run: Mapping[str, int] | None = None) -> None:
        """`by_run`: epochs of the runs, or stages, that have their own number."""
        self.epochs, self.shown, self.by_run = epochs, wanted and loudness() >= 0, by_run or {}

    def of_run(self, run: str, row: Mapping[str, Any]) -> None:
        """A line of one run of several."""
        self.print(row, run)

    def print(self, row: Mapping[str, Any], run: str = "") -> None:
        """Loss, accuracies, rate and the time left."""
        if not self.shown:
            return
        epochs = self.by_run.get(run, self.epochs)
        parts = [f"{run}: " * bool(run) + f"epoch {row['epoch']} of {epochs}"]
        if "loss" in row:
            parts += [f"loss {row['loss']:.4f}", f"training {100 * row['train_accuracy']:.2f} %"]
        if "held_back_accuracy" in row:
            parts.append(f"held back {100 * row['held_back_accuracy']:.2f} %")
        for name, value in row.items():
            if name.startswith("accuracy_"):
                error = row[name.replace("accuracy", "standard_error")]
                parts.append(f"{name.removeprefix('accuracy_')} {100 * value:.2f} +- {100 * error:.2f} %")
        if row.get("seconds"):
            left = row["total_seconds"] / row["epoch"] * (epochs - row["epoch"])
            parts += [f"{row['images'] / row['seconds']:.0f} images/s", f"{left / 60:.1f} minutes left"]
        print(printable(", ".join(parts)), file=sys.stderr, flush=True)


def print_compared(rows: "Sequence[Compared]", images: int) -> None:
    """A training module beside the emulator, for people."""
    found = {kind: sum(getattr(row, kind) for row in rows) for kind in ("psums", "codes", "outputs")}
    counted = ", ".join(f"{count:,} {kind}" for kind, count in found.items())
    differ = sum(row.differ for row in rows)
    make_console().print(f"verified on {images} images, {len(rows)} macro layers: {counted}: {differ:,} differ")
    for row in rows:
        if row.differ:
            make_console().print(
                f"  {row.layer}: {row.psums_differ:,} psums, {row.codes_differ:,} codes, {row.outputs_differ:,} outputs differ"
            )
