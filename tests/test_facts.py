"""Objects that users hold show themselves in two lines, and as a table in a notebook."""

import numpy as np
import pytest

import cimemu
from cimemu.prepare import load_recipe
from cimemu.stress import stress, sweep


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts")
    workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    x, labels = workload.inputs(4)
    recipe = load_recipe(workload)
    network = recipe.for_arch(arch)
    result = cimemu.run(arch, network, x, labels, trace=folder / "run.h5")
    return {
        "arch": (arch, "Arch rram_128: RRAM 128x128", "64 tiles of 8 macros"),
        "float": (recipe.network, "float", "inputs image float32 [1, 8, 8]"),
        "network": (network, "integers for macros", "of them on macros"),
        "result": (result, "RunResult: 4 images on rram_128", "accuracy 100.00 %"),
        "trace": (cimemu.open_trace(folder / "run.h5"), "digits on rram_128", "images 4"),
        "stress": (
            stress(arch, network, x, labels, vary=["lognormal:sigma=0,0.1"], trials=2),
            "StressResult: 2 points, 4 chips",
            "lognormal:sigma=0.1",
        ),
        "sweep": (
            sweep(arch, recipe, x, labels, vary={"macro.adc.bits": [6, 7]}),
            "SweepResult: 2 points over macro.adc.bits",
            "failed 0",
        ),
    }


@pytest.mark.parametrize("name", ["arch", "float", "network", "result", "trace", "stress", "sweep"])
def test_an_object_says_what_it_is_in_two_lines_and_in_a_notebook(objects, name):
    shown, title, fact = objects[name]
    lines = repr(shown).splitlines()
    assert len(lines) == 2
    assert title in lines[0]
    assert fact in lines[1]
    assert str(shown) == repr(shown)
    html = shown._repr_html_()
    assert html.startswith("<table>")
    assert title in html


def test_names_cannot_break_out_of_the_page():
    arch = cimemu.load_arch("rram_128", {"title": "<script>alert(1)</script>\x1b[2J"})
    assert "<script>" not in arch._repr_html_()
    assert "\x1b" not in repr(arch)


def test_a_chip_without_prices_says_so():
    tree = cimemu.load_arch("rram_128").model_dump(exclude_unset=True)
    del tree["costs"]
    workload = cimemu.load_workload("digits")
    network = load_recipe(workload).for_arch(cimemu.Arch.model_validate(tree))
    result = cimemu.run(cimemu.Arch.model_validate(tree), network, np.zeros((1, 1, 8, 8), np.float32))
    assert "the arch has no prices" in repr(result)


def test_a_run_and_its_trace_are_pictures(objects, tmp_path):
    pytest.importorskip("matplotlib")
    result, trace = objects["result"][0], objects["trace"][0]
    for shown, file in ((result, "result.svg"), (trace, "trace.svg")):
        figure = shown.plot(tmp_path / file)
        assert (tmp_path / file).read_text(encoding="utf-8").startswith("<?xml")
        assert figure._repr_png_().startswith(b"\x89PNG")
        left, right = figure.axes
        names = [text.get_text() for text in left.get_yticklabels()]
        assert sorted(names) == sorted([*trace.layers["name"], "leakage of the chip"])
        total = sum(bar.get_width() for bar in right.patches)
        assert total == pytest.approx(result.energy_uj, rel=1e-9)
        assert sum(bar.get_width() for bar in left.patches) == trace.layers["cycles"].sum()


def test_a_timeline_shows_the_events_of_its_cycles(objects):
    pytest.importorskip("matplotlib")
    trace = objects["trace"][0]
    events, last = trace.events, 2000
    chosen = events["start"] < last
    figure = trace.plot_timeline(0, last)
    drawn = sum(len(bars.get_paths()) for bars in figure.axes[0].collections)
    assert drawn == int(chosen.sum())
    assert len(figure.axes[0].get_yticklabels()) == len(np.unique(events["unit"][chosen]))
    with pytest.raises(cimemu.TraceError, match="no event in cycles"):
        trace.plot_timeline(10**12, 10**12 + 1)


def test_a_run_without_times_has_no_picture(objects):
    workload = cimemu.load_workload("digits")
    x, labels = workload.inputs(1)
    result = cimemu.run("rram_128", objects["network"][0], x, labels, detail=None)
    with pytest.raises(cimemu.CimemuError, match="has no times"):
        result.plot()
