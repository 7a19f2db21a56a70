"""A tiny run, dataset by dataset, against the one that is committed."""

from pathlib import Path

import h5py
import nets
import numpy as np

import cimemu
from cimemu.engines.choose import NAMES

GOLDEN = Path(__file__).parent / "tiny.h5"
VARY = {"cimemu_version", "arch_json", "provenance_json"}
MACHINE = "layers/path"  # which engines ran: without AVX2 it is others, with the same values


def write(path):
    """Three images of the residual network on a small pipelined chip that skips zero slices."""
    arch = cimemu.load_arch(
        "rram_128",
        {
            "schedule": "pipelined", "chip.tiles": 4, "macro.rows": 32, "macro.columns": 32, "macro.active_rows": 16,
            "macro.weight.bits": 4, "macro.input.bits": 4, "macro.adc": {"model": "linear", "bits": 4, "lsb": 1.5},
            "macro.timing.skip_zero_slices": True, "mapping.max_replicas": 2,
        },
    )  # fmt: skip
    images = np.random.default_rng(11).integers(0, 16, (3, 3, 5, 4)).astype(np.uint8)
    images[:, :, 0] = 0
    cimemu.run(
        arch, nets.residual_network(bits=4, weight_limit=7), images, labels=[0, 1, 2], trace=path, overwrite=True
    )


def test_the_tiny_run_is_the_committed_one(tmp_path):
    """A wanted change: copy tiny.h5.new over tiny.h5 and say why in the commit."""
    new = GOLDEN.with_suffix(".h5.new")
    write(new)
    with h5py.File(GOLDEN) as old, h5py.File(new) as now:
        names = {}
        for key, file in (("old", old), ("now", now)):
            names[key] = []
            file.visititems(lambda n, item, k=key: names[k].append(n) if isinstance(item, h5py.Dataset) else None)
        assert names["old"] == names["now"]
        assert {str(name, "ascii") for name in now[MACHINE][()]} <= {*NAMES, ""}
        for name in set(names["old"]) - {MACHINE}:
            a, b = old[name][()], now[name][()]
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), name
        for name in set(old.attrs) - VARY:
            assert old.attrs[name] == now.attrs[name], name
    new.unlink()
