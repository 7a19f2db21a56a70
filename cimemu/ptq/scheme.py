"""A quantisation scheme as a frozen record: what weights, activations and converters become, and how they are fitted."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from cimemu.adc import IdealAdc
from cimemu.arch.macro import Macro
from cimemu.encoding import Encoding, find, known, names
from cimemu.encoding.binary import Binary
from cimemu.errors import WorkloadError
from cimemu.ptq.layer_scheme import LayerScheme
from cimemu.ptq.widths import Widths
from cimemu.record import Record

Granularity = Literal["layer", "array", "column"]
Method = Literal["minmax", "percentile", "mse", "output"]
LevelMethod = Literal["linear", "linear_mse", "lloyd_max", "cdf", "kmeans", "kmeans_exact", "bs_kmq_pin", "bs_kmq_drop"]
Percentile = Annotated[float, Field(gt=50, le=100, description="for method percentile")]


def _holds_every_integer(encoding: Encoding) -> bool:
    return encoding.values(8).step == 1


Digits = Annotated[str, BeforeValidator(partial(known, also=("arch",), chosen=_holds_every_integer))]


class UniformWeights(Record):
    """Integers of equal steps; a scale for the layer, an output channel, an array, or an array's column.

    One bit: the two levels -scale and +scale, in the `binary` encoding (the sum of inputs puts the sign right).
    """

    kind: Literal["uniform"] = "uniform"
    bits: int = Field(8, ge=1, le=8, description="weight width in bits; 1: plus or minus a scale")
    granularity: Literal["layer", "channel", "array", "column"] = Field("channel", description="what shares a scale")
    method: Method = Field("minmax", description="how a scale is found")
    percentile: Percentile = 99.9
    slice_scales: bool = Field(False, description="each bit slice has a scale of its own, fitted by least squares")


class BinaryWeights(Record):
    """Two levels a group, one cell a weight."""

    kind: Literal["binary"] = "binary"
    granularity: Literal["layer", "channel", "array", "column"] = Field("layer", description="what shares two levels")
    method: Literal["closed_form", "centred", "xnor", "exact"] = Field(
        "closed_form",
        description="sign around the mean with scale and offset; the same without the offset; +-mean|w|; the best two levels",
    )


class GivenWeights(Record):
    """The integers that a quantised network brings, its activations too: the scheme fits converters alone."""

    kind: Literal["given"] = "given"


class Activations(Record):
    """Integers on the wordlines, and between layers on the digital unit."""

    bits: int = Field(8, ge=1, le=8, description="activation width in bits")
    image_bits: int | None = Field(None, ge=1, le=8, description="width of the network's own inputs; none: bits")
    digital_bits: int | None = Field(
        None, ge=1, le=8, description="width of what no wordline takes (operands of a residual sum, scores); none: bits"
    )
    method: Literal["minmax", "percentile", "mse"] = Field("minmax", description="how the clipping point is found")
    percentile: Percentile = 99.99

    @property
    def widths(self) -> Widths:
        """Bits of a tensor by who reads it."""
        return Widths(self.bits, self.image_bits or self.bits, self.digital_bits or self.bits)


class ArchConverter(Record):
    """The arch's own converter, nothing fitted."""

    kind: Literal["arch"] = "arch"


class LinearConverter(Record):
    """Equal steps, fitted to the partial sums of calibration images."""

    kind: Literal["linear"] = "linear"
    bits: float = Field(6, description="1, 1.5 (three levels), or 2 .. 8")
    granularity: Granularity = Field("layer", description="what shares a step")
    method: Method = Field("mse", description="how a step is found")
    percentile: Percentile = 99.99

    @field_validator("bits")
    @classmethod
    def _known(cls, value: float) -> float:
        if value not in (1, 1.5, 2, 3, 4, 5, 6, 7, 8):
            raise ValueError(f"bits = {value:g}, must be 1, 1.5 or 2 .. 8")
        return value

    @property
    def levels(self) -> int:
        """Levels of the converter."""
        return 3 if self.bits == 1.5 else 2 ** int(self.bits)


