"""What goes into the interconnect and what comes out, from the task graph alone."""

import numpy as np

from cimemu.events import Cause, Kind
from cimemu.timing.graph import Template

ON_THE_WAY = (int(Cause.BUS), int(Cause.NOC))


def interconnect_flow(template: Template) -> tuple[int, int]:
    """(bits in, bits out) of one image: of the moves that no move comes before, and of those that none follows."""
    moves = template.kind == Kind.MOVE
    source = np.repeat(np.arange(template.tasks), np.diff(template.first_edge))
    on_the_way = np.isin(template.cause, ON_THE_WAY)  # a move may also wait for room that another one leaves
    hops = moves[source] & moves[template.successor] & (template.lag == 0) & on_the_way
    starts, ends = moves.copy(), moves.copy()
    starts[template.successor[hops]] = False
    ends[source[hops]] = False
    return int(template.bits[starts].sum()), int(template.bits[ends].sum())
