"""How far two results of any operator can be apart: the rules of `float_rules` and `float_rules_more` by name."""

from collections.abc import Sequence

import numpy as np

from cimemu.check import float_rules, float_rules_more
from cimemu.check.float_rules import Floats, Rule
from cimemu.layer.base import Layer

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
    return np.where(np.isnan(found), np.inf, found)