class Ramp(Record):
    """An in-memory ramp: each step switches on whole reference cells; one ramp an array."""

    cell_psum: float | None = Field(
        None, gt=0, description="psum of one reference cell (delta); none: a 1023rd of the widest ramp's range"
    )
    mismatch: float = Field(0.0, ge=0, le=0.5, description="relative spread of one reference cell")
    seed: int = Field(0, ge=0, description="seed of the cells' draw")


class NonlinearConverter(Record):
    """Any levels, fitted to the partial sums (or activations) of calibration images."""

    kind: Literal["nonlinear"] = "nonlinear"
    bits: int = Field(4, ge=1, le=8, description="code width in bits")
    granularity: Granularity = Field("layer", description="what shares thresholds and levels")
    method: LevelMethod = Field("bs_kmq_pin", description="how levels are found")
    source: Literal["psums", "activations"] = Field(
        "psums",
        description="what levels are fitted to: partial sums as they are, or clamped to where the layer's activation "
        "lives (the ramp applies ReLU and clamp; needs one conversion an output)",
    )
    ramp: Ramp | None = Field(None, description="thresholds as an in-memory ramp makes them; none: exact thresholds")


class Scheme(Record):
    """Weights, activations and converters together."""

    name: str = Field("scheme", pattern=r"^[A-Za-z0-9_.-]+$", description="short name")
    weights: Annotated[UniformWeights | BinaryWeights | GivenWeights, Field(discriminator="kind")] = Field(
        default_factory=UniformWeights, description="what weights become"
    )
    activations: Activations = Field(default_factory=Activations, description="what activations become")
    converter: Annotated[ArchConverter | LinearConverter | NonlinearConverter, Field(discriminator="kind")] = Field(
        default_factory=LinearConverter, description="what converts partial sums"
    )
    digits: Digits = Field(
        "arch",
        examples=["arch", *names(_holds_every_integer)],
        description="how weights lie in cells: as the arch says; offset (two's complement digits of any cell: the top "
        "digit's sign is the offset's correction); differential (a column pair)",
    )
    rows: Literal["arch", "dense", "whole_kernels", "grouped"] = Field(
        "arch", description="how matrices are cut into arrays (macro.mapping.rows)"
    )
    layers: dict[str, LayerScheme] = Field(
        default_factory=dict,
        description="what layers have other than the rest, by name, pattern (`conv*`) or part: (first), (last), (shortcut)",
    )

    @property
    def weight_rule(self) -> UniformWeights | BinaryWeights:
        """How float weights become integers; WorkloadError for `given`, which makes none."""
        if isinstance(self.weights, GivenWeights):
            raise WorkloadError("weights.kind = given makes no weights of a float network: use uniform or binary")
        return self.weights

    @property
    def one_bit(self) -> bool:
        """Weights of two levels, a cell each."""
        return isinstance(self.weights, BinaryWeights) or getattr(self.weights, "bits", None) == 1

    @model_validator(mode="after")
    def _binary_has_its_encoding(self) -> "Scheme":
        if self.one_bit and self.digits != "arch":
            raise ValueError(
                f"digits = {self.digits} with weights of one bit, which lie in one cell each: leave digits out"
            )
        return self

    @model_validator(mode="after")
    def _given_is_the_network_s(self) -> "Scheme":
        if isinstance(self.weights, GivenWeights) and self.activations != Activations():
            raise ValueError(
                "activations with weights.kind = given, which keeps the network's own: leave activations out"
            )
        return self

    def _encoding_overrides(self, macro: Macro) -> dict[str, Any]:
        """The encoding where the scheme names one, and what the arch may not ask of it any more."""
        if self.digits == "arch":
            return {}
        encoding = find(self.digits)
        changed: dict[str, Any] = {"macro.weight.encoding": self.digits}
        if encoding.sides == 1:
            changed["macro.weight.subtract"] = "digital"
        bits = self.weights.bits if isinstance(self.weights, UniformWeights) else macro.weight.bits
        if encoding.correction(bits).of_inputs == 0:
            changed["macro.weight.correction"] = "digital"
        return changed

    def _check_one_bit(self, macro: Macro) -> None:
        """WorkloadError where the arch asks for what weights of one cell each cannot have."""
        if macro.weight.column_flipping:
            raise WorkloadError(
                f"scheme {self.name}: weights of one bit on macro.weight.column_flipping = true: a column of binary weights is "
                "not stored inverted; set it to false"
            )

    def overrides(self, macro: Macro) -> dict[str, Any]:
        """Dotted keys of an arch that the scheme changes, but for the fitted converter's parameters."""
        changed: dict[str, Any] = {}
        if not isinstance(self.weights, GivenWeights):
            own = [one.activations.bits or 0 for one in self.layers.values()]
            changed["macro.input.bits"] = max(self.activations.bits, self.activations.image_bits or 0, *own)
        if self.one_bit:
            self._check_one_bit(macro)
            weight = {"bits": 1, "encoding": Binary.name, "correction": macro.weight.correction}
            changed |= {"macro.weight": weight, "macro.cell.bits": 1}
        else:
            if isinstance(self.weights, UniformWeights):
                changed["macro.weight.bits"] = self.weights.bits
            changed |= self._encoding_overrides(macro)
        if self.rows != "arch":
            changed["macro.mapping.rows"] = self.rows
        converter = self.converter
        if isinstance(converter, LinearConverter) and converter.bits != 1.5:
            circuit = "sar" if isinstance(macro.adc, IdealAdc) else macro.adc.circuit
            changed["macro.adc"] = {"model": "linear", "bits": int(converter.bits), "circuit": circuit}
        elif not isinstance(converter, ArchConverter):  # a table; what matters for time and energy is its width
            bits = 2 if isinstance(converter, LinearConverter) else converter.bits
            circuit = "ramp" if isinstance(converter, NonlinearConverter) else "sar"
            changed["macro.adc"] = {"model": "linear", "bits": bits, "circuit": circuit}
            if isinstance(converter, NonlinearConverter) and converter.ramp is not None:
                changed["macro.columns_per_adc"] = 1
        return changed


