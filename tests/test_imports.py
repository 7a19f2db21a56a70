"""The house's import rows: a module imports lower rows and its own package only."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent / "cimemu"

ROWS: list[set[str]] = [
    {"bases", "blas", "errors", "events", "lanes", "shown", "threads", "version"},
    {"kernels", "facts", "fitted", "progress"},
    {"bounds", "given_file", "plugin_kinds", "keywords", "whole_file", "table_file", "manual", "shares"},
    {"plugins", "figure"},
    {"config_file", "options", "public"},
    {"record", "open_union"},
    {"adc", "cost", "encoding", "layer", "variation"},
    {"arch", "workload"},
    {"importer", "exporter", "mapping", "lower", "windows"},
    {"macro"},
    {"engines"},
    {"compute", "timing"},
    {"ptq", "tally", "uncertainty", "check", "shapes", "given_images", "loading", "decoder_steps"},
    {"trace"},
    {"prepare", "growing", "file_schema", "result", "kept"},
    {"drawn_chip", "emulate", "explained", "report", "golden", "prices"},
    {"fitting", "difference", "generation", "rtl", "cosim"},
    {"views"},
    {"faults"},
    {"stress", "compare", "validate", "claims", "adapt", "many", "torch"},
    {"terminal", "testing", "extend"},
    {"cli", "printed_api"},
    {"printed"},
]
ONLY_IN = {
    "simpy": {"timing"},
    "h5py": {"drawn_chip", "faults", "trace", "variation", "workload"},
    "yaml": {"config_file", "arch"},
    "torch": {"adapt", "importer", "torch"},
    "onnx": {"importer", "exporter", "check"},
    "onnxruntime": {"check"},
    "numba": {"lanes", "engines"},
    "typer": {"cli"},
    "rich": {"terminal", "report", "fitted", "progress"},
}


def part_of(path: Path) -> str:
    """The package or top module that a file belongs to."""
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@cache
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


def test_every_part_of_the_package_has_a_row():
    rows = [name for row in ROWS for name in row]
    assert len(rows) == len(set(rows))
    assert sorted({part_of(path) for path in FILES} ^ set(rows)) == []


def test_a_module_imports_lower_rows_only():
    row_of = {name: number for number, row in enumerate(ROWS) for name in row}
    upward = []
    for path in FILES:
        own = part_of(path)
        for name in imported(path):
            top, _, other = name.partition(".")
            other = other.partition(".")[0]
            if top == "cimemu" and other in row_of and other != own and row_of[other] >= row_of[own]:
                upward.append(f"{path.relative_to(ROOT)} ({own}) imports {name} upward or sideways")
    assert not upward


def test_heavy_libraries_stay_in_their_rooms():
    astray = [
        f"{path.relative_to(ROOT)} imports {name}, only {sorted(rooms)} may"
        for path in FILES
        for name in imported(path)
        if (rooms := ONLY_IN.get(name.partition(".")[0])) and part_of(path) not in rooms
    ]
    assert not astray


def test_no_module_is_longer_than_400_lines():
    long = {str(p): n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def name_of(path: Path) -> str:
    """A file's name as a module."""
    name = ".".join(("cimemu", *path.relative_to(ROOT).with_suffix("").parts))
    return name.removesuffix(".__init__")


def graph(files: dict[str, Path]) -> dict[str, set[str]]:
    """What every module imports of the others: at its head, under TYPE_CHECKING or inside a function."""
    found = {}
    for module, path in files.items():
        named = imported(path)
        named |= {name.rpartition(".")[0] for name in named if name not in files}  # a name in a module: the module
        found[module] = named & files.keys() - {module}
    return found


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which reaches the others, by Tarjan's walk."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found = []

    def walk(module: str) -> None:
        number[module] = lowest[module] = len(number)
        path.append(module)
        for other in sorted(edges[module]):
            if other not in number:
                walk(other)
            if other in path:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == number[module]:
            place = path.index(module)
            group = path[place:]
            del path[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(edges):
        if module not in number:
            walk(module)
    return sorted(found)


def test_the_finder_of_circles_sees_them():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other_in_a_circle():
    """Every import counts: at the head of a module, for the type checker alone, and late inside a function."""
    files = {name_of(path): path for path in ROOT.rglob("*.py")}
    assert circles(graph(files)) == []
