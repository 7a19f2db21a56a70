"""A recurrent network of a fixed number of steps as layers: one product with all inputs, then a product and a cell a step.

All steps of a direction multiply by the same matrix, which is in the cells of the macros once (`MatMul.shares`). A tensor of
`batch` rows a step is a matrix [batch, width] here, and one of all steps [steps * batch, width], the steps outer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cimemu.importer.dynamic_products import Matrix
from cimemu.importer.recurrent_cells import Chain, Gates, gru, gru_end, gru_gates, lstm, rnn
from cimemu.layer.arithmetic import Less
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.matmul import MatMul
from cimemu.layer.shape import Concat, Split

MOST_STEPS = 4096


@dataclass(frozen=True)
class Weights:
    """Constants of one direction: for the inputs [inputs, gates * hidden] and the last state [hidden, gates * hidden]."""

    inputs: Array
    state: Array
    reverse: bool
    hidden: str = ""  # initial states [batch, hidden]: a runtime tensor, a constant [1, batch, hidden], or "" for zeros
    cell: str = ""
    codes: tuple[Matrix, Matrix] | None = None  # of both matrices, where their inputs are quantised when they come


@dataclass(frozen=True)
class Sequences:
    """What goes in: the inputs of all steps, and how many of them count."""

    inputs: str
    steps: int
    batch: int
    dtype: str
    lengths: str = ""  # int32 [batch, 1] of an image, where it is computed
    fixed: Array | None = None  # [batch] lengths that are stored, where they end before the last step


@dataclass
class Unrolled:
    """Tensors that one direction makes: outputs by step, and the states of the last one."""

    steps: list[str]
    hidden: str = ""
    cell: str = ""


@dataclass
class Unroller:
    """Layers as they are made; `keep` stores a constant, `types` and `constants` are those of the network so far."""

    name: str
    keep: Callable[[str, Array], str]
    constants: Mapping[str, Array]
    layers: list[Layer] = field(default_factory=list)

    def add(self, layer: Layer) -> str:
        """The name of a layer's first output."""
        self.layers.append(layer)
        return layer.outputs[0]

    def direction(self, label: str, gates: Gates, weights: Weights, sequences: Sequences) -> Unrolled:
        """All steps of one direction."""
        return _Direction(self, f"{self.name}.{label}", gates, weights, sequences).run()

    def joined(self, name: str, parts: Sequence[str]) -> str:
        """Steps one behind the other: [steps * batch, hidden]."""
        return parts[0] if len(parts) == 1 else self.add(Concat(name, tuple(parts), (name,), 1))


