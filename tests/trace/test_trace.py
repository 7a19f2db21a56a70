"""A trace is whole or not there, says what its table says, and reads with h5py, pandas and xarray alone."""

import json

import h5py
import nets
import numpy as np
import pytest

import cimemu
from cimemu.errors import TraceError
from cimemu.events import Kind
from cimemu.tally import COMPONENTS
from cimemu.trace.read import open_trace
from cimemu.trace.schema import ATTRIBUTES, DATASETS
from cimemu.trace.write import TraceWriter


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "run.h5"
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 4)).astype(np.uint8)
    result = cimemu.run(
        cimemu.load_arch("rram_128"), nets.residual_network(), images, labels=[0, 1, 2, 0], trace=path, seed=5
    )
    return path, result


def test_every_dataset_and_attribute_is_in_the_table_and_has_its_type(written):
    path, _ = written
    known = {item.path: item for item in DATASETS}
    attributes = {item.path for item in ATTRIBUTES}
    with h5py.File(path) as file:
        assert set(file.attrs) <= attributes
        assert attributes - set(file.attrs) == {
            "lifetime_runs",
            "plugins",
            "checksums_corrected",
            "checksums_doubtful",
            "checksums_seen",
            "vary",
            "trial",
            "fraction_bits",
            "write_pulses",
            "write_cycles",
            "write_pj",
            "gated_cycles",
        }
        found = []
        file.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
        names = {name for name, _ in found}
        gated = {"units/off_cycles"}  # of chips that switch macros off: tests/timing/test_gating.py
        assert {name for name in known if not name.startswith("outputs/")} - gated <= names
        for name, item in found:
            if name in known and known[name].dtype not in ("str", "any"):
                assert item.dtype == np.dtype(known[name].dtype), name
            if name not in known:
                assert name.startswith("outputs/")


def test_the_numbers_in_the_file_are_the_results(written):
    path, result = written
    trace = open_trace(path)
    assert trace.attributes["cycles"] == result.cycles
    assert trace.attributes["seed"] == 5
    assert trace.attributes["accuracy"] == result.accuracy
    assert trace.arch["macro"]["rows"] == 128
    assert np.array_equal(trace.table("outputs")["y"], result.outputs)
    assert trace.energy["pj"].sum() == pytest.approx(result.tally.total_pj)
    assert trace.energy["image_pj"].sum() == pytest.approx(result.tally.total_pj)
    assert list(trace.energy["component"]) == [name for name in COMPONENTS if name != "wake_up"]  # without gating
    assert trace.layers["energy_pj"].sum() + trace.energy["pj"][-1].sum() == pytest.approx(result.tally.total_pj)
    assert trace.layers["conversions"].sum() == result.conversions
    assert trace.table("check")["holds"].all()
    events = trace.events
    assert events["end"].max() == result.cycles
    assert set(events["image"]) == {0, 1, 2, 3}
    macro = events["kind"] == Kind.MACRO
    assert trace.kinds[Kind.MACRO] == "macro"
    busy = np.zeros(len(trace.units["name"]), dtype=np.int64)
    np.add.at(busy, events["unit"], events["end"] - events["start"])
    assert np.array_equal(busy, trace.units["busy_cycles"])
    assert macro.sum() == trace.layers["macro_ops"].sum()


def test_the_arch_in_the_file_loads_again(written):
    path, _ = written
    arch = cimemu.Arch.model_validate(json.loads(open_trace(path).attributes["arch_json"]))
    assert arch == cimemu.load_arch("rram_128")


def test_pandas_and_xarray_read_it(written):
    pandas = pytest.importorskip("pandas")
    path, result = written
    with h5py.File(path) as file:
        events = pandas.DataFrame({name: file["events"][name][:] for name in file["events"]})
    assert events.groupby("image")["end"].max().iloc[-1] == result.cycles
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    data = xarray.open_dataset(path, group="layers", engine="h5netcdf", phony_dims="sort")
    assert int(data["conversions"].sum()) == result.conversions


def test_an_existing_file_is_kept_unless_overwriting_is_asked_for(written):
    path, _result = written
    before = path.read_bytes()
    with pytest.raises(TraceError, match="exists already"):
        cimemu.run(
            cimemu.load_arch("rram_128"),
            nets.residual_network(),
            np.zeros((1, 3, 5, 4), np.uint8),
            trace=path,
        )
    assert path.read_bytes() == before
    cimemu.run(
        cimemu.load_arch("rram_128"),
        nets.residual_network(),
        np.zeros((1, 3, 5, 4), np.uint8),
        trace=path,
        overwrite=True,
    )
    assert open_trace(path).attributes["images"] == 1


def test_an_interrupted_run_leaves_no_file(tmp_path):
    path = tmp_path / "cut.h5"

    def interrupted():
        with TraceWriter(path) as writer:
            writer.events(
                {name: np.zeros(1, dtype=np.int64) for name in ("unit", "op", "kind", "layer", "image", "start", "end")}
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["no/such/folder/x.h5", ".", "/proc/x.h5"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, where):
    with pytest.raises(TraceError) as caught:
        TraceWriter(tmp_path / where).__enter__()
    assert "\n" not in str(caught.value)


def test_events_can_be_limited_to_the_first_images(tmp_path):
    path = tmp_path / "few.h5"
    images = np.zeros((4, 3, 5, 4), np.uint8)
    cimemu.run(cimemu.load_arch("rram_128"), nets.residual_network(), images, trace=path, event_images=2)
    trace = open_trace(path)
    assert set(trace.events["image"]) == {0, 1}
    assert trace.attributes["event_images"] == 2
    assert trace.attributes["images"] == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not hdf5", "is no HDF5 file"), (b"", "is no HDF5 file"), (None, "no such file")],
)
def test_a_file_that_is_no_trace_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TraceError, match=message):
        open_trace(path)


def test_a_trace_of_another_schema_version_is_refused(written):
    path, _ = written
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(TraceError, match="schema_version = 99"):
        open_trace(path)


def test_the_same_run_writes_the_same_numbers_for_any_number_of_threads(tmp_path):
    images = np.random.default_rng(3).integers(0, 256, (5, 3, 5, 4)).astype(np.uint8)
    for threads in (1, 2):
        cimemu.run(
            cimemu.load_arch("rram_128"),
            nets.residual_network(),
            images,
            trace=tmp_path / f"{threads}.h5",
            threads=threads,
            batch=2 * threads,
        )
    with h5py.File(tmp_path / "1.h5") as a, h5py.File(tmp_path / "2.h5") as b:
        names = []
        a.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            x, y = a[name][()], b[name][()]
            assert np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), name
