"""What a check found: a verdict on integers and one on floats, what was compared in which form, and what was not."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cimemu.check.compare import TensorDiff
from cimemu.check.forms import Form
from cimemu.layer.base import Array

CODE_STEPS = 1  # that codes made of floats may be apart
CODE_SHARE = 0.001  # of these codes that may be apart at all


@dataclass(frozen=True)
class Movement:
    """How far the arch's own converter (and the cells of a drawn chip) moves a tensor from the lossless one."""

    name: str
    elements: int
    moved: int
    largest: float
    mean: float  # of |difference| over all elements
    relative: float  # root mean square of the difference / of the lossless values around their mean


@dataclass(frozen=True)
class Verdict:
    """Tensors of one kind together."""

    tensors: int
    elements: int
    differing: int
    within_bound: int
    explained: int
    largest: float
    bound: float

    @classmethod
    def of(cls, diffs: Iterable[TensorDiff]) -> "Verdict":
        """The sum of rows."""
        rows = list(diffs)
        return cls(
            tensors=len(rows),
            elements=sum(row.elements for row in rows),
            differing=sum(row.differing for row in rows),
            within_bound=sum(row.within_bound for row in rows),
            explained=sum(row.explained for row in rows),
            largest=max((row.largest for row in rows), default=0.0),
            bound=max((row.bound for row in rows), default=0.0),
        )


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    against: str
    images: int
    tensors: tuple[TensorDiff, ...]
    bit_serial_layers: int
    shortcut_layers: int
    conversions: int
    movement: tuple[Movement, ...]
    kernels: Mapping[str, int]  # operators that ONNX Runtime or PyTorch ran
    unfused: int  # products that it ran in float
    layers: Mapping[str, str] = field(default_factory=dict)  # tensor -> the layer that makes it
    inexact: tuple[str, ...] = ()  # outputs of products whose ONNX Runtime kernel can saturate on this processor
    float_operators: tuple[str, ...] = ()  # of a transformer: what runs in float between its products
    forms: Mapping[str, Form] = field(default_factory=dict)  # tensor -> the form in which the reference computed it
    settings: Mapping[str, str] = field(default_factory=dict)  # of the reference
    uncompared: tuple[str, ...] = ()  # tensors of the network that the reference does not give
    outputs: tuple[str, ...] = ()  # of the network
    drawn: bool = False  # whether what moves the tensors is a chip with cells of its own

    @property
    def integers(self) -> Verdict:
        """Integers and truth values that integer operators alone compute: any element that differs is a fault."""
        return Verdict.of(diff for diff in self.tensors if diff.kind == "integer")

    @property
    def codes(self) -> Verdict:
        """Integers made of the floats of a float operator, which was fed what the reference fed it.

        They agree where the rounding of the floats explains every one that differs, none is more than CODE_STEPS apart, and no
        larger share than CODE_SHARE of them differs.
        """
        return Verdict.of(diff for diff in self.tensors if diff.kind == "code")

    @property
    def codes_failed(self) -> bool:
        """Whether more codes differ than float rounding can explain, or one by more."""
        codes = self.codes
        return (
            codes.differing > codes.explained
            or codes.largest > CODE_STEPS
            or codes.differing > CODE_SHARE * codes.elements
        )

    @property
    def floats(self) -> Verdict:
        """Tensors of floats that the network computes: elements agree that are apart by at most their bound."""
        return Verdict.of(diff for diff in self.tensors if diff.kind == "float")

    @property
    def differing(self) -> int:
        """Elements that differ: integers and codes that are not equal, floats apart by more than their bound."""
        return sum(diff.differing for diff in self.tensors)

    @property
    def failed(self) -> bool:
        """Whether anything differs that must not: an integer, a float beyond its bound, too many codes or one too far."""
        return self.codes_failed or any(diff.differing for diff in self.tensors if diff.kind != "code")

    @property
    def status(self) -> str:
        """ "agrees" or "differs"."""
        return "differs" if self.failed else "agrees"

    @property
    def elements(self) -> int:
        """Elements compared, of tensors that the network computes."""
        return self.integers.elements + self.codes.elements + self.floats.elements

    @property
    def first_layer(self) -> str | None:
        """The first layer, in the order of execution, whose result differs; codes that agree by their rule are passed over."""
        kinds = ("integer", "float", "input", "code") if self.codes_failed else ("integer", "float", "input")
        differ = (diff for diff in self.tensors if diff.differing and diff.kind in kinds)
        return next((self.layers.get(diff.name, diff.name) for diff in differ), None)

    @property
    def other_forms(self) -> tuple[str, ...]:
        """Compared tensors whose reference follows another rule on this machine than cimemu reproduces."""
        return tuple(diff.name for diff in self.tensors if not self.form(diff.name).same)

    def form(self, name: str) -> Form:
        """The form in which the reference computed a tensor."""
        return self.forms.get(name, Form("not told by the reference"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [{**diff.as_dict(), "form": self.form(diff.name).text} for diff in self.tensors]
        return {
            "status": self.status,
            "against": self.against,
            "settings": dict(self.settings),
            "images": self.images,
            "tensors": len(self.tensors),
            "elements": self.elements,
            "differing": self.differing,
            "integers": vars(self.integers),
            "codes": vars(self.codes),
            "floats": vars(self.floats),
            "uncompared": list(self.uncompared),
            "bit_serial_layers": self.bit_serial_layers,
            "shortcut_layers": self.shortcut_layers,
            "conversions": self.conversions,
            "kernels": dict(self.kernels),
            "unfused": self.unfused,
            "inexact": list(self.inexact),
            "other_forms": list(self.other_forms),
            "float_operators": list(self.float_operators),
            "failed": self.failed,
            "first_layer": self.first_layer,
            "differences": [row for row in rows if row["differing"]],
            "compared": rows,
            "movement": [vars(row) for row in self.movement],
        }


class Moves:
    """Sums of differences over batches."""

    def __init__(self) -> None:
        """Nothing added yet."""
        self.elements = self.moved = 0
        self.largest = self.absolute = self.squares = self.total = self.signal = 0.0

    def add(self, straight: Array, changed: Array) -> None:
        """Values of one batch without and with the converter."""
        a, b = straight.astype(np.float64), changed.astype(np.float64)
        difference = b - a
        self.elements += a.size
        self.moved += int((difference != 0).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.absolute += float(np.abs(difference).sum())
        self.squares += float((difference**2).sum())
        self.total += float(a.sum())
        self.signal += float((a**2).sum())

    def result(self, name: str) -> Movement:
        """The row of one tensor."""
        spread = self.signal - self.total**2 / self.elements
        relative = (self.squares / spread) ** 0.5 if spread > 0 else 0.0
        return Movement(name, self.elements, self.moved, self.largest, self.absolute / self.elements, relative)
