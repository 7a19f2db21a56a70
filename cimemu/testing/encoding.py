"""What every weight encoding holds to: the law, the definition, golden vectors and training all give the same integers."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.arch.macro import Macro
from cimemu.encoding import Encoding, find, known
from cimemu.encoding.law import law_broken
from cimemu.engines.choose import PATHS
from cimemu.engines.mvm import mvm
from cimemu.errors import CimemuError

MANY = 640  # inputs after which every engine has paid for its preparation


@dataclass(frozen=True)
class Drawn:
    """A macro of the encoding, weights w [K, N] of its range, inputs x [P, K]."""

    macro: Macro
    w: NDArray[np.int64]
    x: NDArray[np.int64]


def check_encoding(name: str, *, macros: int = 24, seed: int = 0) -> list[str]:
    """Hold the encoding `name` (or `FILE.py:Class`) to its properties on `macros` drawn macros.

    - Law: every weight of every width decodes from its levels, which fit the cell.
    - Product: with an ideal converter `mvm` gives `x @ w`, on every path.
    - Twins: with any converter, ideal and non-ideal cells, every path gives the bytes of the definition.
    - Golden vectors: cells that decode to the weights, and the outputs of the run.
    - Training: the forward gives the emulator's integers, and a weight's columns together have its slope. Needs the
      extra `torch`; the line says so where that is not installed.

    Returns a line for each. Raises AssertionError naming the first weight or macro that contradicts one, CimemuError
    where there is no such encoding.
    """
    encoding = find(_name_of(name))
    widths = _check_law(encoding)
    drawn = [draw(encoding, widths, random.Random(f"{seed} {number}")) for number in range(macros)]
    exact = [Drawn(macro_with(d.macro, {"adc": {"model": "ideal"}}), d.w, d.x) for d in drawn]
    for d in exact:
        _check_product(d)
    for d in drawn:
        check_twins(d)
    for d in [*exact[: macros // 3], *drawn[: macros // 3]]:
        _check_golden(d, encoding)
    return [
        f"law: {len(widths)} widths",
        f"product: {len(exact)} macros",
        f"twins: {len(drawn)} macros",
        f"golden vectors: {2 * (macros // 3)} macros",
        _check_training(exact),
    ]


def draw(encoding: Encoding, widths: list[tuple[int, int]], r: random.Random) -> Drawn:
    """A random macro of `encoding` with a random matrix; its converter is any but has no more than 6 bits."""
    rng = np.random.default_rng(r.randrange(2**32))
    bits, cell = r.choice(widths)
    rows, signed = r.choice([1, 3, 8, 16, 70]), r.random() < 0.3
    corrected = encoding.correction(bits).of_inputs != 0
    adc: dict[str, Any] = {"model": "linear", "bits": r.randint(1, 6), "lsb": r.choice([1, 2, 0.5, 1.7]), "zero": 0}
    if r.random() < 0.4:
        cuts, count = sorted(r.uniform(-5, 20) for _ in range(7)), 8
        adc = {
            "model": "nonlinear",
            "bits": 3,
            "thresholds": cuts,
            "levels": [r.choice([0.5, 3, -1]) for _ in range(count)],
        }
    elif r.random() < 0.4:
        adc = {"model": "linear", "bits": r.randint(2, 6), "lsb": 1, "zero": r.choice([0, 0, -3])}
    tree = {
        "rows": rows,
        "columns": encoding.slices(bits, cell) * encoding.sides * r.randint(1, 4),
        "active_rows": r.randint(1, rows),
        "columns_per_adc": r.choice([1, 2, 8]),
        "cell": {"bits": cell},
        "weight": {
            "bits": bits,
            "encoding": encoding.name,
            "subtract": r.choice(["digital", "analog"]) if encoding.sides == 2 else "digital",
            "combine": r.choice(["digital", "digital", "analog"]),
            "correction": r.choice(["digital", "reference_column"]) if corrected else "digital",
        },
        "input": {"bits": r.randint(1 + signed, 8), "signed": signed, "dac_bits": 1 if signed else r.choice([1, 1, 2, 4])},
        "adc": adc,
        "timing": {"skip_zero_slices": r.random() < 0.3},
    }  # fmt: skip
    macro = Macro.model_validate(tree)
    shape = (r.randint(1, min(60, 3 * rows)), r.randint(1, 5))
    top = 2 ** (macro.input.bits - signed)
    x = rng.integers(-top if signed else 0, top, (3, shape[0]))
    x[rng.random(x.shape) < r.choice([0, 0.7])] = 0
    return Drawn(macro, rng.choice(list(encoding.values(bits)), shape), x)


def _name_of(name: str) -> str:
    try:
        return known(name)
    except ValueError as error:
        raise CimemuError(f"encoding {name!r}: {str(error).replace('Input should be', 'must be')}") from None


def _check_law(encoding: Encoding) -> list[tuple[int, int]]:
    """(weight bits, cell bits) that the encoding takes."""
    every = [(bits, cell) for bits in range(1, 10) for cell in range(1, 5)]
    widths = [pair for pair in every if encoding.refusal(*pair) is None]
    assert widths, f"encoding {encoding.name} refuses every weight.bits and cell.bits"
    for pair in every:
        refused, broken = encoding.refusal(*pair), law_broken(encoding, *pair)
        assert refused is None or (refused and "\n" not in refused), (
            f"encoding {encoding.name}: refusal{pair} is no line"
        )
        assert broken == refused, broken
    return widths


def macro_with(macro: Macro, changes: dict[str, Any]) -> Macro:
    """`macro` with other keys, checked anew."""
    return Macro.model_validate({**macro.model_dump(exclude_unset=True), **changes})


def _check_product(d: Drawn) -> None:
    for path in PATHS:
        found = run_on(path, d, d.x)
        assert found is None or np.array_equal(found.y, d.x @ d.w), f"path {path} is not x @ w: {_shown(d)}"


def check_twins(d: Drawn) -> None:
    """Every path beside the definition, few and many inputs, ideal and non-ideal cells."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 2**d.macro.cell.bits, (d.w.shape[0], d.w.shape[1] * d.macro.columns_per_output))
    for cells in (None, levels + np.round(rng.normal(0, 0.05, levels.shape), 2)):
        twin = mvm(d.x, d.w, d.macro, codes=True, path="naive", cells=cells)
        for path in PATHS:
            for times in (1, -(-MANY // len(d.x))):
                given = np.tile(d.x, (times, 1))
                for codes in (False, True):
                    found = run_on(path, d, given, codes=codes and times == 1, cells=cells) if path != "naive" else None
                    if found is None:
                        continue
                    expected = np.tile(twin.y, (times, 1))
                    assert found.y.dtype == expected.dtype, f"path {path}, dtype: {_shown(d)}"
                    assert found.y.tobytes() == expected.tobytes(), f"path {path} is not the definition: {_shown(d)}"
                    if found.codes is not None and twin.codes is not None:
                        assert np.array_equal(found.codes, twin.codes), f"path {path}, codes: {_shown(d)}"


def run_on(path: str, d: Drawn, x: NDArray[np.int64], **options: Any) -> Any:
    """`mvm` on one path; None where it does not serve this macro."""
    try:
        return mvm(x, d.w, d.macro, path=path, **options)
    except CimemuError as error:
        if not str(error).startswith(f"path = {path}"):
            raise
        return None


def _check_golden(d: Drawn, encoding: Encoding) -> None:
    """The golden vectors of one layer: programmed cells, and what macros and the digital unit give."""
    from cimemu.golden.vectors import layer_vectors
    from cimemu.layer.base import TensorType
    from cimemu.layer.macro_layer import Geometry, MacroLayer
    from cimemu.layer.requantize import Accumulator
    from cimemu.workload.network import Network

    rows, outputs = d.w.shape
    dtype = "int8" if d.macro.input.signed else "uint8"
    layer = MacroLayer(
        name="fc", inputs=("x",), outputs=("y",), geometry=Geometry(rows, 1, 1, outputs, 1, 1),
        weight=d.w.T.reshape(outputs, rows, 1, 1).astype(np.int16), weight_zero_point=np.zeros(outputs, np.int64),
        input_zero_point=0, input_dtype=dtype, bias=np.zeros(outputs, np.int64), stage=Accumulator(),
        output_type=TensorType((1, outputs), "int32"), layout="rows",
    )  # fmt: skip
    types = {"x": TensorType((1, rows), dtype), "y": layer.output_type}
    network = Network(name="one", layers=(layer,), constants={}, inputs=("x",), outputs=("y",), types=types)
    made = layer_vectors(network, d.macro, d.x.astype(dtype)[:, None], None, len(d.x))
    ran = mvm(d.x, d.w, d.macro)
    digital = np.concatenate([v.outputs for v in made.digital], axis=1)
    assert digital.tobytes() == ran.y.tobytes(), f"golden outputs are not those of mvm: {_shown(d)}"
    bits, per_output = d.macro.weight.bits, d.macro.columns_per_output
    for v in made.macros:
        first_row, first = v.row_block * d.macro.rows, v.col_block * d.macro.outputs
        for r, row in enumerate(v.cells.reshape(len(v.cells), -1, per_output).tolist()):
            stored = [encoding.decode(levels, bits, d.macro.cell.bits) for levels in row]
            wanted = d.w[first_row + r, first : first + len(row)].tolist()
            assert stored == wanted, f"golden cells decode to {stored}, the weights are {wanted}: {_shown(d)}"


def _check_training(drawn: list[Drawn]) -> str:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        return "training: left out, torch is not installed"
    from cimemu.adapt.one_product import trained_product, weight_slopes

    count = 0
    for d in drawn:
        bits = d.macro.weight.bits
        top = max(1, 2 ** (bits - 1) - 1)  # training keeps to weights of either sign
        w = np.where(d.w > 0, 1, -1) if bits == 1 else np.clip(d.w, -top, top)
        if bits > 8 or not set(w.ravel().tolist()) <= set(d.macro.encoding.values(bits)):
            continue
        d = Drawn(d.macro, w, d.x)
        coarse = macro_with(d.macro, {"adc": {"model": "linear", "bits": 5, "lsb": 2, "zero": 0}})
        for macro in (d.macro, coarse):
            made, ran = trained_product(d.x, d.w, macro), mvm(d.x, d.w, macro).y
            assert np.array_equal(made.astype(np.float64), ran), f"training forward is not the emulator: {_shown(d)}"
        slopes = weight_slopes(d.w, d.macro)
        assert np.allclose(slopes, 1, rtol=1e-12), (
            f"slopes of weights are {slopes.min()} .. {slopes.max()}: {_shown(d)}"
        )
        count += 1
    assert count > 0, "no drawn macro can be trained on, draw more macros"
    return f"training: {count} macros"


def _shown(d: Drawn) -> str:
    return f"macro {d.macro.model_dump(exclude_unset=True)}, w {d.w.tolist()}, x {d.x.tolist()}"[:2000]
