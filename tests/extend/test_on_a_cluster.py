"""A converter and a variation model of plug-in files on a Dask cluster whose workers have never seen the files."""

import numpy as np
import pytest
from extend.test_extend import code
from stress.test_cluster import NEEDS_DASK, Cluster

import cimemu
from cimemu import plugins
from cimemu.prepare import load_recipe, quantized_network
from cimemu.stress import stress, sweep

pytestmark = [NEEDS_DASK, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def classes(tmp_path):
    """(converter, variation), whose files are gone: workers get their text with the task, or not at all."""
    found = []
    for page in ("adc", "variation"):
        path = tmp_path / f"of_{page}.py"
        path.write_text(code(page))
        found.append(cimemu.load_plugin(path)[0].target)
        path.unlink()
    yield found
    for path, _ in plugins.files():
        plugins.forget(path)


def test_stress_and_sweep_give_the_bytes_of_one_process(cluster, classes, tmp_path):
    converter, clustered = classes
    work = cimemu.load_workload("digits")
    arch = cimemu.load_arch("rram_128", {"macro.adc": converter(bits=5)})
    images, labels = work.inputs(4)
    network = quantized_network(work, arch)
    for name, where in (("one", {"workers": 1}), ("many", {"scheduler": cluster.address})):
        vary = ["clustered_stuck:share=0.05,0.2"]
        found = stress(arch, network, images, labels, vary=vary, trials=3, out=tmp_path / f"stress_{name}.h5", **where)
        assert not any(found.errors)
        points = {"macro.adc": [converter(bits=4), converter(bits=5, growth=1.3)]}
        swept = sweep(
            arch, load_recipe(work), images, labels, vary=points, models=[clustered(share=0.1)],
            out=tmp_path / f"sweep_{name}.h5", **where,
        )  # fmt: skip
        assert not any(swept.errors)
    for kind in ("stress", "sweep"):
        one, many = (tmp_path / f"{kind}_{name}.h5" for name in ("one", "many"))
        assert one.read_bytes() == many.read_bytes(), kind
        said = cimemu.open_trace(one).attributes["plugins"]
        assert "converter logarithmic" in said
        assert "variation clustered_stuck" in said
    assert np.isfinite(found.own_error).all()
