"""How far two results of any operator can be apart: the rules of `float_rules` and `float_rules_more` by name."""

from collections.abc import Sequence

import numpy as np

from cimemu.check import float_rules, float_rules_more
from cimemu.check.float_rules import Floats, Rule, U
from cimemu.layer.base import Array, Layer
from cimemu.layer.recurrent import RecurrentCell

ALL_RULES: dict[str, Rule] = {**float_rules.RULES, **float_rules_more.RULES}
ALL_EXACT = float_rules.EXACT | float_rules_more.EXACT


def result_apart(layer: Layer, x: Sequence[Floats], apart: Sequence[Floats], y: Floats) -> Floats:
    """How far two results of `layer` can be apart; unbounded where it has no rule and its operands are apart."""
    wide = [np.asarray(np.broadcast_to(d, v.shape), dtype=np.float64) for v, d in zip(x, apart)]
    rule = ALL_RULES.get(layer.op)
    if rule is None:
        open_ends = any(d.any() for d in wide) or layer.op not in ALL_EXACT
        return np.full(y.shape, np.inf if open_ends else 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.broadcast_to(np.asarray(rule(layer, x, wide, y), dtype=np.float64), y.shape)
        # The rules round y; the other side rounds its own result, which is as far from y as what is found here.
        found = found * (1 + 64 * U)
    return np.where(np.isnan(found), np.inf, found)


def cell_apart(cell: RecurrentCell, operands: Sequence[Array], distances: Sequence[Floats]) -> list[Floats]:
    """How far the results of a recurrent network's cell can be apart: the rules of its parts, one after the other."""
    values = dict(zip(cell.reads, operands))
    apart = {n: np.broadcast_to(d, np.shape(v)) for n, v, d in zip(cell.reads, operands, distances)}
    for part in cell.parts:
        given = [values[name] for name in part.inputs]
        made = part.forward(given)
        own = [apart[name] for name in part.inputs]
        if part.op == "Split":
            found = list(part.forward([np.asarray(own[0], dtype=np.float64)]))
        else:
            x = [np.asarray(v, dtype=np.float64) for v in given]
            found = [result_apart(part, x, own, np.asarray(made[0], dtype=np.float64))]
        values.update(zip(part.outputs, made))
        apart.update(zip(part.outputs, found))
    return [apart[name] for name in cell.makes]