def _columnquant(bits: int, psum_bits: int) -> dict[str, Any]:
    """ColumnQuant as its authors run ResNet-20: first, last and shortcut products in full precision, off the arrays [C]."""
    return {
        "weights": {"bits": bits, "granularity": "column", "method": "mse", "slice_scales": True},
        "activations": {"bits": bits, "digital_bits": 8, "method": "mse"},
        "converter": {"granularity": "column", "bits": psum_bits},
        "digits": "offset",
        "rows": "whole_kernels",
        "layers": {part: {"place": "digital"} for part in ("(first)", "(last)", "(shortcut)")},
    }


def _bwma(ends: dict[str, Any]) -> dict[str, Any]:
    """BWMA: binary weights by layer, 4-bit activations [A]; first and last product as `ends` say [R]."""
    return {
        "weights": {"kind": "binary"},
        "activations": {"bits": 4, "digital_bits": 8, "method": "mse"},
        "converter": {"bits": 5},
        "layers": {part: dict(ends) for part in ("(first)", "(last)")},
    }


PRESETS: dict[str, dict[str, Any]] = {
    "plain": {"converter": {"kind": "arch"}},
    "layer": {"weights": {"granularity": "layer"}, "converter": {"granularity": "layer"}},
    "array": {"weights": {"granularity": "array"}, "converter": {"granularity": "array"}},
    "column": {"weights": {"granularity": "column"}, "converter": {"granularity": "column"}},
    "columnquant": {
        "weights": {"bits": 4, "granularity": "column", "method": "mse", "slice_scales": True},
        "converter": {"granularity": "column", "bits": 4},
        "digits": "offset",
        "rows": "whole_kernels",
    },
    "bwma": {"weights": {"kind": "binary"}, "activations": {"bits": 4, "method": "mse"}, "converter": {"bits": 5}},
    "xnor": {
        "weights": {"kind": "binary", "method": "xnor"},
        "activations": {"bits": 4, "method": "mse"},
        "converter": {"bits": 5},
    },
    "bs_kmq": {"converter": {"kind": "nonlinear", "ramp": {}}},
    # the papers' own settings, as far as they are known (manual, quantisation): [C] code, [A] abstract, [R] reconstructed
    "columnquant_w4a4p1": _columnquant(bits=4, psum_bits=1),
    "columnquant_w3a3p3": _columnquant(bits=3, psum_bits=3),
    "columnquant_w3a3p2": _columnquant(bits=3, psum_bits=2),
    "cim_aware": {
        "weights": {"bits": 4, "granularity": "layer", "method": "mse"},
        "activations": {"bits": 4, "digital_bits": 8, "method": "mse"},
        "converter": {"bits": 5, "granularity": "layer"},
        "layers": {part: {"place": "digital", "bits": 8} for part in ("(first)", "(last)")},
    },
    "bwma_float_ends": _bwma({"place": "digital"}),
    "bwma_8_bit_ends": _bwma({"place": "digital", "bits": 8}),
}


