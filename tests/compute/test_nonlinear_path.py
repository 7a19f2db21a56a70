"""Nonlinear converters are looked up in registers, with the bytes of the step by step path."""

import numpy as np
import pytest
from amounts import drawn
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.compare.table import read_table
from cimemu.engines import programmed
from cimemu.engines.lookup import prepare as lookup
from cimemu.engines.planes import clipped
from cimemu.engines.programmed import Programmed, program
from cimemu.macro.read_noise import ReadNoise, quantised_sigma

looked_up = pytest.mark.skipif(not lookup.AVAILABLE, reason="the processor has no AVX2")
DRAWS = {
    "integers": lambda rng, n: rng.integers(-9, 120, n).astype(float),
    "far apart": lambda rng, n: rng.integers(-9, 9000, n).astype(float),
    "quarters": lambda rng, n: rng.integers(-20, 200, n) / 4,
    "real": lambda rng, n: np.sort(rng.normal(20, 15, n)),
    "real, equal": lambda rng, n: rng.choice([0.1, 0.7, -3.3], n),
}


def table(rng, bits, levels, row_blocks, columns):
    """A nonlinear converter: one table, or one of its own for every row block and column."""

    def one():
        return np.sort(rng.uniform(-3, 70, 2**bits - 1)).round(2).tolist(), DRAWS[levels](rng, 2**bits).tolist()

    made = {"model": "nonlinear", "bits": bits}
    if columns is None:
        return {**made, "thresholds": (pair := one())[0], "levels": pair[1]}
    all_ = [[one() for _ in range(columns)] for _ in range(row_blocks)]
    return {
        **made,
        "thresholds": [[t for t, _ in row] for row in all_],
        "levels": [[v for _, v in row] for row in all_],
    }


def same_bytes(x, make):
    """Looked up, and step by step (which `test_random_macros` compares with the naive twin)."""
    fast = make()
    assert fast.choose("lookup").engine.name == "lookup"
    slow = Programmed(fast.matrix).run(x, path="steps").y
    assert Programmed(fast.matrix).run(x, path="lookup").y.tobytes() == slow.tobytes()
    assert fast.run(x).y.tobytes() == slow.tobytes()


