"""Calibration of a drawn chip: the same in every engine, a fit that exact fractions confirm, and what it mends."""

import json
from fractions import Fraction

import macros
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.engines.calibrate import FIRST_IMAGE, finished, test_vectors
from cimemu.engines.programmed import Programmed, program
from cimemu.errors import ArchError, CimemuError
from cimemu.events import Counter
from cimemu.macro.read_noise import Reads
from cimemu.macro.sites import own_macros
from cimemu.macro.vary import start_draft
from cimemu.variation.compose import compose

test_vectors.__test__ = False
SPREAD = ["lognormal:sigma=0.1", "drift:seconds=1e5,nu_sigma=0.02"]
NOISE = ["thermal:amplifier=0.4", "converter:offset=0.5,gain=0.05,noise=0.2"]
WAYS = [
    f"calibration:what={what},at={at},vectors=3,every=3e4{',rounds=2' if at == 'reference' else ''}"
    for what in ("factor", "column", "converter")
    for at in ("digital", "reference")
]
REFUSED = ("an ideal converter", "a nonlinear converter", "reference_column")


def chip(**overrides):
    return cimemu.load_arch("rram_128", {key.replace("__", "."): value for key, value in overrides.items()})


@given(st.integers(0, 2**31))
@settings(deadline=None, derandomize=True, max_examples=12, suppress_health_check=list(HealthCheck))
def test_all_paths_give_the_same_bytes(seed):
    x, w, macro = macros.draw(seed)
    x, vary = x[:1], [*SPREAD, *(NOISE if seed % 2 else []), WAYS[seed % len(WAYS)]]
    try:
        slow = cimemu.mvm(x, w, macro, codes=True, path="naive", vary=vary, seed=seed)
    except ArchError as error:
        if not any(text in str(error) for text in REFUSED):
            raise
        return
    for path in ("auto", "serial", "steps"):
        fast = cimemu.mvm(x, w, macro, codes=True, path=path, vary=vary, seed=seed)
        assert (
            fast.y.tobytes() == slow.y.tobytes() == cimemu.mvm(x, w, macro, path=path, vary=vary, seed=seed).y.tobytes()
        )
        assert np.array_equal(fast.codes, slow.codes)


def drafted(vary, rows=150, outputs=3, macro=None, seed=5):
    macro = chip().macro if macro is None else macro
    w = np.random.default_rng(1).integers(-128, 128, (rows, outputs))
    ideal = program(w, macro)
    draft = start_draft(ideal.matrix, own_macros(ideal.matrix.layout), compose(vary, seed))
    for task in draft.tasks():
        task()
    return ideal, draft


def sums(programmed, x):
    """[P][row block][column] of sums of codes times weights, from codes of the naive twin; and the weights [P][row block]."""
    matrix = programmed.matrix
    codes = programmed.run(x, codes=True, path="naive", reads=Reads(first_row=FIRST_IMAGE)).codes
    a = [[[Fraction(0)] * matrix.seen_columns for _ in matrix.layout.row_blocks] for _ in x]
    z = [[Fraction(0) for _ in matrix.layout.row_blocks] for _ in x]
    for p in range(len(x)):
        for g, block in enumerate(matrix.block_of):
            for i, weight in enumerate(matrix.slice_weights):
                z[p][block] += int(weight)
                for c in range(matrix.seen_columns):
                    a[p][block][c] += int(weight) * int(codes[p, g, i, c])
    return a, z


def slow_fit(points, with_offset):
    """(gain, offset) of points (known e, measured m, weight z), from the normal equations in fractions."""
    ee, ez, zz, em, mz = (
        sum((p[i] * p[j] for p in points), Fraction(0)) for i, j in ((0, 0), (0, 2), (2, 2), (0, 1), (1, 2))
    )
    if not with_offset:
        return (ee / em, Fraction(0)) if em > 0 else (Fraction(1), Fraction(0))
    spread, slope, rest = ee * zz - ez * ez, em * zz - mz * ez, mz * ee - em * ez
    if spread == 0:
        return slow_fit(points, False)
    return (spread / slope, -rest / slope) if slope > 0 else (Fraction(1), Fraction(0))


