"""How fast steps of converters are learned: LSQ's share of their gradients, in units of what they stand for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cimemu.encoding.base import Correction


@dataclass(frozen=True, eq=False)
class PsumUse:
    """What a layer's partial sums stand for, in units of its weights' and inputs' integers."""

    factor: Any  # [arrays' rows, outputs * conversions] what a converted column counts
    correction: Any  # [arrays' rows, outputs] what the encoding's sum of inputs counts
    rule: Correction
    input_places: Sequence[float]  # of every input slice
    block_of: Any  # [arrays' rows] row block
    last_columns: Any  # [arrays] whose references a reference column has; None: there is no such column
    of_array: Any  # [arrays, outputs] 1 where the output lies in the array
    positions: int  # output positions of an image
    top: int  # largest code


def psum_shares(use: PsumUse, number: Any, groups: int, input_step: float) -> Any:
    """Shares [groups] of the gradients of steps in psums; `number` [row blocks, columns] says which column has which.

    LSQ's share `1 / sqrt(n top)` (Esser et al., ICLR 2020, section 2.2) is for a step in units of real activations, as
    `n` numbers of an image have it. A psum stands for its weight's and its input's step times the places of its weight
    slice and its input slice: a step of U such units, U^2 their mean square over all that share it, moves by its gradient
    over U^2. (Without the places, 1 against up to 2^14 at 8 bits a slice each, steps jumped beyond every psum at once.)
    """
    factor, slices = use.factor, float(len(use.input_places))
    inputs = sum(place**2 for place in use.input_places) * input_step**2
    doubled = float(use.rule.of_y) ** 2
    columns = number.to(factor.device)[use.block_of]  # [arrays' rows, outputs * conversions]
    count, square = torch.zeros(groups), torch.zeros(groups)
    count.index_add_(0, columns.flatten(), torch.full(columns.shape, slices).flatten())
    square.index_add_(0, columns.flatten(), doubled * inputs * factor.flatten().square())
    if use.last_columns is not None:
        last = columns[:, use.last_columns]  # [arrays' rows, arrays]
        sums = torch.einsum("gn,an->ga", use.correction.square(), use.of_array) * use.rule.of_inputs**2
        count.index_add_(0, last.flatten(), torch.full(last.shape, slices).flatten())
        square.index_add_(0, last.flatten(), inputs * sums.flatten())
    units = square / count.clamp(min=1)
    return (count * use.positions * use.top).clamp(min=1).rsqrt() / units.clamp(min=torch.finfo(torch.float32).tiny)