def scheme_of(tree: Mapping[str, Any] | str | Scheme, changes: Mapping[str, Any] | None = None) -> Scheme:
    """The scheme of a preset's name or of a mapping, with dotted `changes`.

    Raises WorkloadError naming the key, the value and the rule.

    >>> import cimemu
    >>> scheme = cimemu.scheme_of({"name": "mine", "converter": {"bits": 5}}, {"weights.bits": 4})
    >>> scheme.name, scheme.converter.bits, scheme.weights.bits
    ('mine', 5.0, 4)
    """
    from cimemu.config_file import validated

    if isinstance(tree, Scheme):
        where, plain = tree.name, tree.model_dump()
    elif isinstance(tree, str):
        if tree not in PRESETS:
            raise WorkloadError(f"scheme {tree!r}: no such scheme or file; schemes: {', '.join(PRESETS)}")
        where, plain = tree, {"name": tree, **PRESETS[tree]}
    else:
        where, plain = str(tree.get("name", "scheme")), dict(tree)
    for key, value in (changes or {}).items():
        _change(plain, key, value)
    for part, default in (("weights", "uniform"), ("converter", "linear")):
        node = plain.get(part)
        if isinstance(node, Mapping) and "kind" not in node:
            plain[part] = {"kind": default, **node}
    return validated(Scheme, plain, f"scheme {where}", WorkloadError)


def read_scheme(name: str) -> Scheme:
    """The scheme `name`: a preset, or a YAML file that holds a scheme.

    Raises WorkloadError naming the file, the key, the value and the rule.

    >>> import cimemu
    >>> scheme = cimemu.read_scheme("bwma")
    >>> scheme.weights.kind, scheme.activations.bits, scheme.converter.bits
    ('binary', 4, 5.0)
    """
    from cimemu.config_file import read_mapping

    path = Path(name)
    if name in PRESETS or path.suffix not in (".yaml", ".yml"):
        return scheme_of(name)
    if not path.is_file():
        raise WorkloadError(f"{path}: no such scheme file; schemes: {', '.join(PRESETS)}")
    return scheme_of(
        {"name": path.stem, **read_mapping(path, str(path), "a scheme (weights, converter ...)", WorkloadError)}
    )


def _change(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one dotted key; a new `kind` starts its record from the defaults."""
    node, keys = tree, dotted.split(".")
    for key in keys[:-1]:
        below = node.get(key) or {}
        if not isinstance(below, Mapping):
            raise WorkloadError(f"scheme: {dotted} = {value!r}: {key} = {below!r} has no keys below it")
        node[key] = dict(below)
        node = node[key]
    if keys[-1] == "kind" and node.get("kind") != value:
        node.clear()
    node[keys[-1]] = value
