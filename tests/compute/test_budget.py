"""The memory budget of a batch cuts it into parts."""

import nets
import numpy as np

import cimemu
from cimemu.compute import forward
from cimemu.compute.forward import Emulator


def test_tensors_have_half_of_the_budget_of_a_batch(monkeypatch):
    """With room for n images' tensors in half of the budget, n images are computed together."""
    network = nets.residual_network()
    macro = cimemu.load_arch("rram_128").macro
    images = np.zeros((7, 3, 5, 4), dtype=np.uint8)
    each = forward.live_bytes(network, frozenset())
    seen = []
    part = Emulator._run_part
    monkeypatch.setattr(
        Emulator, "_run_part", lambda self, inputs, *rest: seen.append(len(inputs[0])) or part(self, inputs, *rest)
    )
    for budget, parts in ((1, [1] * 7), (4 * each, [2, 2, 2, 1]), (6 * each - 1, [2, 2, 2, 1]), (6 * each, [3, 3, 1])):
        seen.clear()
        Emulator(network, macro, budget_bytes=budget).run([images])
        assert seen == parts
