"""Weights in the training forward: learned steps (LSQ) of uniform integers, or two levels in closed form."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cimemu.adapt.rounding import bounded, rounded, signs, slowed
from cimemu.errors import WorkloadError
from cimemu.ptq.cut import Cut
from cimemu.ptq.scheme import BinaryWeights, UniformWeights
from cimemu.ptq.weight_scales import largest_code

TINY = 1e-9


class Written(NamedTuple):
    """Integers and what they stand for: `w = scale * (sum of slices times factors) + offset`."""

    integers: Any  # [N, K]
    scale: Any  # [N, row blocks]
    offset: Any | None  # [N, row blocks]


class Groups:
    """Which weights share a scale: numbers [N, row blocks] and [N, K] of one granularity of a cut."""

    def __init__(self, cut: Cut, granularity: str) -> None:
        """The groups numbered from 0 without gaps."""
        found, number = np.unique(cut.groups(granularity), return_inverse=True)
        self.count = len(found)
        by_block: NDArray[np.int64] = number.reshape(len(cut.array), cut.blocks).astype(np.int64)
        self.by_block = torch.from_numpy(by_block)
        self.by_weight = torch.from_numpy(np.take_along_axis(by_block, cut.block, axis=1))
        self.sizes = torch.bincount(self.by_weight.flatten(), minlength=self.count).clamp(min=1)

    def mean(self, values: Any) -> Any:
        """Means of values [N, K] by group."""
        total = torch.zeros(self.count, dtype=values.dtype, device=values.device)
        where = self.by_weight.to(values.device).flatten()
        return total.index_add(0, where, values.flatten()) / self.sizes.to(values.device)


def uniform(w: Any, step: Any, least: Any, groups: Groups, rule: UniformWeights) -> Written:
    """Integers of weights `w` [N, K] by learned steps [groups], `least` at the least; LSQ (Esser et al., ICLR 2020)."""
    top = largest_code(rule.bits)
    per_group = max(1.0, w.numel() / groups.count)
    learned = bounded(slowed(step, float((per_group * top) ** -0.5)), least)
    of_weight = learned[groups.by_weight.to(w.device)]
    scaled = w / of_weight
    integers = signs(scaled) if rule.bits == 1 else rounded(scaled.clamp(-top, top))
    return Written(integers, learned[groups.by_block.to(w.device)], None)


def binary(w: Any, groups: Groups, rule: BinaryWeights) -> Written:
    """Two levels a group, anew each step: the closed form of `cimemu.ptq.binary`.

    closed_form: `B = sign(w - mu)`, `alpha = mean|w - mu| / (1 - mb^2)`, `beta = mu - alpha mb`. centred: the same B,
    `alpha = mean|w - mu|`, beta = 0. xnor: `B = sign(w)`,
    `alpha = mean|w|`, beta = 0. Gradients go through signs, times alpha, and through alpha (XNOR-Net, section 3.1), not
    through mu and beta: signs learn alpha times slower than a float weight, and beside them the mean that all weights of
    a layer share moved so fast that networks ended at chance.
    """
    where = groups.by_weight.to(w.device)
    blocks = groups.by_block.to(w.device)
    if rule.method == "xnor":
        return Written(signs(w), groups.mean(w.abs()).clamp(min=TINY)[blocks], None)
    if rule.method == "exact":
        raise WorkloadError("weights.method = exact has no gradient: train closed_form, centred or xnor")
    mu = groups.mean(w.detach())
    centred = w - mu[where]
    b = signs(centred)
    if rule.method == "centred":
        return Written(b, groups.mean(centred.abs()).clamp(min=TINY)[blocks], None)
    mb = groups.mean(b.detach())
    alpha = (groups.mean(centred.abs()) / (1 - mb**2).clamp(min=TINY)).clamp(min=TINY)
    return Written(b, alpha[blocks], (mu - alpha.detach() * mb)[blocks])
