"""An input that the macros' input bits cannot hold is refused wherever it stands, also where the product is exact."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.layer.base import TensorType

NETWORK = nets.network("one", [nets.matrix_layer("a", "x", "t", 4, 20, 5)], {"x": TensorType((4, 20), "uint8")}, ["t"])


@pytest.mark.parametrize("adc", [{"model": "ideal"}, {"model": "linear", "bits": 5}, {"model": "linear", "bits": 3}])
@pytest.mark.parametrize("bits", [1, 4, 7, 8])
def test_the_largest_input_is_taken_and_the_next_is_refused_by_name(adc, bits):
    arch = cimemu.load_arch("rram_128", {"macro.input.bits": bits, "macro.adc": adc})
    largest = 2**bits - 1
    x = np.zeros((3, 4, 20), dtype=np.uint8)
    x[2, 1, 7] = largest
    result = cimemu.run(arch, NETWORK, x, detail=None)
    if adc["model"] == "ideal":
        column = NETWORK.layers[0].weight[:, 7, 0, 0].astype(int)
        assert result.outputs[2, 1].tolist() == (largest * column).tolist()
    if bits < 8:
        x[2, 1, 7] = largest + 1
        with pytest.raises(
            cimemu.WorkloadError, match=rf"= {largest + 1}, must be 0 .. {largest} \(input.bits = {bits}"
        ):
            cimemu.run(arch, NETWORK, x, detail=None)
