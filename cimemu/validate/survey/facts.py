"""Rows of the survey's table as facts of a macro: numbers where there are some, a kind of circuit, None for what is missing."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cimemu.errors import CimemuError
from cimemu.given_file import read_text

Kind = Literal["analog", "digital_in_memory", "nonvolatile", "processor"]
NEEDED = (
    "Index",
    "Paper Title",
    "Tech (nm)",
    "Architecture",
    "Cell Type",
    "Supply V(V)",
    "B_x",
    "B_w",
    "TOPS",
    "TOPS/W",
)
MOST_BYTES = 1 << 24
NONVOLATILE = re.compile(r"rram|reram|mram|pcm|fefet|feram|memristor|nor-?f|flash")


@dataclass(frozen=True)
class Facts:
    """One operating point. Throughput is in 10^12 operations of one bit a second, as the table has it."""

    row: int  # in the file, from 0
    index: str  # the table's number of the paper
    paper: str
    kind: Kind | None  # None: architecture and cell do not say
    tech_nm: float | None
    supply_v: float | None
    input_bits: float | None
    weight_bits: float | None
    adc_bits: float | None
    cycle_ns: float | None  # of one operation of the array
    tops: float | None
    tops_mm2: float | None
    tops_w: float | None
    whole: bool | None = None  # what was measured is a processor around the arrays; None: the table has no such column

    @property
    def group(self) -> str:
        """What rows are as hard to foretell as this one: a macro alone is measured alike everywhere, a processor is not.

        Digital arrays come out as macros do, whether there is a processor around them or not."""
        if self.kind == "processor":
            return "processor"
        if self.kind == "digital_in_memory":
            return "macro"
        return {True: "processor", False: "macro", None: "not said"}[self.whole]

    @property
    def missing(self) -> str | None:
        """Why nothing can be said of the row; None where something can."""
        if self.tech_nm is None:
            return "its technology is missing"
        return "its cell type is missing" if self.kind is None else None


def read_facts(path: Path) -> list[Facts]:
    """Every row of a CSV in the columns of the survey, in order. CimemuError where columns are missing or it is no table."""
    text = read_text(path, CimemuError, "a table of macros", most=MOST_BYTES)
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    names = {(name or "").strip(): name for name in reader.fieldnames or ()}
    lacking = [name for name in NEEDED if name not in names]
    if lacking:
        raise CimemuError(
            f"{path}: has no column {lacking[0]!r}, must have the columns of the survey: {', '.join(NEEDED)} ..."
        )
    try:
        rows = [{name: (row.get(key) or "").strip() for name, key in names.items()} for row in reader]
    except csv.Error as error:
        raise CimemuError(f"{path}: is no CSV ({error})") from None
    return [_facts(number, row) for number, row in enumerate(rows)]


def paper_of(title: str) -> str:
    """A title as it is compared: letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", title.lower())


def _facts(number: int, row: dict[str, str]) -> Facts:
    def found(name: str) -> float | None:
        return _number(row.get(name, ""))

    return Facts(
        row=number,
        index=row["Index"],
        paper=paper_of(row["Paper Title"]),
        kind=_kind(row["Architecture"], row["Cell Type"], row.get("Compute Model", "")),
        tech_nm=found("Tech (nm)"),
        supply_v=found("Supply V(V)"),
        input_bits=found("B_x"),
        weight_bits=found("B_w"),
        adc_bits=found("B_ADC"),
        cycle_ns=found("T_core(ns)"),
        tops=found("TOPS"),
        tops_mm2=found("TOPS/mm2"),
        tops_w=found("TOPS/W"),
        whole=row["IMC_Processor"].lower().startswith("y") if "IMC_Processor" in row else None,
    )


def _number(text: str) -> float | None:
    """The first number of a cell ("0.75 (Digital); 0.95 (SRAM)" is 0.75), where it is above 0."""
    found = re.match(r"\s*[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d+)?|\s*\.\d+", text)
    if found is None:
        return None
    value = float(found.group().replace(",", ""))
    return value if 0 < value < 1e12 else None


def _kind(architecture: str, cell: str, model: str) -> Kind | None:
    """What circuit computes, by the survey's words."""
    if not cell or cell.lower() == "nan":
        return None
    words = architecture.lower()
    if words == "digital":
        return "processor"
    if words in ("envm", "flash") or NONVOLATILE.search(f"{words} {cell.lower()}"):
        return "nonvolatile"
    if "dimc" in model.lower() or cell.replace(" ", "").upper().endswith("+D"):
        return "digital_in_memory"
    return "analog"
