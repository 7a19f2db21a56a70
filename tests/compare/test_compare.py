"""`cimemu compare` and `cimemu quantize --scheme` from the command line and from Python."""

import csv

import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.compare import compare, grid_points, paired_difference, parse_axis, read_table
from cimemu.compare.sidecar import read_levels
from cimemu.compare.table import append_row, from_hex, to_hex
from cimemu.ptq.scheme import scheme_of

GRID = ["--scheme", "column", "--vary", "converter.granularity=layer,column", "--vary", "converter.bits=4", "-n", "20"]
GRID += ["--set", "macro.weight.bits=4", "--vary", "weights.bits=4", "--calibration", "16"]


def run(*arguments):
    return main(["compare", "rram_128", "digits", *GRID, *arguments])


@pytest.mark.slow
def test_a_grid_is_a_table_that_is_resumed(tmp_path, capsys):
    out = tmp_path / "grid.csv"
    assert run("-o", str(out), "--plots", str(tmp_path / "plots")) == 0
    printed = capsys.readouterr().out
    assert "to the first" in printed
    rows = read_table(out)
    assert [row["converter.granularity"] for row in rows] == ["layer", "column"]
    assert int(rows[1]["scale_multiplications_per_image"]) > int(rows[0]["scale_multiplications_per_image"])
    names = {"accuracy.png", "layer_errors.png", "levels.png"}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == names
    whole = out.read_bytes()
    lines = whole.decode().splitlines(keepends=True)
    out.write_text("".join(lines[:2]) + lines[2][:30])  # cut in the middle of a row
    assert run("-o", str(out), "--json") == 0
    again = read_table(out)
    assert again == rows
    assert run("-o", str(out)) == 0
    assert read_table(out) == rows


@pytest.mark.slow
def test_a_row_is_what_the_emulator_gives(tmp_path):
    work, arch = cimemu.load_workload("digits"), "rram_128"
    points = grid_points([scheme_of("array", {"weights.bits": 4, "converter.bits": 5})], [], {})
    row = compare(arch, work, points, tmp_path / "t.csv", images=20, calibration=16)[0]
    chip = cimemu.load_arch(arch)
    network = cimemu.load_network(work.network)
    fitted = cimemu.apply_scheme(network, chip, work.calibration()[:16], points[0].scheme)
    images, labels = work.inputs(20)
    result = cimemu.run(chip, fitted.network, images, labels)
    assert float(row["accuracy"]) == pytest.approx(result.accuracy, abs=1e-6)
    assert float(row["energy_nj_per_image"]) == pytest.approx(1e3 * result.energy_uj / 20, abs=1e-3)
    for name, end in zip(("low", "high"), result.energy_interval()):
        assert float(row[f"energy_{name}_nj_per_image"]) == pytest.approx(1e3 * end / 20, abs=1e-3)
    assert np.array_equal(from_hex(row["correct"], 20), result.predictions == labels)


def test_paired_errors_are_those_of_the_difference():
    a, b = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0], bool), np.array([1, 0, 0, 1, 1, 1, 0, 1, 0], bool)
    rows = [{"images": "9", "correct": to_hex(v)} for v in (a, b)]
    change, error = paired_difference(*rows)
    difference = a.astype(float) - b
    assert change == difference.mean()
    assert error == pytest.approx(difference.std(ddof=1) / 3)