@looked_up
@drawn(st.integers(0, 2**32 - 1), st.sampled_from(sorted(DRAWS)), st.integers(1, 8), st.booleans(), few=6, many=150)
def test_any_table_gives_the_bytes_of_the_other_path(seed, levels, bits, own):
    rng = np.random.default_rng(seed)
    rows, outputs = int(rng.integers(1, 300)), int(rng.integers(1, 6))
    signed = bool(rng.integers(0, 2))
    changes = {
        "macro.active_rows": int(rng.choice([128, 64, 48])),
        "macro.cell.bits": int(rng.choice([1, 2])),
        "macro.input": {"bits": 8, "signed": signed, "dac_bits": 1 if signed else int(rng.choice([1, 2]))},
    }
    conversions = cimemu.load_arch("rram_128", changes).macro.conversions_per_output
    changes["macro.adc"] = table(rng, bits, levels, -(-rows // 128), outputs * conversions if own else None)
    chip = cimemu.load_arch("rram_128", changes).macro
    w = rng.integers(-128, 128, (rows, outputs))
    x = rng.integers(-128 if signed else 0, 128 if signed else 256, (37, rows))
    x[rng.random(x.shape) < rng.random()] = 0
    same_bytes(x, lambda: program(w, chip))
    written = program(w, chip).matrix
    shape = (-(-rows // 128), written.seen.shape[1])
    noise = ReadNoise(
        keys=np.full(shape, 5, dtype=np.uint64),
        columns=np.arange(shape[1]) % 128,
        sigma=np.full(shape, quantised_sigma(0.7, chip.cell.fraction_bits)),
    )
    cells = written.levels * np.exp(rng.normal(0, 0.1, written.levels.shape))
    same_bytes(x, lambda: program(w, chip, cells=cells, noise=(noise,) if rng.integers(0, 2) else ()))


@looked_up
@pytest.mark.parametrize("scheme", ["bs_kmq", "columnquant"])
def test_schemes_of_nonlinear_levels_run_in_registers(scheme, tmp_path, monkeypatch, capsys):
    """`cimemu compare` never converts step by step, and prints what the step by step path gives."""
    arguments = ["compare", "rram_128", "digits", "--scheme", scheme, "-n", "20", "--calibration", "16"]
    arguments += ["--set", "macro.weight.bits=4"]
    if scheme == "columnquant":
        arguments += ["--vary", "converter.bits=1.5"]
    taken, choose = set(), programmed.choose

    def noted(*given, **options):
        choice = choose(*given, **options)
        taken.add(choice.engine.name)
        return choice

    with monkeypatch.context() as patch:
        patch.setattr(programmed, "choose", noted)
        assert main([*arguments, "-o", str(tmp_path / "fast.csv")]) == 0
    assert taken & {"lookup", "planes"}
    assert "steps" not in taken
    for module in (clipped, lookup):
        monkeypatch.setattr(module, "AVAILABLE", False)
    assert main([*arguments, "-o", str(tmp_path / "slow.csv")]) == 0
    fast, slow = (read_table(tmp_path / f"{name}.csv") for name in ("fast", "slow"))
    assert [row["accuracy"] for row in fast] == [row["accuracy"] for row in slow]


@looked_up
@drawn(st.integers(0, 2**32 - 1), st.integers(1, 8), st.booleans(), few=8, many=150)
def test_real_levels_of_one_bit_cells_run_as_planes_with_the_same_bytes(seed, bits, own):
    rng = np.random.default_rng(seed)
    rows, outputs, signed = int(rng.integers(1, 300)), int(rng.integers(1, 6)), bool(rng.integers(0, 2))
    changes = {
        "macro.rows": 250,
        "macro.active_rows": int(rng.choice([250, 128, 48, 9])),
        "macro.input": {"bits": int(rng.integers(2, 9)), "signed": signed, "dac_bits": 1},
        "macro.weight.encoding": str(rng.choice(["offset", "twos_complement", "differential"])),
    }
    conversions = cimemu.load_arch("rram_128", changes).macro.conversions_per_output
    changes["macro.adc"] = table(rng, bits, "real", -(-rows // 250), outputs * conversions if own else None)
    chip = cimemu.load_arch("rram_128", changes).macro
    low, high = (-(2 ** (chip.input.bits - 1)), 2 ** (chip.input.bits - 1)) if signed else (0, 2**chip.input.bits)
    x = rng.integers(low, high, (70, rows))
    x[rng.random(x.shape) < rng.random()] = 0
    made = program(rng.integers(-127, 128, (rows, outputs)), chip)
    assert made.choose("serial").engine.name == "planes"
    same_bytes(x, lambda: made)


@looked_up
@pytest.mark.parametrize(
    ("scheme", "keys", "path"),
    [
        ("bs_kmq", [], "steps"),
        ("columnquant", ["converter.bits=1.5"], "steps"),
        pytest.param("bs_kmq", [], "naive", marks=[pytest.mark.slow, pytest.mark.long]),
    ],
)
def test_a_quantised_network_of_nonlinear_levels_runs_as_its_slow_twin(scheme, keys, path, tmp_path, capsys):
    """`cimemu quantize --scheme`, then `cimemu run` of the file: in registers, and step by step or as the specification."""
    file = str(tmp_path / "q.onnx")
    options = [text for key in ["weights.bits=4", *keys] for text in ("--scheme-set", key)]
    assert main(["quantize", "digits", "--scheme", scheme, *options, "--out", file]) == 0

    def ran(name, *more):
        trace = tmp_path / f"{name}.h5"
        assert main(["run", "rram_128", "digits", "--network", file, "--images", "2", "--out", str(trace), *more]) == 0
        found = cimemu.open_trace(trace)
        outputs = {key: value.tobytes() for key, value in found.table("outputs").items()}
        engines = {name for each in found.table("layers")["path"] for name in str(each).split("+")}
        return outputs, [found.attributes[key] for key in ("conversions", "cycles", "accuracy")], engines - {""}

    fast, slow = ran("fast"), ran("slow", "--path", path)
    assert fast[2] <= {"exact", "lookup", "planes"}
    assert fast[2] - {"exact"}
    assert slow[2] == {path}
    assert fast[0]
    assert fast[:2] == slow[:2]
