"""Power over time: windows, parts, layers and components all sum to the run's energy, to the last quantum."""

import chips
import nets
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.errors import TraceError
from cimemu.trace.power import power_of, window_cycles


def images_for(arch, network, count):
    shape = (count, *network.types["x"].shape)
    return np.random.default_rng(count).integers(0, 2**arch.macro.input.bits, shape).astype(np.uint8)


@pytest.mark.parametrize("detail", ["ops", "cycles"])
@pytest.mark.parametrize("examples", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_every_way_of_summing_gives_the_energy_of_the_run(detail, examples, tmp_path):
    """By window = by event = by component = by layer, whatever the width, on random chips."""

    @settings(deadline=None, derandomize=True, max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data):
        arch = chips.priced(data.draw(chips.chips()))
        assume(getattr(arch.macro.adc, "circuit", "sar") == "sar")
        network = data.draw(chips.networks(arch.macro.input.bits))
        assume(chips.simulation_or_none(network, arch) is not None)
        images = images_for(arch, network, data.draw(st.integers(1, 4)))
        run = cimemu.run(arch, network, images, trace=tmp_path / "x.h5", overwrite=True, detail=detail)
        trace = cimemu.open_trace(tmp_path / "x.h5")
        width = data.draw(st.integers(max(1, run.cycles // 200), run.cycles + 5))
        power = power_of(trace, width)
        tally = run.tally
        assert power.quanta_per_pj == tally.quanta_per_pj
        for way in (power.by_part, power.by_layer, power.by_component):
            assert int(way.sum()) == tally.total_quanta
            assert (way >= 0).all()
        assert power.by_layer.sum(axis=0).tolist() == tally.energy_quanta.sum(axis=1).tolist()
        assert power.by_component.sum(axis=0).tolist() == tally.energy_quanta.sum(axis=0).tolist()
        assert (power.by_part.sum(axis=1) == power.by_layer.sum(axis=1)).all()
        assert (power.by_part.sum(axis=1) == power.by_component.sum(axis=1)).all()
        assert power.average_mw == pytest.approx(trace.attributes["energy_pj"] / (run.cycles * arch.clock_ns))
        assert (power.total_mw * power.length_ns).sum() == pytest.approx(trace.attributes["energy_pj"])

    check()


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("power") / "t.h5"
    arch, network = cimemu.load_arch("rram_128"), nets.residual_network()
    cimemu.run(arch, network, images_for(arch, network, 2), trace=path)
    return cimemu.open_trace(path)


def naive_busy(trace, width, kinds):
    """Cycles of these kinds of events by layer and window, one cycle at a time."""
    events, count = trace.events, -(-int(trace.attributes["cycles"]) // width)
    found = np.zeros((count, len(trace.layers["name"])), dtype=np.int64)
    for kind, layer, start, end in zip(events["kind"], events["layer"], events["start"], events["end"]):
        if trace.kinds[kind] in kinds:
            for cycle in range(start, end):
                found[cycle // width, layer] += 1
    return found


def test_conversions_are_drawn_while_macros_work(trace):
    width = 37
    power = power_of(trace, width)
    busy = naive_busy(trace, width, {"macro"})
    place = power.components.index("adc")
    leak = trace.energy["leakage_uw"][place] * trace.attributes["clock_ns"] / 1000 * width
    drawn = power.by_component[:, place] / power.quanta_per_pj
    assert (drawn[(busy.sum(axis=1) == 0)][:-1] <= leak + 1e-6).all()
    assert (drawn[busy.sum(axis=1) > 0][:-1] > leak).all()
    pj = trace.energy["pj"][:-1, place]
    share = busy / np.maximum(1, busy.sum(axis=0))
    assert np.allclose((drawn - leak)[:-1], (share * pj[: share.shape[1]]).sum(axis=1)[:-1], atol=1e-3)


def test_the_peak_is_where_most_is_drawn(trace):
    power = power_of(trace, 100)
    told, total = power.summary(), power.total_mw
    assert told["peak_mw"] == total.max() >= told["average_mw"]
    assert told["peak_start_cycle"] == 100 * int(total.argmax())
    rows = power.rows()
    assert rows[int(total.argmax())]["most in"] == told["peak_part"]["name"]
    one = power_of(trace, int(trace.attributes["cycles"]))
    assert one.summary()["peak_mw"] == pytest.approx(told["average_mw"])


def test_frame_and_dataset_hold_the_same(trace):
    power = power_of(trace, 1000)
    frame, dataset = power.frame(), power.dataset()
    assert np.allclose(frame["mW"], power.total_mw)
    assert np.allclose(dataset["by_layer"].sum("layer"), power.total_mw)
    assert dataset["by_part"].attrs["unit"] == "mW"


@pytest.mark.parametrize(
    ("text", "cycles"), [("1000", 1000), ("1us", 500), ("3 ns", 1), ("0.5ms", 250_000), ("2e3", 2000)]
)
def test_widths_are_cycles_or_times(text, cycles):
    assert window_cycles(text, 2.0) == cycles


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1.5", "1ns", "nan", "inf", "us", "1e300", "5s"])
def test_a_width_that_is_none_is_refused(text):
    with pytest.raises(TraceError, match="must be a number of cycles, or a time"):
        window_cycles(text, 2.0)


def test_a_trace_without_all_events_is_refused(tmp_path):
    arch, network = cimemu.load_arch("rram_128"), nets.residual_network()
    cimemu.run(arch, network, images_for(arch, network, 2), trace=tmp_path / "t.h5", event_images=1)
    with pytest.raises(TraceError, match=r"has the events of 1 of 2 images.*--events 2"):
        power_of(cimemu.open_trace(tmp_path / "t.h5"), 100)


def test_too_many_windows_are_refused(trace, monkeypatch):
    monkeypatch.setattr("cimemu.trace.power.MOST_WINDOWS", 10)
    with pytest.raises(TraceError, match=r"must be <= 10; give \d+ or more"):
        power_of(trace, 1)


def test_power_from_the_command_line_in_a_report_a_table_and_perfetto(trace, tmp_path, capsys):
    import csv
    import json

    from cimemu.cli import main

    path = str(trace.path)
    assert main(["report", path, "--power", "1us", "--json", "--csv", str(tmp_path / "p.csv")]) == 0
    told = json.loads(capsys.readouterr().out)
    power = power_of(trace, 1000)
    assert told["power"] == power.summary()
    assert [row["mW"] for row in told["windows"]] == power.total_mw.tolist()
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [float(row["mW"]) for row in rows] == pytest.approx(power.total_mw.tolist())
    idle = told["idle"]
    assert idle["macros"] == 512
    assert 0 <= idle["empty_uj"] + idle["idle_uj"] <= idle["leakage_uj"] * (1 + 1e-9)
    assert idle["idle_share"] == pytest.approx(
        (idle["empty_uj"] + idle["idle_uj"]) / (trace.attributes["energy_pj"] / 1e6)
    )
    assert main(["report", path, "--power", "1000"]) == 0
    out = capsys.readouterr().out
    assert "peak" in out
    assert "hold nothing" in out
    assert main(["export", path, "--format", "perfetto", "--power", "1000", "--out", str(tmp_path / "p.json")]) == 0
    records = json.loads((tmp_path / "p.json").read_text())["traceEvents"]
    whole = [r["args"]["mW"] for r in records if r["ph"] == "C" and r["name"] == "power of the chip"]
    assert whole == [*power.total_mw.tolist(), 0.0]
    assert main(["export", path, "--format", "csv", "--power", "1000", "--out", str(tmp_path / "e.csv")]) == 0
    assert len(list(csv.DictReader((tmp_path / "e.csv").open()))) == len(whole) - 1
    assert cimemu.power_of(trace.path, "1us").summary() == power.summary()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "{}", "--power", "x"], "power windows of 'x'"),
        (["report", "{}", "--csv", "x.csv"], "give --power WIDTH too"),
        (["report", "{}", "--power", "9", "--csv", "x.csv", "--html", "x.html"], "leave one of them out"),
        (["report", "{}", "--power", "x", "--html", "x.html"], "power windows of 'x'"),
        (
            ["export", "{}", "--format", "vcd", "--power", "9", "--out", "x.vcd"],
            "is written as perfetto, csv or parquet",
        ),
        (["export", "{}", "--format", "csv", "--group", "units", "--power", "9", "--out", "x.csv"], "no other group"),
    ],
)
def test_what_cannot_be_asked_of_power_is_refused(words, said, trace, capsys, tmp_path, monkeypatch):
    from cimemu.cli import main

    monkeypatch.chdir(tmp_path)
    assert main([word.replace("{}", str(trace.path)) for word in words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