def test_one_file_holds_the_scheme_and_runs_as_given(tmp_path, capsys):
    out = tmp_path / "q.onnx"
    given = ["--scheme", "column", "--scheme-set", "converter.bits=5", "--scheme-set", "weights.bits=4"]
    assert main(["quantize", "digits", *given, "-o", str(out)]) == 0
    assert "psum error" in capsys.readouterr().out
    trace = tmp_path / "t.h5"
    assert main(["run", "rram_128", "digits", "--network", str(out), "-n", "20", "--out", str(trace)]) == 0
    capsys.readouterr()
    assert main(["report", str(trace)]) == 0
    assert "multiplications/position" in capsys.readouterr().out
    run = ["run", "rram_128", "digits", "--network", str(out), "-n", "5", "--no-trace"]
    assert main([*run, "--set", "macro.adc.bits=6"]) == 2
    assert "is fixed by the network" in capsys.readouterr().err
    assert main([*run, "--set", "macro.rows=64", "--set", "macro.active_rows=64"]) == 2
    assert "row blocks" in capsys.readouterr().err
    assert main(["check", "rram_128", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scheme", "colum"], "no such scheme or file"),
        (["--scheme", "none.yaml"], "no such scheme file"),
        (["--vary", "converter.bits="], "an empty value"),
        (["--vary", "converter.bits=9"], "must be 1, 1.5 or 2 .. 8"),
        (["--vary", "converter.bitz=3"], "no such key"),
        (["--vary", "converter.bits=3,3"], "given twice"),
        (["--vary", "arch.macro.rowz=3"], "no such key"),
        (
            [
                "--vary",
                "weights.bits=" + ",".join(map(str, range(200))),
                "--vary",
                "a.b=" + ",".join(map(str, range(99))),
            ],
            "at most",
        ),
    ],
)
def test_mistakes_are_one_line(arguments, said, tmp_path, capsys):
    assert main(["compare", "rram_128", "digits", "-o", str(tmp_path / "t.csv"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_table_of_another_grid_is_refused(tmp_path, capsys):
    out = tmp_path / "t.csv"
    append_row(out, ["a"], {"scheme": "x", "a": "1"})
    assert run("-o", str(out)) == 2
    assert "name another --out" in capsys.readouterr().err


def test_axes_are_yaml_values():
    assert parse_axis("converter.bits=1.5,3").values == (1.5, 3)
    assert parse_axis("a.b=[x, 2]").values == ("x", 2)
    assert parse_axis("a=true,no_").values == (True, "no_")


def test_damaged_metadata_is_one_line(tmp_path):
    import onnx

    arch = cimemu.load_arch("rram_128")
    work = cimemu.load_workload("digits")
    fitted = cimemu.apply_scheme(
        cimemu.load_network(work.network), arch, work.calibration()[:4], scheme_of("array", {"weights.bits": 4})
    )
    path = cimemu.save_onnx(fitted.network, tmp_path / "q.onnx")
    model = onnx.load(path)
    for text in (
        "{",
        "[]",
        '{"version": 9}',
        model.metadata_props[0].value.replace('"granularity":"array"', '"granularity":"x"'),
    ):
        model.metadata_props[0].value = text
        onnx.save(model, tmp_path / "bad.onnx")
        with pytest.raises(cimemu.WorkloadError, match="metadata 'cimemu'") as caught:
            cimemu.load_network(tmp_path / "bad.onnx")
        assert "\n" not in str(caught.value)


def test_layer_errors_are_beside_the_table(tmp_path):
    out = tmp_path / "grid.csv"
    assert run("-o", str(out), "--json") == 0
    with (tmp_path / "grid.layers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["layer"] for row in rows} == {"stem", "conv1", "conv2", "down", "conv3", "scores"}


LEVELS = ["--scheme", "bs_kmq", "--vary", "converter.method=linear,bs_kmq_pin", "--vary", "converter.bits=2", "-n", "2"]
LEVELS += ["--vary", "converter.granularity=layer,column", "--set", "macro.weight.bits=4"]
LEVELS += ["--vary", "weights.bits=4", "--calibration", "4"]


@pytest.mark.slow
def test_levels_and_their_psums_are_beside_the_table_and_plotted(tmp_path, capsys):
    """The file holds what was fitted and what it was fitted to; the plot draws every level and every share of it."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    out, plots = tmp_path / "grid.csv", tmp_path / "plots"
    arguments = ["compare", "rram_128", "digits", *LEVELS, "-o", str(out), "--plots", str(plots)]
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, path, **_: drawn.append((path.name.partition(".")[0], self.axes)))
        assert main([*arguments, "--plot-layer", "conv2"]) == 0
    axes = ["converter.method", "converter.bits", "converter.granularity", "weights.bits"]
    found = read_levels(out, axes)
    assert len(found) == 4
    top, bottom = dict(drawn)["levels"]
    assert [line.get_xdata().tolist() for line in bottom.lines] == [f["conv2"].levels.tolist() for f in found.values()]
    assert len(top.lines) == 2  # both methods see the same psums, a layer and a column other ones
    # the file says what the scheme gives
    chip, work = cimemu.load_arch("rram_128"), cimemu.load_workload("digits")
    network, images = cimemu.load_network(work.network), work.calibration()[:4]
    changes = {"converter.method": "bs_kmq_pin", "converter.bits": 2, "converter.granularity": "column"}
    scheme = scheme_of("bs_kmq", {**changes, "weights.bits": 4})
    fitted = cimemu.apply_scheme(network, chip, images, scheme)
    row = found["bs_kmq", "bs_kmq_pin", "2", "column", "4"]["conv2"]
    levels = fitted.network.converters["conv2"].levels
    first = levels[0][0]
    np.testing.assert_allclose(row.levels, np.unique(first), rtol=1e-5)
    assert row.shares.sum() == pytest.approx(1, abs=1e-4)
    # pinned to the edges of what was seen, within a bin
    width = np.diff(row.values).max()
    assert abs(row.levels[0] - row.values[0]) <= width
    assert abs(row.levels[-1] - row.values[-1]) <= width
    capsys.readouterr()
    assert main([*arguments, "--plot-layer", "conv9"]) == 2
    error = capsys.readouterr().err
    assert "--plot-layer conv9: no such layer, must be one of stem" in error
    assert error.count("\n") == 1
    assert (
        main(
            [
                "compare",
                "rram_128",
                "digits",
                "--scheme",
                "plain",
                "-n",
                "2",
                "-o",
                str(tmp_path / "p.csv"),
                "--plots",
                str(plots),
                "--plot-layer",
                "stem",
            ]
        )
        == 2
    )
    assert "no converter was fitted" in capsys.readouterr().err
