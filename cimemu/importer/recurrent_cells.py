"""The gates of LSTM, GRU and RNN as chains of elementwise operators: `cimemu.layer.recurrent` runs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cimemu.layer import activation, arithmetic, rectifier
from cimemu.layer.base import Array, Layer, TensorType
from cimemu.layer.recurrent import RecurrentCell
from cimemu.layer.shape import Split

Keep = Callable[[str, Array], str]  # (what for, a constant) -> its name in the network
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
FUNCTIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@dataclass(frozen=True)
class Function:
    """An activation by its ONNX name, with its factors."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


# The factors that an activation takes, with their defaults.
FACTORS: dict[str, dict[str, float]] = {
    "Relu": {},
    "Tanh": {},
    "Sigmoid": {},
    "Softsign": {},
    "Softplus": {},
    "Affine": {"alpha": 1.0, "beta": 0.0},
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
    "ScaledTanh": {"alpha": 1.0, "beta": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Elu": {"alpha": 1.0},
}


@dataclass(frozen=True)
class Gates:
    """What every step of one direction has in common; names are of constants, "" for what is not there.

    `bias` belongs to the sums of all gates; of a GRU that resets behind its product, `inner_bias` to the last gate's product.
    `peepholes` are those of the input, output and forget gates of an LSTM.
    """

    kind: str
    hidden: int
    functions: tuple[Function, ...]
    bias: str = ""
    inner_bias: str = ""
    peepholes: tuple[str, str, str] = ("", "", "")
    clip: float | None = None
    coupled: bool = False  # the forget gate of an LSTM is 1 - input gate
    resets_behind: bool = False  # a GRU's linear_before_reset
    cell_clip: float | None = None  # the largest size of an LSTM's cell state


class Chain:
    """Operators of one cell as they are added; names are the chain's own."""

    def __init__(self, label: str, keep: Keep, types: Mapping[str, TensorType]) -> None:
        """`types` of the runtime inputs, by name; `label` is for constants that are the direction's own."""
        self.label = label
        self.keep, self.types = keep, dict(types)
        self.inputs = list(types)
        self.constants: dict[str, Array] = {}
        self.parts: list[Layer] = []

    def constant(self, name: str, value: Array) -> str:
        """A constant of the network that the chain reads."""
        self.constants[name] = value
        return name

    def stored(self, role: str, value: Array) -> None:
        """A constant in the place of a runtime input."""
        self.constants[role] = value

    def has(self, role: str) -> bool:
        """Whether there is such an input."""
        return role in self.types or role in self.constants

    def number(self, value: float, dtype: str) -> str:
        """A constant of one element."""
        array = np.array([value], dtype)
        return self.constant(self.keep(f"number {value!r}", array), array)

    def add(self, kind: Callable[..., Layer], *inputs: str, count: int = 1, **fields: Any) -> Any:
        """The name of a new operator's output, or the names of several."""
        name = f"{kind.__name__.lower()}{len(self.parts)}"
        names = (name,) if count == 1 else tuple(f"{name}.{i}" for i in range(count))
        layer = kind(name, inputs, names, **fields)
        made = layer.infer([self.constants[i] if i in self.constants else self.types[i] for i in inputs])
        self.types.update(zip(names, made))
        self.parts.append(layer)
        return name if count == 1 else names

    def total(self, *terms: str) -> str:
        """The sum of those terms that there are, from the left."""
        given = [term for term in terms if term]
        result = given[0]
        for term in given[1:]:
            result = self.add(arithmetic.Add, result, term)
        return result

    def split(self, name: str, pieces: int) -> tuple[str, ...]:
        """Equal pieces of the last axis."""
        if name in self.constants:
            parts = np.split(self.constants[name], pieces, axis=-1)
            return tuple(
                self.constant(self.keep(f"{self.label}.{name}.{i}", part), part) for i, part in enumerate(parts)
            )
        shape = self.types[name].shape
        sizes = (shape[-1] // pieces,) * pieces
        found: tuple[str, ...] = self.add(Split, name, count=pieces, axis=len(shape), sizes=sizes)
        return found

    def apply(self, function: Function, x: str, clip: float | None = None) -> str:
        """An activation, of the clipped value where there is a limit."""
        if clip is not None:
            x = self.add(activation.Clip, x, low=-clip, high=clip)
        plain = {"Relu": activation.Relu, "Tanh": activation.Tanh, "Sigmoid": activation.Sigmoid}
        plain |= {"Softsign": rectifier.Softsign, "Softplus": activation.Softplus}
        scaled = {"LeakyRelu": activation.LeakyRelu, "ThresholdedRelu": rectifier.ThresholdedRelu}
        scaled |= {"Elu": activation.Elu}
        dtype = self.types[x].dtype
        made: str
        if function.name in plain:
            made = self.add(plain[function.name], x)
        elif function.name in scaled:
            made = self.add(scaled[function.name], x, alpha=function.alpha)
        elif function.name == "HardSigmoid":
            made = self.add(activation.HardSigmoid, x, alpha=function.alpha, beta=function.beta)
        elif function.name == "Affine":
            product = self.add(arithmetic.Mul, x, self.number(function.alpha, dtype))
            made = self.add(arithmetic.Add, product, self.number(function.beta, dtype))
        elif function.name == "ScaledTanh":
            inner = self.add(arithmetic.Mul, x, self.number(function.beta, dtype))
            made = self.add(arithmetic.Mul, self.add(activation.Tanh, inner), self.number(function.alpha, dtype))
        else:
            raise ValueError(function.name)
        return made

    def rest(self, x: str) -> str:
        """1 - x."""
        made: str = self.add(arithmetic.Sub, self.number(1.0, self.types[x].dtype), x)
        return made

    def chosen(self, mask: str, new: str, old: str) -> str:
        """New where the step is inside the sequence, else the old state, or 0 without one."""
        made: str = self.add(arithmetic.Where, mask, new, old or self.number(0.0, self.types[new].dtype))
        return made

    def cell(self, name: str, kind: str, sources: Mapping[str, str], outputs: Mapping[str, str]) -> RecurrentCell:
        """The layer; `sources` and `outputs` are the network's names by the chain's."""
        reads = (*self.inputs, *self.constants)
        inputs = tuple(sources.get(read, read) for read in reads)
        parts = tuple(self.parts)
        return RecurrentCell(
            name, inputs, tuple(outputs.values()), kind, parts, reads, tuple(outputs), dict(self.types)
        )


def lstm(chain: Chain, gates: Gates) -> tuple[str, str]:
    """(hidden state, cell state) of "x" (products with the inputs), and "r" (with the last hidden state) and "c" if there are."""
    r, c = ("r" if chain.has("r") else "", "c" if chain.has("c") else "")
    into, out, forget, new = chain.split(chain.total("x", r, gates.bias), 4)
    f, g, h = gates.functions
    peep_in, peep_out, peep_forget = gates.peepholes
    if c and peep_in:
        into = chain.total(into, chain.add(arithmetic.Mul, c, peep_in))
        forget = chain.total(forget, chain.add(arithmetic.Mul, c, peep_forget))
    into = chain.apply(f, into, gates.clip)
    state = chain.add(arithmetic.Mul, into, chain.apply(g, new, gates.clip))
    if c:
        forget = chain.rest(into) if gates.coupled else chain.apply(f, forget, gates.clip)
        state = chain.total(chain.add(arithmetic.Mul, forget, c), state)
    if gates.cell_clip is not None:
        state = chain.add(activation.Clip, state, low=-gates.cell_clip, high=gates.cell_clip)
    if peep_out:
        out = chain.total(out, chain.add(arithmetic.Mul, state, peep_out))
    out = chain.apply(f, out, gates.clip)
    return chain.add(arithmetic.Mul, out, chain.apply(h, state)), state


def gru(chain: Chain, gates: Gates) -> str:
    """The hidden state of a GRU that resets behind its product, or of its first step without a state ("x", "r", "h")."""
    f, g = gates.functions
    update, reset, new = chain.split(chain.total("x", gates.bias), 3)
    inner = gates.inner_bias
    if chain.has("r"):
        of_update, of_reset, of_new = chain.split("r", 3)
        update, reset = chain.total(update, of_update), chain.total(reset, of_reset)
        inner = chain.total(of_new, inner)
    if inner:
        reset = chain.apply(f, reset, gates.clip)
        new = chain.total(new, chain.add(arithmetic.Mul, reset, inner))
    update = chain.apply(f, update, gates.clip)
    return mixed(chain, update, chain.apply(g, new, gates.clip))


def gru_gates(chain: Chain, gates: Gates) -> tuple[str, str, str]:
    """(update gate, new gate's own sum, the state that was reset) of a GRU that resets before its product."""
    update, reset, new = chain.split(chain.total("x", gates.bias), 3)
    of_update, of_reset = chain.split("r", 2)
    update = chain.apply(gates.functions[0], chain.total(update, of_update), gates.clip)
    reset = chain.apply(gates.functions[0], chain.total(reset, of_reset), gates.clip)
    return update, new, chain.add(arithmetic.Mul, reset, "h")


def gru_end(chain: Chain, gates: Gates) -> str:
    """The hidden state of "update", "new" and the product "r" of the state that was reset."""
    return mixed(chain, "update", chain.apply(gates.functions[1], chain.total("new", "r"), gates.clip))


def mixed(chain: Chain, update: str, new: str) -> str:
    """`(1 - update) * new + update * h`, the old state h where there is one."""
    made: str = chain.add(arithmetic.Mul, chain.rest(update), new)
    return chain.total(made, chain.add(arithmetic.Mul, update, "h")) if chain.has("h") else made


def rnn(chain: Chain, gates: Gates) -> str:
    """The hidden state of a plain recurrent network."""
    r = "r" if chain.has("r") else ""
    return chain.apply(gates.functions[0], chain.total("x", r, gates.bias), gates.clip)


def functions_of(kind: str, names: Sequence[str], factors: Mapping[str, Sequence[float]], directions: int) -> Any:
    """The activations of every direction; a name that there is none of, or a number of them that does not fit, is returned
    as text that says so."""
    wanted = len(FUNCTIONS[kind]) * directions
    names = list(names) or list(FUNCTIONS[kind]) * directions
    if len(names) != wanted:
        return f"{len(names)} activations, must be {wanted}: {len(FUNCTIONS[kind])} a direction"
    known = {name.lower(): name for name in FACTORS}
    given = {side: list(values) for side, values in factors.items()}
    found = []
    for name in names:
        own = known.get(name.lower())
        if own is None:
            return f"activation {name} is not known, must be one of {', '.join(FACTORS)}"
        taken = {side: given[side].pop(0) if given[side] else default for side, default in FACTORS[own].items()}
        found.append(Function(own, **taken))
    each = len(FUNCTIONS[kind])
    return [tuple(found[d * each : (d + 1) * each]) for d in range(directions)]
