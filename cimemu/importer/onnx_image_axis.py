"""Where the images of an open batch lie in a whole tensor of the file, so that no operator mixes them unseen.

A network whose batch is open may swap that axis to the middle, join it with another and take it apart again: harmless as long
as no operator picks, joins, orders or adds along it. A place is (axis, elements of that axis within one image's step): the
batch itself, (0, 1), or a part of a joined axis. Networks of a literal batch of 1 have one image and need none of this.
"""

from collections.abc import Callable, Sequence

import numpy as np

from cimemu.importer.onnx_whole import ELEMENTS, OPERANDS, REDUCTIONS, WholeNode

Place = tuple[int, int]
Places = Sequence[Place | None]  # of a node's inputs; None: a constant
FAR = 10**9  # an end of a slice that no number of images reaches


def place_of(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Of the node's output of that shape. WorkloadError where the operator mixes images."""
    if node.op not in FOLLOWED:
        raise apart(node, "is not known to leave alone")
    return FOLLOWED[node.op](node, places, shape)


def apart(node: WholeNode, what: str) -> Exception:
    """What is said of an operator that mixes images."""
    return node.error(
        f"{what} the axis of the images: images must stay apart; for one image at a time, fix the batch to 1"
    )


def same(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Elements stay where they are."""
    return _given(places)


def aligned(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Operands meet at their last axes; none may differ along the images."""
    found = {
        (place[0] + len(shape) - len(own), place[1]) for place, own in zip(places, node.shapes) if place is not None
    }
    if len(found) > 1:
        raise apart(node, "operands meet across")
    (place,) = found
    for own, given in zip(node.shapes, places):
        axis = place[0] - len(shape) + len(own)
        if given is None and 0 <= axis < len(own) and own[axis] != 1:
            raise apart(node, "a constant differs along")
    return place


def untouched(axes_of: Callable[[WholeNode], Sequence[int]], dropped: bool = False) -> Callable[..., Place]:
    """Operators along axes that are none of the images'; `dropped`: these may vanish."""

    def rule(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
        (axis, inner), rank = _given(places), max(len(own) for own, p in zip(node.shapes, places) if p is not None)
        axes = [a % rank for a in axes_of(node)]
        if axis in axes:
            raise apart(node, "works along")
        return (axis - sum(a < axis for a in axes) if dropped and len(shape) < rank else axis), inner

    return rule


def transposed(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Where the permutation takes it."""
    axis, inner = _given(places)
    rank = len(node.shapes[0])
    return [int(a) for a in node.attribute("perm", range(rank)[::-1])].index(axis), inner


def reshaped(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """The axis whose size follows the number of images: by the target itself, as a copy, or as what is left over (-1)."""
    axis, _ = _given(places)
    target = node.numbers(1, "shape") or []
    other = (
        [int(v) for v in np.atleast_1d(node.varying.get(node.inputs[1], target))] if len(node.inputs) > 1 else target
    )
    found = [i for i, (one, many) in enumerate(zip(target, other)) if one != many]
    if not found and not node.attribute("allowzero", 0) and axis < len(target) and target[axis] == 0:
        found = [axis]
    found = found or [i for i, size in enumerate(target) if size == -1]
    if len(found) != 1:
        raise apart(node, "fixes the size of")
    return _inner(node, places, shape, found[0])


def flattened(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Before the cut, or behind it."""
    cut_at = int(node.attribute("axis", 1))
    cut_at += len(node.shapes[0]) if cut_at < 0 else 0
    return _inner(node, places, shape, 0 if _given(places)[0] < cut_at else 1)


def squeezed(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """One of the axes that are kept."""
    (axis, inner), own = _given(places), node.shapes[0]
    axes = node.numbers(1, "axes")
    gone = [a % len(own) for a in axes] if axes is not None else [a for a, size in enumerate(own) if size == 1]
    if axis in gone:
        raise apart(node, "drops")
    return axis - sum(a < axis for a in gone), inner


def unsqueezed(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Moved by the new axes before it."""
    axis, inner = _given(places)
    added = {a % len(shape) for a in node.numbers(1, "axes") or []}
    return [a for a in range(len(shape)) if a not in added][axis], inner


def _inner(node: WholeNode, places: Places, shape: Sequence[int], axis: int) -> Place:
    """Images lie in axis `axis` of the output: the elements of it that one image's step has."""
    old, inner = _given(places)
    step = inner * int(np.prod(node.shapes[0][old + 1 :], dtype=np.int64))
    behind = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    if not behind or step % behind or shape[axis] % (step // behind):
        raise apart(node, "cuts across")
    return axis, step // behind


def gathered(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Picked along another axis; rows of a constant table lie where their indices were."""
    axis, inner = _given(places)
    if places[0] is None:
        return axis, inner
    along = int(node.attribute("axis", 0)) % len(node.shapes[0])
    if along == axis:
        raise apart(node, "picks along")
    return (axis + len(node.shapes[1]) - 1 if axis > along else axis), inner


def cut(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Only the whole of the images' axis may be named."""
    axis, inner = _given(places)
    starts, ends = node.numbers(1, "starts") or [], node.numbers(2, "ends") or []
    axes, steps = node.numbers(3, "axes") or range(len(starts)), node.numbers(4, "steps") or [1] * len(starts)
    for along, start, end, step in zip(axes, starts, ends, steps):
        if (along % len(node.shapes[0]) == axis and (start, step) != (0, 1)) or (along == axis and end < FAR):
            raise apart(node, "picks along")
    return axis, inner


def grown(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Pad, Expand, Tile: never along the images."""
    axis, inner = _given(places)
    moved = axis + len(shape) - len(node.shapes[0])
    if shape[moved] != node.shapes[0][axis]:
        raise apart(node, "adds elements along")
    return moved, inner


def product(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Rows or outer axes may be images; sums run over none, and two operands meet image by image."""
    flips = [bool(node.attribute(name, 0)) for name in ("transA", "transB")]
    found: set[Place] = set()
    rank = max(len(own) for own in node.shapes[:2])
    for i, (own, place) in enumerate(zip(node.shapes[:2], places)):
        summed = (len(own) - 1 if i == 0 else max(0, len(own) - 2)) if not flips[i] else (0, 1)[i]
        if place is None:
            continue
        if place[0] == summed:
            raise apart(node, "adds up along")
        if places[1 - i] is not None and place[0] >= len(own) - 2:
            raise apart(node, "multiplies images across")
        axis = place[0] if not flips[i] else 1 - place[0]
        found.add((axis + rank - len(own), place[1]))
    if len(found) != 1:
        raise apart(node, "operands meet across")
    (place,) = found
    other = next((own for own, given in zip(node.shapes, places[:2]) if given is None), ())
    axis = place[0] - rank + len(other)
    if 0 <= axis < len(other) - 2 and other[axis] != 1:
        raise apart(node, "a constant differs along")
    return place[0] - rank + len(shape), place[1]


def recurrent(node: WholeNode, places: Places, shape: Sequence[int]) -> Place:
    """Sequences of a batch stay apart: behind the steps, or in front of all (layout 1)."""
    in_front = bool(node.attribute("layout", 0))
    wanted = {0: 0 if in_front else 1, 4: 0, 5: 0 if in_front else 1, 6: 0 if in_front else 1}
    for position, place in enumerate(places):
        if place is not None and place != (wanted.get(position, -1), 1):
            raise apart(node, "works along")
    return (0 if in_front else 2 if len(shape) == 4 else 1), 1


def _given(places: Places) -> Place:
    return next(place for place in places if place is not None)


def _axis(default: int) -> Callable[[WholeNode], Sequence[int]]:
    return lambda node: [int(node.attribute("axis", default))]


def _from_axis(node: WholeNode) -> Sequence[int]:
    """All axes from `axis` on: normalisations, and the older Softmax."""
    rank = len(node.shapes[0])
    return range(int(node.attribute("axis", -1)) % rank, rank)


def _reduced(node: WholeNode) -> Sequence[int]:
    axes = node.numbers(1, "axes")
    return axes or ([] if node.attribute("noop_with_empty_axes", 0) else range(len(node.shapes[0])))


FOLLOWED: dict[str, Callable[[WholeNode, Places, Sequence[int]], Place]] = {
    **dict.fromkeys((*ELEMENTS, "BitCast", "CastLike", "QuantizeLinear", "DequantizeLinear"), same),
    **dict.fromkeys((*OPERANDS, "SwiGLU"), aligned),
    **dict.fromkeys(REDUCTIONS, untouched(_reduced, dropped=True)),
    **dict.fromkeys(("ArgMax", "ArgMin"), untouched(_axis(0), dropped=True)),
    **dict.fromkeys(("Concat", "Split"), untouched(_axis(0))),
    **dict.fromkeys(("TopK", "LpNormalization"), untouched(_axis(-1))),
    **dict.fromkeys(
        ("Softmax", "LogSoftmax", "Hardmax", "LayerNormalization", "RMSNormalization"), untouched(_from_axis)
    ),
    **dict.fromkeys(("Pad", "Expand", "Tile"), grown),
    "Reshape": reshaped,
    "Flatten": flattened,
    "Squeeze": squeezed,
    "Unsqueeze": unsqueezed,
    **dict.fromkeys(("MatMul", "MatMulInteger", "Gemm"), product),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "com.microsoft:DynamicQuantizeLSTM"), recurrent),
    "Gather": gathered,
    "Slice": cut,
    "Transpose": transposed,
}
