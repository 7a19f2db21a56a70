"""`cimemu diff` finds what was changed, and nothing where nothing was."""

import json

import nets
import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.events import Counter

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 4)).astype(np.uint8)


@pytest.fixture
def traces(tmp_path):
    """Six bits, and five bits on four images of a pipelined chip."""
    chips = {
        "six.h5": ({"macro.adc.bits": 6}, 6),
        "five.h5": ({"macro.adc.bits": 5, "schedule": "pipelined"}, 4),
        "again.h5": ({"macro.adc.bits": 6}, 6),
    }
    for name, (overrides, count) in chips.items():
        labels = [0, 1, 2, 0, 1, 2][:count]
        arch = cimemu.load_arch("rram_128", overrides)
        cimemu.run(arch, nets.residual_network(), IMAGES[:count], labels=labels, trace=tmp_path / name)
    return tmp_path


def test_two_equal_runs_have_no_difference(traces, capsys):
    found = cimemu.diff_traces(traces / "six.h5", traces / "again.h5")
    for section in ("arch", "summary", "layers", "components", "stalls"):
        assert found[section] == [], section
    assert found["outputs"]["predictions_differing"] == 0
    assert main(["diff", str(traces / "six.h5"), str(traces / "again.h5")]) == 0
    assert "nothing in architecture, time and energy differs" in capsys.readouterr().out


def test_what_was_changed_is_found_and_the_amounts_are_those_of_the_traces(traces, capsys):
    paths = [str(traces / name) for name in ("six.h5", "five.h5")]
    assert main(["diff", *paths, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    keys = {row["key"]: (row["before"], row["after"]) for row in found["arch"]}
    assert keys["macro.adc.bits"] == (6, 5)
    assert keys["schedule"] == ("layer_by_layer", "pipelined")
    old, new = (cimemu.open_trace(path) for path in paths)
    summary = {row["what"]: row for row in found["summary"]}
    assert (summary["images"]["before"], summary["images"]["after"]) == (6, 4)
    assert summary["cycles"]["change"] == pytest.approx(new.attributes["cycles"] / old.attributes["cycles"] - 1)
    assert summary["cycles"]["change"] < 0
    per_image = [
        trace.energy["counts"][:, Counter.CONVERSIONS].sum() / trace.attributes["images"] for trace in (old, new)
    ]
    assert per_image[0] == per_image[1]
    adc = next(row for row in found["components"] if row["component"] == "adc")
    prices = [dict(zip(t.energy["component"], t.energy["price_pj"]))["adc"] for t in (old, new)]
    assert adc["change"] == pytest.approx(prices[1] / prices[0] - 1)
    layers = {row["layer"]: row for row in found["layers"]}
    assert layers["conv1"]["nJ before"] == pytest.approx(old.layers["energy_pj"][0] / 6 / 1e3)
    assert layers["conv1"]["nJ after"] == pytest.approx(new.layers["energy_pj"][0] / 4 / 1e3)
    both = sum(row["nJ after"] - row["nJ before"] for row in found["layers"])
    parts = sum(r["after"] - r["before"] for r in found["components"] if r["component"] != "(leakage)")
    assert both == pytest.approx(parts)
    assert found["outputs"]["images"] == 4
    assert main(["diff", *paths]) == 0
    text = capsys.readouterr().out
    for words in ("macro.adc.bits", "Layers, an image", "outputs of 4 images"):
        assert words in text


def test_a_file_that_is_no_trace_is_one_line(traces, capsys):
    assert main(["diff", str(traces / "six.h5"), str(traces / "nothing.h5")]) == 2
    assert "nothing.h5: no such file" in capsys.readouterr().err
