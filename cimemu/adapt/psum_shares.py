"""How fast steps of converters are learned: LSQ's share of their gradients, in units of what they stand for."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from cimemu.adapt.fake_macro import FakeMacro


def psum_shares(macro: "FakeMacro", number: Any, groups: int, input_step: float) -> Any:
    """Shares [groups] of the gradients of steps in psums; `number` [row blocks, columns] says which column has which.

    LSQ's share `1 / sqrt(n top)` (Esser et al., ICLR 2020, section 2.2) is for a step in units of real activations, as
    `n` numbers of an image have it. A psum stands for its weight's and its input's step times the places of its weight
    slice and its input slice: a step of U such units, U^2 their mean square over all that share it, moves by its gradient
    over U^2. (Without the places, 1 against up to 2^14 at 8 bits a slice each, steps jumped beyond every psum at once.)
    """
    with torch.no_grad():
        factor, correction = macro.factors(macro.written().scale)
    inputs = sum(place**2 for place in macro.input_places) * input_step**2
    correction_rule = macro.macro.correction
    doubled = float(correction_rule.of_y) ** 2
    columns = number.to(factor.device)[macro.wiring.block_of]  # [arrays' rows, outputs * conversions]
    count, square = torch.zeros(groups), torch.zeros(groups)
    slices = torch.full(columns.shape, float(len(macro.input_places)))
    count.index_add_(0, columns.flatten(), slices.flatten())
    square.index_add_(0, columns.flatten(), doubled * inputs * factor.flatten().square())
    if macro.has_reference:
        last = columns[:, macro.last_column]  # [arrays' rows, arrays]
        sums = torch.einsum("gn,an->ga", correction.square(), macro.of_array) * correction_rule.of_inputs**2
        count.index_add_(0, last.flatten(), torch.full(last.shape, float(len(macro.input_places))).flatten())
        square.index_add_(0, last.flatten(), inputs * sums.flatten())
    units = square / count.clamp(min=1)
    return (count * macro.geometry.positions * macro.top).clamp(min=1).rsqrt() / units.clamp(
        min=torch.finfo(torch.float32).tiny
    )
