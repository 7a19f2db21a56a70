import csv
import json

import numpy as np
import pytest

import cimemu
from cimemu.cli import main
from cimemu.errors import TraceError
from cimemu.views import Window, export_trace
from cimemu.views.window import select_events


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "d.h5"
    assert main(["run", "isaac", "digits", "--images", "2", "--detail", "cycles", "--out", str(path), "--json"]) == 0
    return cimemu.open_trace(path)


@pytest.mark.slow
def test_a_window_chooses_events_as_the_definition_says(trace):
    window = Window(first=1000, last=3000, images=(0,), layers=("stem",), units=("tile0/macro",))
    chosen = select_events(trace, window).events
    e, layer = trace.events, list(trace.layers["name"]).index("stem")
    units = [number for number, name in enumerate(trace.units["name"]) if name.startswith("tile0/macro")]
    wanted = (e["end"] >= 1000) & (e["start"] < 3000) & (e["image"] == 0) & (e["layer"] == layer)
    wanted &= np.isin(e["unit"], units)
    assert 0 < len(chosen["op"]) == wanted.sum()
    assert (np.diff(chosen["start"]) >= 0).all()
    assert sorted(chosen["op"]) == sorted(e["op"][wanted])


@pytest.mark.slow
def test_a_limit_keeps_the_earliest_and_says_how_many_there_are(trace):
    chosen = select_events(trace, Window(limit=100))
    assert chosen.cut
    assert chosen.found == trace.event_count
    assert chosen.events["start"].max() <= np.sort(trace.events["start"])[100]


@pytest.mark.slow
def test_perfetto_json_has_a_slice_per_event_with_times_in_us(trace, tmp_path):
    out = tmp_path / "t.json"
    assert main(["export", str(trace.path), "--format", "perfetto", "--out", str(out), "--end", "2000"]) == 0
    written = json.loads(out.read_text())["traceEvents"]
    slices = [record for record in written if record["ph"] == "X"]
    chosen = select_events(trace, Window(last=2000)).events
    assert len(slices) == len(chosen["op"])
    clock_us = trace.attributes["clock_ns"] / 1000
    for record, start, end in zip(slices, chosen["start"], chosen["end"]):
        assert record["args"]["start_cycle"] == start
        assert record["ts"] == pytest.approx(start * clock_us)
        assert record["dur"] == pytest.approx((end - start) * clock_us)
    threads = {r["args"]["name"] for r in written if r["name"] == "thread_name"}
    assert threads == set(trace.units["name"])


def read_vcd(path):
    """(signals by id as dotted names, changes [(time, id, value)]) of a value change dump."""
    names, scope, changes, time = {}, [], [], 0
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("$scope"):
            scope.append(words[2])
        elif line.startswith("$upscope"):
            scope.pop()
        elif line.startswith("$var"):
            names[words[3]] = ".".join([*scope, words[4]])
        elif line.startswith("#"):
            time = int(line[1:])
        elif line[:1] in "01xz" and len(words) == 1:
            changes.append((time, line[1:], line[0]))
        elif line[:1] in "bs" and len(words) >= 2:
            changes.append((time, words[-1], line[1:].rsplit(" ", 1)[0]))
    return names, changes


def test_vcd_signals_are_busy_just_when_the_unit_is(trace, tmp_path):
    pytest.importorskip("vcd")
    out = tmp_path / "t.vcd"
    window = Window(last=5000)
    export_trace(trace, out, "vcd", window=window)
    events = select_events(trace, window).events
    names, changes = read_vcd(out)
    clock_ps = trace.attributes["clock_ns"] * 1000
    units = list(trace.units["name"])
    for name in ("tile0/macro0", "tile0/macro0/adc", "digital"):
        identifier = next(i for i, n in names.items() if n == "chip." + name.replace("/", ".") + ".busy")
        count = next(i for i, n in names.items() if n == "chip." + name.replace("/", ".") + ".count")
        mine = events["unit"] == units.index(name)
        busy = sum(end - start for start, end in zip(events["start"][mine], events["end"][mine]))
        high, since = 0, None
        for time, signal, value in changes:
            if signal != identifier:
                continue
            if value == "1" and since is None:
                since = time
            elif value == "0" and since is not None:
                high, since = high + time - since, None
        assert high == pytest.approx(busy * clock_ps, abs=2 * len(changes))
        last = [value for _, signal, value in changes if signal == count][-1]
        assert int(last, 2) == mine.sum()


def test_csv_and_parquet_have_the_names_beside_the_numbers(trace, tmp_path):
    pandas = pytest.importorskip("pandas")
    assert main(["export", str(trace.path), "-f", "csv", "-o", str(tmp_path / "e.csv"), "--layer", "conv1"]) == 0
    with open(tmp_path / "e.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["layer_name"] for row in rows} == {"conv1"}
    assert {"kind_name", "unit_name", "start", "end"} <= set(rows[0])
    pytest.importorskip("pyarrow")
    export_trace(trace, tmp_path / "l.parquet", "parquet", group="layers")
    frame = pandas.read_parquet(tmp_path / "l.parquet")
    assert list(frame.index) == list(trace.layers["name"])
    assert frame["cycles"].sum() == trace.layers["cycles"].sum()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "xml"], "format = 'xml', must be one of perfetto"),
        (["--format", "vcd", "--group", "layers"], "shows events only"),
        (["--format", "csv", "--start", "-1"], "must be >= 0"),
        (["--format", "csv", "--start", "9", "--end", "9"], "must be larger than the first"),
        (["--format", "csv", "--layer", "conv9"], "no layer 'conv9' in the trace"),
        (["--format", "csv", "--limit", "0"], "limit = 0, must be >= 1"),
    ],
)
def test_a_wrong_wish_is_one_line_and_leaves_no_file(trace, tmp_path, capsys, arguments, words):
    assert main(["export", str(trace.path), "--out", str(tmp_path / "x"), *arguments]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(trace, tmp_path):
    out = tmp_path / "e.json"
    out.write_text("mine")
    with pytest.raises(TraceError, match="exists already"):
        export_trace(trace, out, "perfetto", window=Window(last=100))
    assert out.read_text() == "mine"
    export_trace(trace, out, "perfetto", window=Window(last=100), overwrite=True)
    assert json.loads(out.read_text())


def test_frames_and_datasets_carry_the_schemas_dimensions_and_units(trace):
    pytest.importorskip("xarray")
    layers = trace.frame("layers")
    assert layers.index.name == "layer"
    assert layers.loc["conv1", "macs"] == trace.layers["macs"][list(trace.layers["name"]).index("conv1")]
    energy = trace.frame("energy")
    assert energy.to_numpy().sum() == pytest.approx(trace.attributes["energy_pj"])
    data = trace.dataset("energy")
    assert data["pj"].dims == ("row", "component")
    assert data["pj"].attrs["unit"] == "pJ"
    assert float(data["pj"].sel(component="adc").sum()) == pytest.approx(energy["adc"].sum())
    events = trace.frame("events")
    assert (events["kind_name"] == "convert").sum() == (trace.events["kind"] == trace.kinds.index("convert")).sum()
    with pytest.raises(TraceError, match="is no table"):
        trace.frame("outputs")
