"""Steps that `timing.skip_zero_slices` leaves out: a (group, slice) whose inputs are all zero gives 0, whatever its level of 0.

A skipped step is no conversion. Its psums are 0, so that what converters would have made of it is the same for all of them
and is taken off again; gradients of codes pass as if it had been converted (with a level of 0 at psum 0 nothing differs).
"""

from typing import Any

import torch

from cimemu.adapt.psums import Converters, converted
from cimemu.adapt.wiring import Wiring
from cimemu.arch.macro import Macro


def left_out(wiring: Wiring, part: Any, macro: Macro) -> Any:
    """[images, groups, height, width]: 1 where a group's codes of an input slice are all zero; None: nothing is left out."""
    if not macro.timing.skip_zero_slices:
        return None
    with torch.no_grad():
        return (wiring.input_sums((part != 0).to(part.dtype)) == 0).to(part.dtype)


def by_columns(skipped: Any, columns: int) -> Any:
    """[images, height, width, groups * columns] of [images, groups, height, width]."""
    return skipped.permute(0, 2, 3, 1).repeat_interleave(columns, dim=3)


def levels_of_zero(converters: Converters, groups: int, outputs: int) -> Any:
    """What psums of 0 give, [groups, outputs], with the gradients of what converters learn; columns [groups, ..., outputs]."""
    count = converters.given[2].shape[0]
    order = torch.arange(count).reshape(groups, -1, outputs).transpose(0, 1).flatten().to(converters.given[2].device)
    a, b, factor = (v[..., order] for v in converters.given)
    none = torch.zeros(1, 1, count, device=factor.device)
    return converted(none, Converters(converters.rule, (a, b, factor)), groups * outputs).reshape(groups, outputs)
