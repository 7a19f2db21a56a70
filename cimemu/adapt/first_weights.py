"""A network of the same shapes with first weights: what training from scratch begins with."""

from dataclasses import replace

import numpy as np

from cimemu.layer.conv import Conv
from cimemu.layer.matmul import Gemm
from cimemu.layer.norm import BatchNormalization
from cimemu.workload.network import Network


def with_first_weights(network: Network, seed: int) -> Network:
    """`network` (float) with weights drawn from `seed`: normal with variance 2 / fan-out (He et al., ICCV 2015).

    Normalisations begin with scale 1 and mean 0, and every bias is 0.
    """
    constants, draws = dict(network.constants), np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, 3))))

    def fill(name: str, value: float) -> None:
        constants[name] = np.full_like(constants[name], value)

    for layer in network.layers:
        if isinstance(layer, BatchNormalization):
            for name, value in zip(layer.inputs[1:], (1, 0, 0, 1), strict=True):  # scale, bias, mean, variance
                fill(name, value)
        elif isinstance(layer, Conv | Gemm) and layer.inputs[1] in constants:
            weight = constants[layer.inputs[1]]
            outputs = weight.shape[0] if isinstance(layer, Conv) or layer.trans_b else weight.shape[1]
            taps = int(np.prod(weight.shape[2:]))
            spread = np.sqrt(2 / (outputs * taps))
            constants[layer.inputs[1]] = (spread * draws.standard_normal(weight.shape)).astype(weight.dtype)
            for name in layer.inputs[2:]:
                fill(name, 0)
    return replace(network, constants=constants)