class _Direction:
    """One direction while its steps are made."""

    def __init__(self, made: Unroller, name: str, gates: Gates, weights: Weights, sequences: Sequences) -> None:
        self.made, self.name, self.gates, self.weights, self.sequences = made, name, gates, weights, sequences
        self.state = TensorType((sequences.batch, gates.hidden), sequences.dtype)

    def run(self) -> Unrolled:
        """The outputs are in the order of time, whatever the direction."""
        given, made, name = self.sequences, self.made, self.name
        width = self.weights.inputs.shape[1]
        products = self._of_inputs()
        pieces: tuple[str, ...] = (products,)
        if given.steps > 1:
            pieces = tuple(f"{name}.inputs.{t}" for t in range(given.steps))
            made.add(Split(f"{name}.steps", (products,), pieces, 1, (given.batch,) * given.steps))
        self.input_type = TensorType((given.batch, width), given.dtype)
        hidden, cell = self.weights.hidden, self.weights.cell
        outputs = [""] * given.steps
        for t in range(given.steps)[:: -1 if self.weights.reverse else 1]:
            outputs[t], hidden, cell = self._step(t, pieces[t], hidden, cell)
        return Unrolled(outputs, hidden, cell)

    def _of_inputs(self) -> str:
        """The products of all steps' inputs."""
        given, name = self.sequences, f"{self.name}.inputs"
        if self.weights.codes is not None:
            return self._dynamic(name, given.inputs, self.weights.codes[0], given.steps * given.batch, "")
        matrix = self.made.keep(f"{self.name}.W", self.weights.inputs)
        return self.made.add(MatMul(name, (given.inputs, matrix), (name,)))

    def _dynamic(self, name: str, source: str, codes: Matrix, rows: int, shares: str) -> str:
        def keep(what: str, value: Array) -> str:
            return self.made.keep(f"{self.name}.{'state' if shares else 'input'}_{what}", value)

        for layer in codes.layers(name, source, rows, shares, keep):
            self.made.add(layer)
        return name

    def _step(self, t: int, piece: str, hidden: str, cell: str) -> tuple[str, str, str]:
        """(output, hidden state, cell state) of step `t`."""
        gates, mask = self.gates, self._mask(t)
        sources = {"x": piece, "h": hidden, "c": cell, "mask": mask}
        late = gates.kind == "GRU" and not gates.resets_behind and bool(hidden)
        width = 2 * gates.hidden if late else self.weights.state.shape[1]
        part = self.weights.state[:, :width]
        if hidden:
            sources["r"] = self._product(t, "h", hidden, part)
        if late:
            sources = self._reset(t, sources)
        chain = self._chain({role: name for role, name in sources.items() if name})
        state = ""
        match gates.kind:
            case "LSTM":
                new, state = lstm(chain, gates)
            case "GRU":
                new = gru_end(chain, gates) if late else gru(chain, gates)
            case "RNN":
                new = rnn(chain, gates)
            case other:
                raise ValueError(other)
        name = f"{self.name}.{t}"
        if not mask:
            outputs = {new: f"{name}.h"} | ({state: f"{name}.c"} if state else {})
            self.made.add(chain.cell(name, gates.kind, sources, outputs))
            return f"{name}.h", f"{name}.h", outputs.get(state, "")
        kept = chain.chosen("mask", new, "h" if hidden else "")
        outputs = {chain.chosen("mask", new, ""): f"{name}.y", kept: f"{name}.h"}
        if state:
            outputs[chain.chosen("mask", state, "c" if cell else "")] = f"{name}.c"
        self.made.add(chain.cell(name, gates.kind, sources, outputs))
        return f"{name}.y", f"{name}.h", f"{name}.c" if state else ""

    def _product(self, t: int, what: str, hidden: str, matrix: Array) -> str:
        """The state times `matrix`; of a stored state it is computed here."""
        name = f"{self.name}.{t}.{what}R"
        if self.weights.codes is not None:
            codes = self.weights.codes[1]
            if hidden in self.made.constants:
                return self.made.keep(name, codes.stored(self.made.constants[hidden]))
            return self._dynamic(name, hidden, codes, self.sequences.batch, f"{self.name}.R{what}")
        if hidden in self.made.constants:
            return self.made.keep(name, np.asarray(self.made.constants[hidden] @ matrix, self.sequences.dtype))
        stored = self.made.keep(f"{self.name}.R{what}", matrix)
        return self.made.add(MatMul(name, (hidden, stored), (name,), f"{self.name}.R{what}"))

    def _reset(self, t: int, sources: Mapping[str, str]) -> dict[str, str]:
        """The gates of a GRU that resets before its last product, and that product."""
        chain = self._chain({role: sources[role] for role in ("x", "h", "r")})
        update, new, reset = gru_gates(chain, self.gates)
        name = f"{self.name}.{t}"
        names = {update: f"{name}.z", new: f"{name}.n", reset: f"{name}.rh"}
        self.made.add(chain.cell(f"{name}.gates", "GRU", sources, names))
        r = self._product(t, "rh", f"{name}.rh", self.weights.state[:, 2 * self.gates.hidden :])
        return {"update": f"{name}.z", "new": f"{name}.n", "h": sources["h"], "mask": sources["mask"], "r": r}

    def _chain(self, sources: Mapping[str, str]) -> Chain:
        """A chain that reads the given roles; constants among them, and those of the gates, are known to it."""
        constants, hidden = self.made.constants, self.gates.hidden
        widths = {"x": self.input_type.shape[1], "r": self.weights.state.shape[1]}
        if "update" in sources:
            widths["r"] = hidden
        elif "h" in sources and self.gates.kind == "GRU" and not self.gates.resets_behind:
            widths["r"] = 2 * hidden
        types = {
            role: TensorType((self.sequences.batch, 1), "bool")
            if role == "mask"
            else TensorType((self.sequences.batch, widths.get(role, hidden)), self.sequences.dtype)
            for role, name in sources.items()
            if name not in constants
        }
        chain = Chain(self.name, self.made.keep, types)
        for role, name in sources.items():
            if name in constants:
                chain.stored(role, constants[name])
        for name in (self.gates.bias, self.gates.inner_bias, *self.gates.peepholes):
            if name:
                chain.constant(name, constants[name])
        return chain

    def _mask(self, t: int) -> str:
        """Which rows' sequences have a step `t`: a tensor [batch, 1], or "" where all have it."""
        given = self.sequences
        if given.fixed is not None:
            inside = t < given.fixed
            return "" if inside.all() else self.made.keep(f"{self.name}.{t}.inside", inside.reshape(1, -1, 1))
        if not given.lengths:
            return ""
        name = f"{self.made.name}.{t}.inside"
        if not any(layer.outputs == (name,) for layer in self.made.layers):
            number = self.made.keep(f"{self.made.name}.{t}.number", np.full((1, 1, 1), t, np.int32))
            self.made.add(Less(name, (number, given.lengths), (name,)))
        return name
