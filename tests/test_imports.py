"""The house's import rows: a module imports lower rows and its own package only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "cimemu"

ROWS: list[set[str]] = [
    {"errors", "events", "spec", "kernels"},
    {"config_file", "whole_file"},
    {"adc", "cost", "layer", "variation"},
    {"arch", "workload"},
    {"importer", "exporter", "mapping", "lower"},
    {"compute", "timing"},
    {"ptq", "tally", "check", "shapes"},
    {"trace"},
    {"emulate", "report", "prepare", "golden", "prices"},
    {"views", "fitting", "difference"},
    {"stress", "compare", "validate", "claims", "adapt"},
    {"terminal", "docs"},
    {"cli"},
]
ONLY_IN = {
    "simpy": {"timing"},
    "h5py": {"trace", "workload"},
    "yaml": {"config_file", "arch"},
    "torch": {"adapt", "importer"},
    "onnx": {"importer", "exporter", "check"},
    "onnxruntime": {"check"},
    "numba": {"kernels"},
    "typer": {"cli"},
    "rich": {"terminal", "report"},
}


def part_of(path: Path) -> str:
    """The package or top module that a file belongs to."""
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> set[str]:
    """Absolute names that a file imports, lazily or not, outside `if TYPE_CHECKING`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or not path.stem.startswith("__"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_lower_rows_only(path):
    row_of = {name: number for number, row in enumerate(ROWS) for name in row}
    own = part_of(path)
    assert own in row_of, f"{own} has no row in ROWS"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "cimemu" or len(parts) == 1:
            continue
        other = parts[1]
        if other not in row_of or other == own:
            continue
        assert row_of[other] < row_of[own], f"{path.name} ({own}) imports {name} upward or sideways"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_rooms(path):
    for name in imported(path):
        top = name.split(".")[0]
        if top in ONLY_IN:
            assert part_of(path) in ONLY_IN[top], f"{path.name} imports {top}, only {ONLY_IN[top]} may"


def test_no_module_is_longer_than_400_lines():
    long = {str(p): n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long
