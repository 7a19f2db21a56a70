"""Builders of ONNX's recurrent operators: LSTM, GRU and RNN of all directions, layouts and activations, unrolled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cimemu.importer.dynamic_products import Codes
from cimemu.importer.onnx_node import WHOLE_FORM, Node
from cimemu.importer.onnx_ops import Builder
from cimemu.importer.recurrent_cells import GATES, STATES, Function, Gates, functions_of
from cimemu.importer.unroll import MOST_STEPS, Sequences, Unrolled, Unroller, Weights
from cimemu.layer.base import Array, Layer
from cimemu.layer.shape import Concat, Reshape, Split, Transpose

DYNAMIC = "com.microsoft:DynamicQuantizeLSTM"  # of ONNX Runtime's dynamic quantiser
STEPS_IN_FRONT = "layout = 0 has the images on axis 1 of its inputs"  # read as a whole, such a node may do
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True)
class _Form:
    """How the file lays tensors out: `whole` ones have an axis of the batch, which others leave to the images."""

    whole: bool
    batch_first: bool
    steps: int
    batch: int

    def states(self, x: Array, direction: int) -> Array:
        """[batch, hidden] of one direction of a stored initial state."""
        found: Array = x[:, direction] if self.batch_first else x[direction]
        return found if self.whole else found[:1]


def _kind(node: Node) -> str:
    """LSTM, GRU or RNN."""
    return "LSTM" if node.key == DYNAMIC else node.op


def _recurrent(node: Node) -> Sequence[Layer]:
    form, dtype = _form(node), node.dtype()
    label = str(node.attribute("direction", "forward")).lower()
    if label not in DIRECTIONS:
        raise node.error(f"direction = {label}, must be one of {', '.join(DIRECTIONS)}")
    turns = DIRECTIONS[label]
    kept: dict[str, str] = {}

    def keep(what: str, value: Array) -> str:
        if what not in kept:
            kept[what] = node.fresh(what.removeprefix(f"{node.name}."))
            node.make_constant(kept[what], value)
        return kept[what]

    made = Unroller(node.name, keep, node.constants)
    states = [_initial(node, made, form, place, turns) for place in range(5, 5 + STATES[_kind(node)])]
    if _kind(node) != "LSTM":
        states.append([""] * len(turns))
    sequences = _sequences(node, made, form, dtype)
    results = []
    for number, (gates, weights) in enumerate(_directions(node, turns, keep)):
        side = "reverse" if weights[2] else "forward"
        own = Weights(*weights, states[0][number], states[1][number], _codes(node, form, number))
        results.append(made.direction(side, gates, own, sequences))
    _outputs(node, made, form, results)
    return made.layers


def _form(node: Node) -> _Form:
    whole, batch_first = bool(node.attribute(WHOLE_FORM, 0)), bool(node.attribute("layout", 0))
    shape = node.shape()
    if not whole and not batch_first:
        raise node.error(
            f"{STEPS_IN_FRONT}: images must stay apart; fix the batch to 1, or export with the batch in front"
        )
    if len(shape) != (3 if whole else 2):
        raise node.error(f"inputs of shape {shape} behind the axis of images, must be steps, batch and inputs")
    steps, batch = (shape[0], 1) if not whole else shape[1::-1] if batch_first else shape[:2]
    if not 1 <= steps <= MOST_STEPS:
        raise node.error(f"{steps} steps, must be 1..{MOST_STEPS}: every step is a layer; cut the sequence in parts")
    return _Form(whole, batch_first, steps, batch)


def _sequences(node: Node, made: Unroller, form: _Form, dtype: str) -> Sequences:
    """The inputs as a matrix of all steps, and the lengths of the sequences."""
    x, width = node.inputs[0], node.shape()[-1]
    if form.whole:
        if form.batch_first and form.batch > 1:
            turned = f"{node.name}.turned"
            x = made.add(Transpose(turned, (x,), (turned,), (0, 2, 1, 3)))
        rows = f"{node.name}.rows"
        x = made.add(Reshape(rows, (x,), (rows,), (form.steps * form.batch, width)))
    if not node.has(4):
        return Sequences(x, form.steps, form.batch, dtype)
    if node.is_constant(4):
        lengths = node.constant(4, "sequence_lens").reshape(-1)
        if not form.whole and len(set(lengths.tolist())) > 1:
            raise node.error(f"sequence_lens = {lengths.tolist()} differ between images: give them as an input")
        lengths = lengths if form.whole else lengths[:1]
        if len(lengths) != form.batch or lengths.min() < 0 or lengths.max() > form.steps:
            raise node.error(f"sequence_lens = {lengths.tolist()}, must be {form.batch} of 0..{form.steps}")
        return Sequences(x, form.steps, form.batch, dtype, fixed=lengths)
    if node.dtype(4) != "int32" or len(node.shape(4)) != int(form.whole):
        raise node.error(f"sequence_lens are {node.dtype(4)} of shape {node.shape(4)}, must be int32, one a sequence")
    name = f"{node.name}.lengths"
    made.add(Reshape(name, (node.inputs[4],), (name,), (form.batch, 1)))
    return Sequences(x, form.steps, form.batch, dtype, lengths=name)


def _initial(node: Node, made: Unroller, form: _Form, place: int, turns: Sequence[bool]) -> list[str]:
    """Names of an initial state by direction; "" for zeros, so that the first step has no product."""
    if not node.has(place):
        return [""] * len(turns)
    what = {5: "initial_h", 6: "initial_c"}[place]
    hidden, count = _hidden(node), len(turns)
    sizes = (form.batch, count) if form.batch_first else (count, form.batch)
    wanted = (*(sizes if form.whole else sizes[1:]), hidden)
    found = node.constant(place, what).shape if node.is_constant(place) else node.shape(place)
    if found != wanted and not (node.is_constant(place) and not form.whole and found[1:] == wanted):
        raise node.error(f"{what} of shape {list(found)}, must be {list(wanted)}")
    if node.is_constant(place):
        value = node.constant(place, what)
        if not form.whole and (value != value[:1]).any():
            raise node.error(f"{what} differs between images, must be the same for all: give it as an input")
        parts = [form.states(value, d) for d in range(count)]
        return [made.keep(f"{what}.{d}", part[None]) if part.any() else "" for d, part in enumerate(parts)]
    pieces: tuple[str, ...] = (node.inputs[place],)
    axis = 1 + int(form.whole and form.batch_first)
    if count > 1:
        pieces = tuple(f"{node.name}.{what}.{d}" for d in range(count))
        made.add(Split(f"{node.name}.{what}", (node.inputs[place],), pieces, axis, (1,) * count))
    names = [f"{node.name}.{what}.{d}.rows" for d in range(count)]
    for piece, name in zip(pieces, names):
        made.add(Reshape(name, (piece,), (name,), (form.batch, hidden)))
    return names


def _directions(node: Node, turns: Sequence[bool], keep: Any) -> list[tuple[Gates, tuple[Array, Array, bool]]]:
    """Gates and weights of every direction."""
    count, kind = len(turns), _kind(node)
    gates = GATES[kind]
    w, r = _matrices(node)
    if w.ndim != 3 or r.ndim != 3 or r.shape != (count, gates * r.shape[-1], r.shape[-1]):
        raise node.error(
            f"W {list(w.shape)} and R {list(r.shape)}, must be [{count}, {gates} hidden, inputs or hidden]"
        )
    hidden = r.shape[-1]
    if w.shape != (count, gates * hidden, node.shape()[-1]) or int(node.attribute("hidden_size", hidden)) != hidden:
        raise node.error(
            f"W {list(w.shape)}, hidden_size and inputs of {node.shape()[-1]} do not fit R {list(r.shape)}"
        )
    functions = _functions(node, count)
    clip = node.attribute("clip")
    node.attribute("output_sequence")
    coupled, behind = bool(node.attribute("input_forget", 0)), bool(node.attribute("linear_before_reset", 0))
    b = node.constant(3, "B") if node.has(3) else None
    p = node.constant(7, "P") if kind == "LSTM" and node.has(7) else None
    for what, value, width in (("B", b, 2 * gates * hidden), ("P", p, 3 * hidden)):
        if value is not None and value.shape != (count, width):
            raise node.error(f"{what} of shape {list(value.shape)}, must be {[count, width]}")
    found = []
    for d, reverse in enumerate(turns):
        side = f"{node.name}.{'reverse' if reverse else 'forward'}"
        bias, inner = _biases(b[d] if b is not None else None, hidden, gates, behind and kind == "GRU")
        own = Gates(
            kind,
            hidden,
            functions[d],
            "" if bias is None else keep(f"{side}.bias", bias),
            "" if inner is None else keep(f"{side}.inner_bias", inner),
            ("", "", "") if p is None else _peepholes(side, p[d], hidden, keep),
            None if clip is None or not float(clip) else float(clip),
            coupled,
            behind,
        )
        found.append((own, (np.ascontiguousarray(w[d].T), np.ascontiguousarray(r[d].T), reverse)))
    return found


def _hidden(node: Node) -> int:
    """How many values a state has."""
    return int(node.constant(2, "R").shape[1 if node.key == DYNAMIC else -1])


def _matrices(node: Node) -> tuple[Array, Array]:
    """W and R [directions, gates * hidden, inputs or hidden] in real numbers."""
    if node.key != DYNAMIC:
        return node.constant(1, "W"), node.constant(2, "R")
    count = len(node.constant(1, "W"))
    parts = [_stored(node, direction) for direction in range(count)]
    w, r = (np.stack([pair[which].real.T for pair in parts]) for which in range(2))
    return w, r


def _codes(node: Node, form: _Form, direction: int) -> tuple[Codes, Codes] | None:
    """Those of a DynamicQuantizeLSTM."""
    if node.key != DYNAMIC:
        return None
    if form.batch != 1:
        raise node.error(f"{form.batch} sequences at a time are quantised together, must be one: fix the batch to 1")
    return _stored(node, direction)


def _stored(node: Node, direction: int) -> tuple[Codes, Codes]:
    """W and R of one direction of a DynamicQuantizeLSTM: [inputs or hidden, gates * hidden]."""
    found = []
    for place, what, scales in ((1, "W", 8), (2, "R", 10)):
        values = node.constant(place, what)
        if values.dtype.name not in ("int8", "uint8") or values.ndim != 3:
            raise node.error(
                f"{what} is {values.dtype} {list(values.shape)}, must be int8 or uint8 [directions, rows, outputs]"
            )
        outputs = values.shape[2]
        scale, zero = (
            np.asarray(node.constant(scales + k, f"{what}'s {name}")) for k, name in ((0, "scale"), (1, "zero point"))
        )
        for name, given in (("scale", scale), ("zero point", zero)):
            if given.shape not in ((len(values),), (len(values), outputs)):
                raise node.error(
                    f"{what}'s {name} of shape {list(given.shape)}, must be one a direction or one a column"
                )
        found.append(
            Codes(
                values[direction].astype(np.int16),
                np.broadcast_to(scale[direction].astype(np.float32), (outputs,)).copy(),
                np.broadcast_to(zero[direction].astype(np.int64), (outputs,)).copy(),
            )
        )
    return found[0], found[1]


def _functions(node: Node, directions: int) -> list[tuple[Function, ...]]:
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in node.attribute("activations", [])]
    factors = {s: [float(v) for v in node.attribute(f"activation_{s}", [])] for s in ("alpha", "beta")}
    found = functions_of(_kind(node), names, factors, directions)
    if isinstance(found, str):
        raise node.error(found)
    made: list[tuple[Function, ...]] = found
    return made


def _biases(b: Array | None, hidden: int, gates: int, behind: bool) -> tuple[Array | None, Array | None]:
    """(bias of all gates' sums, bias inside the last gate's product of a GRU that resets behind it)."""
    if b is None or not b.any():
        return None, None
    of_inputs, of_state = b[: gates * hidden].copy(), b[gates * hidden :].copy()
    inner = None
    if behind:
        inner, of_state[2 * hidden :] = of_state[2 * hidden :].copy(), 0
        inner = inner if inner.any() else None
    return of_inputs + of_state, inner


def _peepholes(side: str, p: Array, hidden: int, keep: Any) -> tuple[str, str, str]:
    """Of the input, output and forget gates, as the file has them."""
    first, second, third = (keep(f"{side}.peephole{i}", p[i * hidden : (i + 1) * hidden]) for i in range(3))
    return first, second, third


def _outputs(node: Node, made: Unroller, form: _Form, results: Sequence[Unrolled]) -> None:
    """Y, Y_h and Y_c, those that the file names."""
    hidden, steps, batch = _hidden(node), form.steps, form.batch
    turned = form.whole and form.batch_first
    states = ([result.hidden for result in results], [result.cell for result in results])
    for place, name in enumerate(node.outputs):
        if name and place == 0:
            parts = [made.joined(f"{name}:{d}", result.steps) for d, result in enumerate(results)]
            sizes: tuple[int, ...] = (steps, batch, 1) if turned else (steps, 1, batch) if form.whole else (steps, 1)
            laid = [_laid(made, f"{name}:laid{d}", part, (*sizes, hidden), turned) for d, part in enumerate(parts)]
            _together(made, name, laid, 3 if turned else 2)
        elif name:
            sizes = (batch, 1) if turned else (1, batch) if form.whole else (1,)
            laid = [f"{name}:laid{d}" for d in range(len(results))]
            for own, part in zip(laid, states[place - 1]):
                made.add(Reshape(own, (part,), (own,), (*sizes, hidden)))
            _together(made, name, laid, 2 if turned else 1)


def _laid(made: Unroller, name: str, part: str, sizes: tuple[int, ...], turned: bool) -> str:
    """A direction's outputs of all steps with the axes of the file, `turned` where the batch stands before the steps."""
    laid = made.add(Reshape(name, (part,), (name,), sizes))
    if not turned:
        return laid
    return made.add(Transpose(f"{name}:turned", (laid,), (f"{name}:turned",), (0, 2, 1, 3, 4)))


def _together(made: Unroller, name: str, parts: Sequence[str], axis: int) -> None:
    """All directions as the tensor `name`."""
    if len(parts) > 1:
        made.add(Concat(name, tuple(parts), (name,), axis))
    else:
        made.layers[-1] = replace(made.layers[-1], outputs=(name,))


RECURRENT: dict[str, Builder] = dict.fromkeys((*GATES, DYNAMIC), _recurrent)
