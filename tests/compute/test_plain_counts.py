"""Counts by one product are the counts of the parts."""

import nets
import numpy as np
import pytest

import cimemu
from cimemu.compute.batch import LayerBatch

CHIPS = (
    {},
    {"macro.input.dac_bits": 2},
    {"macro.input.dac_bits": 2, "macro.input.dac": "voltage"},
    {"macro.adc.bits": 4},
    {"macro.rows": 16, "macro.active_rows": 8, "macro.columns": 16},
    {"macro.weight.encoding": "differential"},
    {"macro.weight.encoding": "offset", "macro.weight.correction": "reference_column"},
)


@pytest.mark.parametrize("changes", CHIPS, ids=str)
@pytest.mark.parametrize("vary", [(), ("lognormal:sigma=0.2",)])
def test_a_layer_is_counted_alike_both_ways(monkeypatch, changes, vary):
    arch, asked = cimemu.load_arch("rram_128", changes), []
    plainly = LayerBatch._counted_plainly
    monkeypatch.setattr(LayerBatch, "_counted_plainly", lambda *given: asked.append(plainly(*given)) or asked[-1])
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 4)).astype(np.uint8)
    at_once = cimemu.run(arch, nets.residual_network(), x, detail=None, vary=vary)
    assert any(asked)
    monkeypatch.setattr(LayerBatch, "_counted_plainly", lambda *given: False)
    in_parts = cimemu.run(arch, nets.residual_network(), x, detail=None, vary=vary)
    assert np.array_equal(at_once.counts, in_parts.counts)
