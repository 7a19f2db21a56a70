"""One matrix of integers through the training forward: what training computes for a macro, beside `cimemu.mvm`."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cimemu.adapt.digits import seen_by_converters
from cimemu.adapt.fake_macro import FakeMacro
from cimemu.adc import IdealAdc, LinearAdc, plain
from cimemu.arch.macro import Macro
from cimemu.errors import WorkloadError
from cimemu.layer.macro_layer import Geometry
from cimemu.macro.encode import columns_of
from cimemu.mapping.layout import make_layout
from cimemu.ptq.scheme import Scheme, UniformWeights


def trained_product(x: NDArray[Any], w: NDArray[Any], macro: Macro) -> NDArray[np.float32]:
    """Real outputs [P, N] of inputs `x` [P, K] and integer weights `w` [K, N] as the training forward makes them.

    Weights lie within +-(2^(bits - 1) - 1), which training keeps to, and the converter is ideal or linear of one lsb and
    zero. float32 holds the integers exactly as long as they stay below 2^24. Raises WorkloadError for another converter.
    """
    rows, outputs = w.shape
    scheme = Scheme(weights=UniformWeights(bits=macro.weight.bits, granularity="layer"))
    latent = torch.from_numpy(np.ascontiguousarray(w.T, dtype=np.float32))
    geometry = Geometry(rows, 1, 1, outputs, 1, 1)
    fake = FakeMacro(geometry, macro, scheme, latent, gradient="proper", parity=False, norm=False)
    adc = plain(macro.adc)
    if isinstance(adc, LinearAdc) and not isinstance(adc.lsb, list) and not isinstance(adc.zero, list):
        layout = make_layout(rows, outputs, macro)
        shape = (len(layout.row_blocks), outputs * macro.conversions_per_output)
        fake.fix_steps(torch.full(shape, adc.lsb), torch.full(shape, adc.zero), 2**adc.bits - 1)
    elif not isinstance(adc, IdealAdc):
        raise WorkloadError(f"trained_product: adc.model {adc.model} of several values, use ideal or linear of one lsb")
    u = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))[:, :, None, None]
    with torch.no_grad():
        made = fake(u, torch.tensor(1.0), 0.0)
    return np.asarray(made.reshape(len(x), outputs).numpy())


def weight_slopes(w: NDArray[Any], macro: Macro) -> NDArray[np.float64]:
    """Slope [K, N] of what the columns of each weight of `w` [K, N] add up to, by the weight: 1 where training is right."""
    latent = torch.from_numpy(np.ascontiguousarray(w.T, dtype=np.float64)).requires_grad_()
    seen = seen_by_converters(latent, macro, "proper")
    place = torch.from_numpy(columns_of(macro).weight.astype(np.float64))
    (macro.correction.of_y * torch.einsum("nvk,v->nk", seen.digits, place)).sum().backward()
    assert latent.grad is not None
    return np.asarray(latent.grad.numpy().T)