@pytest.mark.parametrize("what", ["factor", "column", "converter"])
def test_the_fit_is_that_of_exact_fractions(what):
    ideal, draft = drafted([*SPREAD, *NOISE, f"calibration:what={what},vectors=3,bits=16"])
    matrix = finished([draft])[0].matrix
    x = test_vectors(ideal.matrix, 3)
    drawn = Programmed(draft.finish())
    (want, z), (got, _) = sums(ideal, x), sums(drawn, x)
    blocks, columns = len(matrix.layout.row_blocks), matrix.seen_columns
    per_output = matrix.macro.conversions_per_output
    number = {  # which columns are fitted together: outputs of 8 columns have a converter each, on their row block's macro
        "factor": lambda block, column: 0,
        "column": lambda block, column: (block, column),
        "converter": lambda block, column: (block, column // matrix.macro.columns_per_adc),
    }[what]
    assert per_output == matrix.macro.columns_per_adc == 8
    points = {}
    for block in range(blocks):
        for c in range(columns):
            mine = [(want[p][block][c], got[p][block][c], z[p][block]) for p in range(len(x))]
            points.setdefault(number(block, c), []).extend(mine)
    for block in range(blocks):
        rule = matrix.references[block]
        for c in range(columns):
            gain, offset = slow_fit(points[number(block, c)], what == "converter")
            at = c if len(rule.lsb) > 1 else 0
            assert abs(Fraction(float(rule.lsb[at])) - gain) <= Fraction(1, 2**17) + Fraction(1, 10**9)
            assert abs(Fraction(float(rule.zero[at])) - offset) <= Fraction(1, 2**17) + Fraction(1, 10**9)
            assert float(rule.lsb[at]) * 2**16 % 1 == 0


def test_a_moved_threshold_gives_the_code_of_the_undrifted_psum():
    """Cells that all drift alike: thresholds fall by the same factor, and every output is the ideal one again."""
    vary = ["drift:seconds=1e5"]
    x = np.random.default_rng(2).integers(0, 256, (5, 100))
    w = np.random.default_rng(1).integers(-128, 128, (100, 6))
    macro = chip().macro
    plain = cimemu.mvm(x, w, macro).y
    assert not np.array_equal(cimemu.mvm(x, w, macro, vary=vary).y, plain)
    for what in ("factor", "column", "converter"):
        again = cimemu.mvm(x, w, macro, vary=[*vary, f"calibration:what={what},at=reference"]).y
        assert np.array_equal(again, plain)


def test_a_calibration_of_earlier_leaves_what_has_drifted_since():
    x = np.random.default_rng(2).integers(0, 256, (5, 100))
    w = np.random.default_rng(1).integers(-128, 128, (100, 6))
    macro, errors = chip().macro, []
    plain = cimemu.mvm(x, w, macro).y
    for every in (1000, 10_000, 1e6):  # at 99,000 s, 90,000 s and 0 s
        vary = ["drift:seconds=99999", f"calibration:what=factor,at=reference,every={every}"]
        errors.append(float(np.abs(cimemu.mvm(x, w, macro, vary=vary).y - plain).mean()))
    none = cimemu.mvm(x, w, macro, vary=["drift:seconds=99999"]).y
    assert errors[0] <= errors[1] < errors[2] == float(np.abs(none - plain).mean())


def test_multiplications_and_switches_are_counted():
    """A factor is one multiplication an output beside the correction's, columns have one each; references switch."""
    for what, at, each, switching in (
        ("factor", "digital", 3, False),
        ("column", "digital", 2 * 24, False),
        ("column", "reference", 0, True),
        ("converter", "reference", 0, False),
    ):
        _, draft = drafted([*SPREAD, f"calibration:what={what},at={at}"])
        (made,) = finished([draft])
        counts = made.run(np.ones((2, 150), dtype=int), images=2).counts
        assert (counts[:, Counter.SCALE_MULTIPLICATIONS] == each).all()
        assert (counts[:, Counter.REFERENCE_SWITCHES] > 0).all() == switching
    two = chip(
        macro__weight__encoding="twos_complement"
    ).macro  # nothing is corrected: the requantisation's own does it
    _, draft = drafted([*SPREAD, "calibration"], macro=two)
    assert finished([draft])[0].matrix.multiplications == 0


def test_drift_begins_at_the_reference_time_and_a_refresh_begins_it_anew():
    x, w, macro = np.ones((1, 9), dtype=int) * 255, np.full((9, 2), 127), chip().macro

    def y(text):
        return cimemu.mvm(x, w, macro, vary=[text], seed=3).y.tobytes()

    assert y("drift:seconds=0") == y("drift:seconds=20") == cimemu.mvm(x, w, macro).y.tobytes()
    assert y("drift:seconds=90000,refresh=86400") == y("drift:seconds=3600") != y("drift:seconds=90000")


@pytest.mark.parametrize(
    ("vary", "overrides", "message"),
    [
        (["calibration"], {"macro.adc": {"model": "ideal"}}, "an ideal converter, which gives no codes"),
        (["calibration"], {"macro.weight.correction": "reference_column"}, "weight.correction = reference_column"),
        (
            ["calibration"],
            {"macro.accumulator_bits": 30},
            "accumulator_bits = 30, which holds integers; use at=reference",
        ),
    ],
)
def test_a_macro_that_cannot_be_calibrated_says_so(vary, overrides, message):
    macro = cimemu.load_arch("rram_128", overrides).macro
    with pytest.raises(ArchError, match=message) as error:
        cimemu.mvm([[1, 2]], [[3], [-4]], macro, vary=["lognormal:sigma=0.3", *vary])
    assert "\n" not in str(error.value)


def test_a_chip_is_calibrated_in_one_way():
    with pytest.raises(CimemuError, match="--calibrate: given twice"):
        compose(["calibration", "calibration:what=column"]).check(1)


def test_digits_at_a_day():
    """Drift makes the network guess; thresholds that fall with it bring it back, columns more than a layer."""
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    quantized = cimemu.quantize(cimemu.load_network(work.network), arch, work.calibration())
    images, labels = work.inputs(200)
    found = {}
    for what in ("none", "factor", "column"):
        vary = ["drift:seconds=86400,nu_sigma=0.02", f"calibration:what={what},at=reference"]
        found[what] = cimemu.run(arch, quantized, images, labels, vary=vary, detail=None).accuracy
    assert found["none"] < 0.3 < found["factor"] < found["column"]


@pytest.mark.parametrize("overrides", [{"mapping.max_replicas": 3}, {"macro.weight.encoding": "differential"}], ids=str)
@pytest.mark.parametrize("way", ["what=factor", "what=column,at=reference,every=3600"])
def test_a_network_is_the_same_for_all_threads_paths_and_batches(overrides, way):
    """Replicas are calibrated each by itself."""
    work, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128", overrides)
    quantized = cimemu.quantize(cimemu.load_network(work.network), arch, work.calibration())
    images, _ = work.inputs(6)
    vary = ["drift:seconds=86400,nu_sigma=0.01", "thermal:amplifier=0.1", f"calibration:{way}"]
    one, *others = (
        cimemu.run(arch, quantized, images, vary=vary, detail=None, **how)
        for how in ({}, {"threads": 2}, {"path": "serial", "batch": 4}, {"path": "steps"})
    )
    for other in others:
        assert np.array_equal(other.outputs, one.outputs)
        assert np.array_equal(other.counts, one.counts)


@pytest.mark.parametrize("at", ["digital", "reference"])
def test_golden_vectors_of_a_calibrated_chip_and_a_chip_file(tmp_path, monkeypatch, capsys, at):
    monkeypatch.chdir(tmp_path)
    way = ["--vary", "drift:seconds=86400", "--calibrate", f"chip:what=column,at={at}"]
    assert main(["golden", "rram_128", "digits", "--layer", "conv1", "--ops", "2", *way, "--out", "g"]) == 0
    assert main(["golden", "verify", "g", "g"]) == 0
    assert "equal" in capsys.readouterr().out
    drawn = ["--vary", "lognormal:sigma=0.1", "--seed", "7"]
    assert main(["chip", "rram_128", "digits", *drawn, "--out", "chip.h5"]) == 0
    capsys.readouterr()
    said = []
    for chip in (drawn, ["--chip", "chip.h5"]):
        assert main(["run", "rram_128", "digits", "--images", "4", "--no-trace", "--json", *chip, *way]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0]["energy_uj"] == said[1]["energy_uj"]
    assert said[0]["upkeep"] == said[1]["upkeep"]
    assert said[0]["upkeep"]["calibrations"] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("column", "--calibrate column: must begin with chip"),
        ("chip:what=rows", "--calibrate chip: what = 'rows', must be 'none', 'factor', 'column' or 'converter'"),
        ("chip:when=3", "--calibrate chip:when=3: calibration has no parameter 'when'; it has what, at"),
        ("chip:every=-1", "--calibrate chip: every = -1, must be > 0"),
        ("chip:what=none,factor", "what has 2 values, give one"),
    ],
)
def test_a_wrong_calibration_is_one_line(capsys, given, message):
    assert main(["run", "--images", "1", "--no-trace", "--calibrate", given]) != 0
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
