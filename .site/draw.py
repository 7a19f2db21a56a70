"""The drawings of the manual as SVG: python .site/draw.py writes them into cimemu/docs/figures.

Each has a ground of its own and two sets of colours, so that it can be read in light and dark pages alike.
"""

import sys
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "cimemu/docs/figures"
# name: light, dark
COLOURS = {
    "ground": ("#ffffff", "#1c222b"),
    "ink": ("#1c2430", "#e6eaf0"),
    "soft": ("#525d6b", "#a9b3c1"),
    "box": ("#eef3fb", "#26303d"),
    "line": ("#5d7fb3", "#8fb2e8"),
    "blue": ("#1f5fbf", "#6ea2f0"),
    "orange": ("#b4500b", "#f0984c"),
    "green": ("#0b7a55", "#4cc79a"),
    "violet": ("#8a3a8f", "#d08ad6"),
    "grey": ("#c3cad4", "#4a5563"),
}


class Drawing:
    """Shapes on a ground of `width` x `height`, with a title that screen readers say."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.title, self.width, self.height = title, width, height
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str = "ink", size: int = 13, anchor: str = "middle") -> None:
        """A line of text."""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" class="t-{kind}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def rect(self, x: float, y: float, w: float, h: float, kind: str = "box", edge: bool = False) -> None:
        """A filled rectangle."""
        edged = ' class="edge f-{}"' if edge else ' class="f-{}"'
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="4"{edged.format(kind)}/>')

    def box(self, x: float, y: float, w: float, h: float, *lines: str) -> None:
        """A box with a bold first line and others below it."""
        self.rect(x, y, w, h, edge=True)
        top = y + h / 2 - 8 * (len(lines) - 1) + 4
        for number, line in enumerate(lines):
            self.text(x + w / 2, top + 16 * number, line, "soft" if number else "ink", 12 if number else 13)

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through points with a head at its end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" class="arrow" marker-end="url(#head)"/>')

    def svg(self) -> str:
        """The whole file."""

        def rules(place: int) -> str:
            fills = "".join(f".t-{n},.f-{n}{{fill:{c[place]}}}" for n, c in COLOURS.items())
            line = COLOURS["line"][place]
            return (
                f"{fills}.edge{{stroke:{line}}}.arrow{{stroke:{line};fill:none;stroke-width:1.6}}.head{{fill:{line}}}"
            )

        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.title)}" font-family="system-ui, sans-serif">\n<title>{escape(self.title)}</title>\n'
            f"<style>{rules(0)}@media (prefers-color-scheme: dark){{{rules(1)}}}</style>\n"
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" class="head"/></marker></defs>\n'
            f'<rect width="{self.width}" height="{self.height}" rx="8" class="f-ground"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n"
        )


def signal_path() -> Drawing:
    """What happens between an input vector and an output of one macro."""
    d = Drawing(
        "Signal path of a macro: inputs drive wordlines, columns add, converters and shift-add follow", 900, 380
    )
    d.box(16, 108, 108, 90, "input register", "one vector", "of numbers")
    d.box(152, 108, 108, 90, "DAC, a row", "a slice of bits,", "a group of rows")
    d.arrow((124, 153), (150, 153))
    left, top, step = 310, 56, 34
    for row in range(6):
        d.arrow((260, 153), (282, 153), (282, top + 12 + row * step), (left - 4, top + 12 + row * step))
        for column in range(8):
            on = (row * 3 + column * 5) % 4
            d.rect(left + column * step, top + row * step, 24, 24, "grey" if on < 2 else "blue")
    d.text(left + 4 * step - 5, 40, "cells: slices of weights, 8 columns for an 8-bit weight of 1-bit cells")
    for column in range(8):
        d.arrow((left + 12 + column * step, top + 6 * step - 6), (left + 12 + column * step, 284))
    d.text(left + 8 * step + 4, 110, "each column adds", "soft", 12, "start")
    d.text(left + 8 * step + 4, 126, "input x cell over its rows", "soft", 12, "start")
    d.box(left, 286, 8 * step - 10, 40, "sample and hold", "one converter for 8 columns in turn")
    d.arrow((left + 8 * step - 10, 306), (698, 306), (698, 236))
    d.box(640, 150, 116, 84, "shift-add", "places of input", "and weight slices")
    d.arrow((756, 192), (780, 192))
    d.box(782, 150, 104, 84, "accumulator", "groups and row", "blocks added")
    d.arrow((834, 234), (834, 290))
    d.text(834, 310, "outputs, then the")
    d.text(834, 326, "digital unit")
    d.text(
        16,
        356,
        "For every group of rows and every slice of the inputs all columns are converted once; codes are what",
        "soft",
        12,
        "start",
    )
    d.text(16, 372, "--detail cycles shows as steps, and what golden vectors hold.", "soft", 12, "start")
    return d


def bit_slicing() -> Drawing:
    """How one product is spread over columns and steps."""
    d = Drawing(
        "Bit slicing: a weight over columns, an input over steps, and the places that shift-add gives back", 900, 330
    )
    weight, given = 0b10110010, 0b01101001
    d.text(20, 34, f"weight {weight}: 8 bits in 4 cells of 2 bits, side by side in a row", anchor="start")
    for place in range(4):
        value = weight >> (2 * (3 - place)) & 3
        d.rect(20 + place * 96, 46, 86, 40, "blue")
        d.text(63 + place * 96, 71, f"{value:02b}", "ground", 16)
        d.text(63 + place * 96, 104, f"x 4^{3 - place}", "soft", 12)
    d.text(470, 34, f"input {given}: 8 bits in 4 steps of 2 bits, one after another", anchor="start")
    for place in range(4):
        value = given >> (2 * place) & 3
        d.rect(470 + place * 100, 46, 90, 40, "orange")
        d.text(515 + place * 100, 71, f"{value:02b}", "ground", 16)
        d.text(515 + place * 100, 104, f"step {place}: x 4^{place}", "soft", 12)
    d.text(
        20,
        140,
        "in each step every column gives one code; its place is that of the weight slice plus that of the input slice",
        anchor="start",
    )
    for step in range(4):
        d.text(96, 172 + step * 28, f"step {step}", "soft", 12, "end")
        for column in range(4):
            code = (given >> (2 * step) & 3) * (weight >> (2 * (3 - column)) & 3)
            d.rect(108 + column * 118, 156 + step * 28, 110, 22, "box", edge=True)
            d.text(163 + column * 118, 172 + step * 28, f"{code} x 4^{step + 3 - column}", size=12)
    d.arrow((584, 208), (628, 208))
    d.box(630, 172, 248, 74, "shift-add", "the sum of all 16 is", f"{weight} x {given} = {weight * given:,}")
    d.text(
        20,
        296,
        "With many rows raised at once a column adds their products before it is converted: a code is a sum,",
        "soft",
        12,
        "start",
    )
    d.text(
        20,
        312,
        "and a converter with too few bits clips or rounds it. That is where a chip's values differ from integers.",
        "soft",
        12,
        "start",
    )
    return d


def timeline() -> Drawing:
    """What units do when, and the two reasons for which a macro waits."""
    d = Drawing(
        "A timeline: loads, macro operations, sums and moves of two layers, and the reasons for waiting", 900, 290
    )
    rows = ("load into the macro", "macro of layer 1", "its adder", "link", "macro of layer 2")
    for number, name in enumerate(rows):
        d.text(150, 52 + 40 * number, name, anchor="end")
        d.rect(160, 36 + 40 * number, 724, 26, "box")
    for turn in range(4):
        x = 168 + turn * 130
        d.rect(x, 38, 22, 22, "green")
        for step in range(4):
            d.rect(x + 24 + step * 25, 78, 9, 22, "orange")
            d.rect(x + 33 + step * 25, 78, 15, 22, "blue")
        d.rect(x + 126, 118, 16, 22, "violet")
        d.rect(x + 144, 158, 20, 22, "green")
    for turn in range(2):
        for step in range(4):
            d.rect(474 + turn * 130 + step * 25, 198, 9, 22, "orange")
            d.rect(483 + turn * 130 + step * 25, 198, 15, 22, "blue")
    d.rect(164, 198, 300, 22, "grey")
    d.text(314, 213, "waits: data (its window is not there yet)", size=12)
    d.rect(576, 198, 26, 22, "grey")
    for number, (kind, name) in enumerate(
        (
            ("green", "moving data"),
            ("orange", "driving wordlines"),
            ("blue", "converting columns"),
            ("violet", "adding"),
            ("grey", "waiting"),
        )
    ):
        d.rect(160 + number * 148, 244, 14, 14, kind)
        d.text(180 + number * 148, 256, name, "soft", 12, "start")
    d.text(
        160,
        280,
        "time in cycles; with schedule=pipelined layer 2 begins when the rows of its first window are there",
        "soft",
        12,
        "start",
    )
    return d


def flow() -> Drawing:
    """The way from a network's file and a chip's file to a trace and what is made of it."""
    d = Drawing("From files to a trace: a network and a chip are joined; values, time and energy follow", 900, 300)
    d.box(16, 30, 132, 60, "network", "ONNX, TFLite,", "PyTorch")
    d.box(16, 116, 132, 60, "images", "workload.yaml,", "npz, npy")
    d.box(16, 202, 132, 60, "chip", "a YAML file,", "or a preset")
    d.box(190, 74, 120, 60, "quantise", "as the file says,", "or by images")
    d.arrow((148, 60), (168, 60), (168, 96), (188, 96))
    d.arrow((148, 146), (168, 146), (168, 112), (188, 112))
    d.box(350, 74, 120, 60, "map", "blocks of weights", "on macros")
    d.arrow((310, 104), (348, 104))
    d.arrow((148, 232), (410, 232), (410, 136))
    d.box(510, 20, 120, 60, "values", "every code, psum", "and tensor")
    d.box(510, 112, 120, 60, "time", "every event of", "every unit")
    d.box(510, 204, 120, 60, "energy", "counts x prices,", "leakage x time")
    d.arrow((470, 104), (490, 104), (490, 50), (508, 50))
    d.arrow((470, 104), (490, 104), (490, 142), (508, 142))
    d.arrow((410, 232), (508, 232))
    d.arrow((570, 80), (570, 110))
    d.arrow((570, 172), (570, 202))
    d.box(664, 112, 94, 60, "trace", "one HDF5 file")
    for y in (50, 142, 234):
        d.arrow((630, y), (648, y), (648, 142), (662, 142))
    for number, name in enumerate(("report, page", "diff of two", "Perfetto, VCD", "pandas, xarray")):
        d.text(788, 86 + 40 * number, name, "soft", 12, "start")
        d.arrow((758, 142), (768, 142), (768, 82 + 40 * number), (782, 82 + 40 * number))
    d.text(
        16,
        288,
        "cimemu run does all of this; check stops after the values, golden writes them for Verilog",
        "soft",
        12,
        "start",
    )
    return d


DRAWINGS = {"signal-path": signal_path, "bit-slicing": bit_slicing, "timeline": timeline, "flow": flow}


def main() -> int:
    """Write every drawing; the exit status."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
