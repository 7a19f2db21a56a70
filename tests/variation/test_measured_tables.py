"""Reads, converters and drift as they were measured, and devices by name: what is drawn is a population like the file's."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from populations import full, write_block, written
from scipy import stats

import cimemu
from cimemu.cli import main
from cimemu.variation import MODELS
from cimemu.variation.compose import compose
from cimemu.variation.devices import DEVICES
from cimemu.variation.parse import make_variation

HERE = Path(__file__).parent
DATA = os.environ.get("CIMEMU_DATA")
READC = Path(DATA or ".") / "data/silicon/readc"
LEAST = 1e-3  # p value


def csv(folder, heading, rows):
    path = folder / "table.csv"
    path.write_text("\n".join([heading, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_reads_have_the_spread_of_their_levels(tmp_path):
    path = csv(tmp_path, "target_uS,sigma_uS", [(10, 0.5), (40, 3)])
    block = write_block([f"measured_reads:file={path},activity=0.25"], [[0, 3], [3, 3], [0, 2]], top=3, largest_input=2)
    low, high = 0.5 / 10, 3 / 10  # in steps of 10 uS; level 2 is nearest to 40 uS
    ((_, variance),) = block.reads
    assert variance == pytest.approx([0.25 * 4 * (2 * low**2 + high**2), 0.25 * 4 * 3 * high**2])


def test_reads_of_several_cells_are_told_apart(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(cell, 1, 1 + cell + 0.1 * rng.standard_normal()) for cell in range(3) for _ in range(200)]
    path = csv(tmp_path, "cell,target_level,measured_level", rows)
    block = write_block([f"measured_reads:file={path},activity=1"], [[1]], top=1)
    assert float(block.reads[0][1][0]) ** 0.5 == pytest.approx(0.1, rel=0.1)


def drawn_converters(text, count, converters=4000):
    ((model, stream),) = compose([text], 3).at("converter")
    moved, gain = model.errors(stream, 0, np.arange(converters), count)
    assert not gain.any()
    return moved


@pytest.mark.parametrize("kind", ["inl", "dnl"])
def test_converters_are_the_measured_ones_as_often_as_each_other(kind, tmp_path):
    inl = np.cumsum(np.random.default_rng(1).normal(0, 0.2, (8, 5)), axis=0)
    inl[0] = 0
    given = inl if kind == "inl" else np.concatenate([np.diff(inl, axis=0), np.zeros((1, 5))])
    path = csv(
        tmp_path, "code," + ",".join(f"{kind}_{i}_LSB" for i in range(5)), [(k, *row) for k, row in enumerate(given)]
    )
    moved = drawn_converters(f"measured_converters:file={path}", 7)
    distance = np.abs(moved[:, None] - inl[1:].T[None]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-12
    assert stats.chisquare(np.bincount(distance.argmin(axis=1), minlength=5)).pvalue > LEAST


def test_a_curve_is_stretched_over_other_codes(tmp_path):
    path = csv(tmp_path, "code,inl_LSB", [(0, 0), (1, 1), (2, 0), (3, 3)])
    moved = drawn_converters(f"measured_converters:file={path},fit=stretch", 6, 1)
    assert moved[0] == pytest.approx([0.5, 1, 0.5, 0, 1.5, 3])
    with pytest.raises(cimemu.ArchError, match=r"^[^\n]*converters of 4 codes, macro\.adc\.bits gives 7; take [^\n]*$"):
        drawn_converters(f"measured_converters:file={path}", 6, 1)


def test_cells_follow_measured_ones_through_time(tmp_path):
    rng = np.random.default_rng(2)
    times, rows, tracks = (0, 10, 1000, 1e5), [], []
    for cell in range(30):
        tracks.append(1 + np.array([0.0, 0.0, -0.1, -0.3]) * rng.random() + 0.02 * rng.standard_normal())
        rows += [(f"c{cell}", time / 3600, 1, value) for time, value in zip(times, tracks[-1])]
        rows += [(f"z{cell}", time / 3600, 0, 0) for time in times]
    path = csv(tmp_path, "cell,time_h,target_level,measured_level", rows)
    ages = {0: 0, 10: 1, 1000: 2, 1e5: 3}
    tracks = np.array(tracks)
    cells = {t: written([f"measured_drift:file={path},seconds={t}"], full(1), top=1) for t in ages}
    which = np.abs(cells[0].ravel()[:, None] - tracks[:, 0]).argmin(axis=1)
    assert stats.chisquare(np.bincount(which, minlength=30)).pvalue > LEAST
    for time, place in ages.items():  # every cell follows one measured cell
        assert cells[time].ravel() == pytest.approx(tracks[which, place])
        assert stats.ks_2samp(cells[time].ravel(), np.repeat(tracks[:, place], 3)).pvalue > LEAST
    between = written([f"measured_drift:file={path},seconds=100"], full(1), top=1).ravel()  # half way in its logarithm
    assert between == pytest.approx((tracks[which, 1] + tracks[which, 2]) / 2)
    assert not written([f"measured_drift:file={path},seconds=1000"], full(0), top=1).any()


@pytest.mark.skipif(not DATA, reason="needs CIMEMU_DATA")
def test_published_cells_in_a_column_a_target_are_drawn_as_they_were_measured():
    path = READC / "f3_3c_conductance_value.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    targets = np.arange(100, 401, 50)
    for level, measured in enumerate(table.T):
        drawn = written([f"measured:file={path}"], full(level), top=6).ravel()
        assert stats.ks_2samp(drawn, np.maximum(level + (measured - targets[level]) / 50, 0)).pvalue > LEAST


@pytest.mark.skipif(not DATA, reason="needs CIMEMU_DATA")
@pytest.mark.parametrize(("kind", "file"), [("inl", "f4_4a_INL_Data.csv"), ("dnl", "f4_4b_DNL_Data.csv")])
def test_published_converters_are_drawn_as_they_were_measured(kind, file, tmp_path):
    """Ten fabricated converters; the published file does not say its unit, so its heading is written anew."""
    table = np.loadtxt(READC / file, delimiter=",", skiprows=1, usecols=range(11))
    path = csv(tmp_path, "code," + ",".join(f"{kind}_{i}_LSB" for i in range(10)), table.tolist())
    inl = np.loadtxt(READC / "f4_4a_INL_Data.csv", delimiter=",", skiprows=1, usecols=range(1, 11))[1:]
    moved = drawn_converters(f"measured_converters:file={path}", 15)
    for threshold in range(15):
        assert stats.ks_2samp(moved[:, threshold].round(3), inl[threshold].round(3)).pvalue > LEAST
    counts = np.bincount(np.abs(moved[:, None] - inl.T[None]).max(axis=2).argmin(axis=1), minlength=10)
    assert stats.chisquare(counts).pvalue > LEAST


@pytest.mark.skipif(not DATA, reason="needs CIMEMU_DATA")
def test_the_device_of_the_library_has_the_spreads_of_the_published_file():
    table = np.loadtxt(READC / "f3_3c_conductance_value.csv", delimiter=",", skiprows=1)
    cells, reads = (make_variation(text) for text in DEVICES["readc_cells"].models)
    for level, measured in enumerate(table.T):
        drawn = written([cells], full(level), top=6).ravel()
        wanted = (measured - (100 + 50 * level)) / 50
        if level:  # no level is below 0
            assert drawn.mean() - level == pytest.approx(wanted.mean(), abs=2e-3)
            assert drawn.std() == pytest.approx(wanted.std(ddof=1), rel=0.02)
        assert stats.ks_1samp(wanted, stats.norm(wanted.mean(), wanted.std(ddof=1)).cdf).pvalue > LEAST
    rows = np.loadtxt(READC / "f3_3d.csv", delimiter=",", skiprows=1)[:, 1:]
    for level in range(7):
        ((_, variance),) = write_block([reads], [[level]], top=6).reads
        spread = rows[rows[:, 0] == 100 + 50 * level, 1].std(ddof=1) / 50
        assert variance[0] ** 0.5 == pytest.approx(0.5**0.5 * spread, abs=1e-5)


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_is_its_models_everywhere(name, capsys):
    words = ["run", "rram_128", "digits", "--images", "2", "--no-trace", "--json", "--seed", "3"]
    told = []
    for models in ([f"device:{name}"], DEVICES[name].models):
        assert main([*words, *(word for text in models for word in ("--vary", text))]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    assert {text.partition(":")[0] for text in DEVICES[name].models} <= set(MODELS)
    assert main(["list", "devices"]) == 0
    assert name in capsys.readouterr().out
    assert main([*words, "--vary", "device:readc_cell"]) == 2
    assert "did you mean readc_cells?" in capsys.readouterr().err


@pytest.mark.parametrize("naive", [1, pytest.param(4, marks=pytest.mark.slow)])  # images; seconds each on that engine
def test_a_chip_file_holds_measured_converters_and_names_measured_reads(tmp_path, naive):
    arch, work = cimemu.load_arch("rram_128", {"macro.adc.bits": 6}), cimemu.load_workload("digits")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:32])
    images = work.inputs(4)[0]
    vary = [
        f"measured_drift:file={HERE / 'aged.csv'},seconds=3600",
        f"measured_reads:file={HERE / 'reads.csv'}",
        f"measured_converters:file={HERE / 'converters.csv'}",
    ]
    cimemu.write_chip(tmp_path / "chip.h5", arch, network, vary=vary, seed=5)
    known = [{"model": "chip", "file": str(tmp_path / "chip.h5")}]
    drawn, read = (cimemu.run(arch, network, images, vary=v, seed=s) for v, s in ((vary, 5), (known, 0)))
    assert drawn.outputs.tobytes() == read.outputs.tobytes()
    for path, count in (("steps", 4), ("naive", naive)):
        outputs = cimemu.run(arch, network, images[:count], vary=vary, seed=5, path=path).outputs
        assert outputs.tobytes() == drawn.outputs[:count].tobytes()


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        ("measured_reads", "target_uS,sigma_mS\n1,2\n", "must be the same in both columns"),
        ("measured_reads", "target_uS,sigma_uS\n1,-2\n", "a spread is negative"),
        ("measured_reads", "target_level,measured_level\n1,1\n", "one read of each cell"),
        ("measured_reads", "a,b\n1,2\n", "must have target_UNIT and sigma_UNIT"),
        ("measured_converters", "code,inl_1\n0,0\n1,1\n", "must be in LSB"),
        ("measured_converters", "code,inl_LSB\n0,0\n2,1\n", "must be 0, 1, 2 ... in order"),
        ("measured_converters", "code,x_LSB\n0,0\n1,1\n", "must have code, and inl"),
        ("measured_drift:seconds=9", "cell,time_s,target_level,measured_level\na,0,1,1\na,5,1,1\n", "must be <= 5"),
        ("measured_drift:seconds=9", "cell,time_s,target_level,measured_level\na,0,1,1\na,0,1,1\n", "must have one"),
        ("measured_drift:seconds=9", "cell,time_year,target_level,measured_level\na,0,1,1\n", "must be in one of s, min, h"),
        ("measured_drift:seconds=9", "time_s,target_level,measured_level\n0,1,1\n", "must have cell, time_UNIT"),
        ("measured_drift:seconds=9", "cell,time_s,target_level,measured_level\na,x,1,1\n", "line 2: time_s = 'x'"),
        ("measured", "target_uS,mean_uS,sigma_uS\n1,1,1\n2,2,2\n", "use draw=normal"),
        ("measured", "target_uS,mean_uS,sigma_uS\n1,1,1\n1,2,2\n", "a target stands twice"),
        ("measured", "x,x\n1,1\n", "a name of its own"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line(model, text, message, tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text(text)
    sign = "," if ":" in model else ":"
    assert (
        main(["run", "rram_128", "digits", "--images", "1", "--no-trace", "--vary", f"{model}{sign}file={path}"]) == 2
    )
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
