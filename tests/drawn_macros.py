"""Macros drawn over every key of the schema, each with a layer that they can hold: for properties of whole architectures.

`KEYS` is read from the pydantic models, `VALUES` says what is drawn for each; a key without values is a failing test.
"""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import macros
import numpy as np
from pydantic import BaseModel

from cimemu.adc import Adc
from cimemu.arch.checks import outputs_within
from cimemu.arch.macro import Macro
from cimemu.layer.base import TensorType
from cimemu.layer.macro_layer import Geometry, MacroLayer
from cimemu.layer.requantize import Accumulator
from cimemu.mapping.layout import make_layout, make_units
from cimemu.workload.network import Network


def leaves(model, prefix=""):
    """{dotted key: field} of a pydantic model; converters by their own names: adc.linear.bits."""
    found = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= leaves(kind, f"{prefix}{name}.")
        elif name == "adc":
            for converter in get_args(get_args(Adc)[0]):
                tag = converter.model_fields["model"].default
                found |= leaves(converter, f"adc.{tag}.")
        else:
            found[f"{prefix}{name}"] = field
    return found


KEYS = leaves(Macro)
NARROW = (2, 4, 6, 8, 10, 13)  # accumulators that sums leave
VALUES: dict[str, list[Any]] = {
    "rows": [1, 3, 8, 16, 40, 128],
    "columns": ["one output", "two outputs", "some more", 64],
    "active_rows": ["all", 1, "some"],
    "columns_per_adc": [1, 2, 4, 8],
    "cell.bits": [1, 2, 3, 4],
    "cell.kind": ["current", "charge", "digital"],
    "cell.fraction_bits": [0, 7, 14],
    "weight.bits": [1, 2, 3, 4, 5, 8, 9],
    "weight.encoding": ["offset", "twos_complement", "differential", "binary"],
    "weight.subtract": ["digital", "analog"],
    "weight.combine": ["digital", "analog"],
    "weight.correction": ["digital", "reference_column"],
    "weight.column_flipping": [False, True],
    "weight.guard_columns": [0, 1, 7],
    "input.bits": [1, 2, 3, 4, 5, 8, 9],
    "input.signed": [False, True],
    "input.dac_bits": [1, 2, 3, 4, 9],
    "input.dac": ["voltage", "pulse", "bits"],
    "input.driver": ["returns", "holds"],
    "input.slices": [(), "wide first", "narrow first"],
    "adc.ideal.model": ["ideal"],
    "adc.linear.model": ["linear"],
    "adc.nonlinear.model": ["nonlinear"],
    "adc.ideal.cycles": [1, 3],
    "adc.linear.circuit": ["sar", "flash", "ramp"],
    "adc.linear.bits": [1, 2, 3, 5, 8, 14],
    "adc.linear.cycles": [None, 1, 5],
    "adc.linear.phases": [(), "a bit", "doubling"],
    "adc.linear.lsb": [1, 2, 1.5, "array", "column", "real column"],
    "adc.linear.zero": [0, -3, 7, 0.25, "array"],
    "adc.nonlinear.circuit": ["sar", "flash", "ramp"],
    "adc.nonlinear.bits": [1, 2, 3, 5],
    "adc.nonlinear.cycles": [None, 1, 5],
    "adc.nonlinear.phases": [(), "a bit", "doubling"],
    "adc.nonlinear.thresholds": ["integer", "real", "array", "column"],
    "adc.nonlinear.levels": ["integer", "real", "column", "real array"],
    "adc.nonlinear.ramp_cells": [None, 12],
    "accumulator_bits": [None, *NARROW, 24, 63],
    "accumulator_overflow": ["error", "saturate", "wrap"],
    "timing.wordline_cycles": [0, 1, 3],
    "timing.sample_cycles": [0, 1, 2],
    "timing.shift_add_cycles": [0, 1, 4],
    "timing.overlap": [False, True],
    "timing.skip_zero_slices": [False, True],
    "timing.skip_cycles": [0, 1, 2],
    "timing.weight_bit_cycles": [0, 1, 3],
    "timing.pipeline_stages": [0, 1, 5],
    "mapping.rows": ["dense", "whole_kernels", "grouped"],
    "mapping.groups": ["block_diagonal", "separate"],
    "repair.spare_rows": [0, 2],
    "repair.spare_columns": [0, 1, 3],
    "repair.reads": [1, 3],
    "repair.checksum_columns": [0, 3, 16],
}
NOT_IN_VECTORS = {
    ("repair.reads", 3),
    ("repair.checksum_columns", 3),
    ("repair.checksum_columns", 16),
}  # golden vectors and generated hardware refuse them by name


def has_grids(adc):
    """Whether references are given by array or column: their number follows from the cut, which checksums change."""
    values = [value for value in adc.values() if isinstance(value, list)]
    return any(value and isinstance(value[0], list) for value in values)


def unequal(bits, order):
    """Slices of an input of 3 bits or more, each more than half of what is left, or the other way round."""
    made = []
    while bits:
        made.append(bits // 2 + 1 if bits > 2 else 1)
        bits -= made[-1]
    return made if order == "wide first" else made[::-1]


def closed(field):
    """The values of a key that has few (a choice, a switch), else None."""
    if field.examples:  # names in a table that others may add to
        return list(field.examples)
    if get_origin(field.annotation) is Literal:
        return list(get_args(field.annotation))
    return [False, True] if field.annotation is bool else None


@dataclass(frozen=True)
class Drawn:
    """One architecture: its macro's tree and what was drawn for each key, a network of one layer, its inputs."""

    tree: dict
    labels: dict
    network: Network
    x: np.ndarray
    layer: MacroLayer
    seed: int


class Draws:
    """Architectures one after another; of a key's values those that came up least come first, seven times in ten.

    `without` are pairs (key, value) that are left out."""

    def __init__(self, seed, without=frozenset()):
        self.seed, self.counts, self.without = seed, Counter(), without

    def pick(self, key, allowed=None):
        values = [v for v in VALUES[key] if (allowed is None or allowed(v)) and (key, v) not in self.without]
        r = self.random
        chosen = r.choice(values)
        if r.random() < 0.7:
            least = min(self.counts[key, str(v)] for v in values)
            chosen = r.choice([v for v in values if self.counts[key, str(v)] == least])
        self.labels[key] = str(chosen)
        return chosen

    def accepted(self, drawn):
        """Count what an accepted architecture had."""
        self.counts.update((key, label) for key, label in drawn.labels.items())

    def draw(self, number):
        self.random = r = random.Random(self.seed * 1_000_003 + number)
        self.labels = {}
        tree = self._plain(r)
        layer, x = self._layer(r, tree, self.seed * 1_000_003 + number)
        tree["adc"] = self._adc(r, tree, layer)
        for attempt in range(3):  # a kernel of more rows than the macro's is dense
            try:
                make_layout(layer.geometry.rows_per_group, 1, Macro.model_validate(tree), layer.geometry.kernel_area)
                break
            except Exception:
                assert attempt == 0
                tree["mapping"]["rows"] = self.labels["mapping.rows"] = "dense"
        once = tree["cell"]["kind"] == "digital" or tree["timing"]["skip_zero_slices"]
        once = once or tree["input"]["driver"] == "holds"
        tree["repair"] = {name: self.pick(f"repair.{name}") for name in ("spare_rows", "spare_columns")}
        tree["repair"]["reads"] = self.pick("repair.reads", lambda v: v == 1 or not once)
        weight, macro = tree["weight"], Macro.model_validate(tree)
        plain = (weight["combine"], weight["subtract"], weight["correction"]) == ("digital", "digital", "digital")
        plain = plain and not weight["column_flipping"] and not weight["guard_columns"] and not has_grids(tree["adc"])
        sizes = macro.columns, macro.columns_per_output

        def fits(guarded):
            return guarded == 0 or (plain and outputs_within(*sizes, guarded, macro.cell.bits) > 0)

        tree["repair"]["checksum_columns"] = self.pick("repair.checksum_columns", fits)
        types = {"x": TensorType(x.shape[1:], str(x.dtype)), "y": layer.output_type}
        network = Network(name="one", layers=(layer,), constants={}, inputs=("x",), outputs=("y",), types=types)
        return Drawn(tree, dict(self.labels), network, x, layer, number)

    def _plain(self, r):
        pick = self.pick
        flips = r.random() < 0.1
        encoding = pick("weight.encoding", lambda v: v == "offset" or not flips)
        offset_like, one = encoding in ("offset", "binary"), encoding in ("twos_complement", "binary")
        combine = pick("weight.combine", lambda v: v == "digital" or not flips)
        correction = pick("weight.correction", lambda v: v == "digital" or (offset_like and not flips))
        held = not flips and r.random() < 0.65
        accumulator = pick("accumulator_bits", lambda v: held or v is None)
        flips = pick("weight.column_flipping", lambda v: v == flips)
        signed = pick("input.signed")
        bits = pick("weight.bits", lambda v: v == 1 if encoding == "binary" else v > (encoding == "differential"))
        rows = pick("rows")
        active = pick("active_rows")
        cell = pick("cell.bits", lambda v: v == 1 or not one)
        input_bits = pick("input.bits", lambda v: v > 1 or not signed)
        tree = {
            "rows": rows,
            "active_rows": {"all": None, 1: 1, "some": r.randint(1, rows)}[active],
            "columns": 65536,
            "columns_per_adc": pick("columns_per_adc"),
            "cell": {"bits": cell, "kind": (kind := pick("cell.kind")), "fraction_bits": pick("cell.fraction_bits")},
            "weight": {
                "bits": bits,
                "encoding": encoding,
                "subtract": pick("weight.subtract", lambda v: encoding == "differential" or v == "digital"),
                "combine": combine,
                "correction": correction,
                "column_flipping": flips,
                "guard_columns": pick("weight.guard_columns", lambda v: v == 0 or kind == "digital"),
            },
            "input": {
                "bits": input_bits,
                "signed": signed,
                "dac_bits": pick("input.dac_bits", lambda v: v == 1 or not signed),
                "dac": (dac := pick("input.dac")),
                "driver": pick("input.driver", lambda v: v == "returns" or dac != "pulse"),
            },
            "accumulator_bits": accumulator,
            "accumulator_overflow": pick("accumulator_overflow", lambda v: v != "error" or accumulator not in NARROW),
            "timing": {
                name: pick(f"timing.{name}")
                for name in (
                    "sample_cycles",
                    "shift_add_cycles",
                    "overlap",
                    "skip_zero_slices",
                    "skip_cycles",
                    "weight_bit_cycles",
                )
            },
            "mapping": {"rows": pick("mapping.rows"), "groups": pick("mapping.groups")},
        }
        may = dac == "voltage" and not signed and input_bits > 2
        sliced = pick("input.slices", lambda v: v == () or may)
        if sliced:
            tree["input"]["slices"] = slices = unequal(input_bits, sliced)
            tree["input"]["dac_bits"] = max(slices)
            self.labels["input.dac_bits"] = str(max(slices))
        drive, kind = tree["timing"]["sample_cycles"], tree["cell"]["kind"]
        tree["timing"]["wordline_cycles"] = pick("timing.wordline_cycles", lambda v: v + drive >= 1)
        tree["timing"]["pipeline_stages"] = pick("timing.pipeline_stages", lambda v: v == 0 or kind == "digital")
        outputs = {"one output": 1, "two outputs": 2, "some more": r.randint(3, 5), 64: 0}[pick("columns")]
        per_output = Macro.model_validate(tree).output_width
        tree["columns"] = max(64, per_output) if outputs == 0 else outputs * per_output + r.randint(0, per_output - 1)
        return tree

    def _layer(self, r, tree, seed):
        macro, rng = Macro.model_validate(tree), np.random.default_rng(seed)
        dtype = "int8" if macro.input.signed else "uint8"
        if r.random() < 0.5:
            groups = r.choice([1, 1, 2, 4])
            inside, outside = r.choice([1, 2]), r.choice([1, 2])
            height, width, pad, stride = r.randint(2, 4), r.randint(2, 3), r.randint(0, 1), r.randint(1, 2)
            kernel = r.choice([(2, 2), (1, 1), (3, 2)]) if pad else r.choice([(2, 2), (1, 1)])
            out = [(size + 2 * pad - k) // stride + 1 for size, k in zip((height, width), kernel)]
            geometry = Geometry(
                groups * inside, height, width, groups * outside, *out, *kernel, stride, stride, pad, pad, pad, pad, 1, 1, groups,
            )  # fmt: skip
            shape, layout = (geometry.channels_in, height, width), "nchw"
            output = (geometry.channels_out, *out)
        else:
            rows, outputs, positions = r.choice([1, 2, 7, 24, 40]), r.randint(1, 5), r.randint(1, 3)
            geometry = Geometry(rows, positions, 1, outputs, positions, 1)
            shape, layout, output = (positions, rows), "rows", (positions, outputs)
        weights = (geometry.channels_out, geometry.channels_in // geometry.groups, geometry.kernel_h, geometry.kernel_w)
        narrow = Macro.model_validate(
            {**tree, "input": {**tree["input"], "bits": min(8, macro.input.bits), "slices": []}}
        )
        x = macros.inputs_in_range(rng, narrow, (2, *shape)).astype(dtype)
        x[rng.random(x.shape) < r.choice([0, 0.5, 0.9])] = 0
        low, high = (
            (np.iinfo(dtype).min, np.iinfo(dtype).max)
            if macro.input.bits >= 8
            else (0, 2 ** (macro.input.bits - 1) - 1)
        )
        layer = MacroLayer(
            name="fc", inputs=("x",), outputs=("y",), geometry=geometry,
            weight=macros.weights_in_range(rng, macro, weights).astype(np.int16),
            weight_zero_point=np.zeros(geometry.channels_out, np.int64),
            input_zero_point=r.choice([0, 0, r.randint(low, high)]),
            input_dtype=dtype, bias=rng.integers(-9, 10, geometry.channels_out).astype(np.int64), stage=Accumulator(),
            output_type=TensorType(output, "int32"), layout=layout,
        )  # fmt: skip
        return layer, x

    def _adc(self, r, tree, layer):
        macro, g, pick = Macro.model_validate(tree), layer.geometry, self.pick
        units = make_units(g.groups, g.rows_per_group, g.outputs_per_group, macro)
        try:
            layouts = {
                make_layout(u.row_stop - u.row_start, u.out_stop - u.out_start, macro, g.kernel_area) for u in units
            }
        except Exception:
            dense = Macro.model_validate({**tree, "mapping": {**tree["mapping"], "rows": "dense"}})
            layouts = {make_layout(u.row_stop - u.row_start, u.out_stop - u.out_start, dense) for u in units}
        layout = next(iter(layouts))
        blocks, arrays = len(layout.row_blocks), len(layout.col_blocks)
        columns = layout.outputs * macro.conversions_per_output
        integer = tree["weight"]["column_flipping"] or (tree["accumulator_bits"] is not None and r.random() < 0.97)
        nested = len(layouts) == 1

        def fits(value):
            real = (isinstance(value, str) and value.startswith("real")) or (
                isinstance(value, float) and value % 1 != 0
            )
            grid = isinstance(value, str) and value.endswith(("array", "column"))
            return not (real and integer) and (nested or not grid)

        def grid(width, draw):
            return [[draw() for _ in range(width)] for _ in range(blocks)]

        models = ["ideal", "linear", "linear", "linear"] + ["nonlinear"] * (
            2 if not tree["weight"]["column_flipping"] else 0
        )
        model = r.choice(models)
        pick(f"adc.{model}.model")
        if model == "ideal":
            return {"model": model, "cycles": pick("adc.ideal.cycles")}
        tree = {key: pick(f"adc.{model}.{key}") for key in ("circuit", "bits")}
        phases = pick(f"adc.{model}.phases")
        tree["cycles"] = pick(f"adc.{model}.cycles", lambda v: v is None or not phases)
        made = {"a bit": [2] * tree["bits"], "doubling": [1, *(2**n for n in range(min(5, tree["bits"]))), *[1] * 14]}
        tree["phases"] = made[phases] if phases else []
        span = 2 ** tree["bits"]
        if model == "linear":
            lsb, zero = pick("adc.linear.lsb", fits), pick("adc.linear.zero", fits)
            made = {
                "array": lambda: grid(arrays, lambda: r.choice([1, 2, 3])),
                "column": lambda: grid(columns, lambda: r.choice([1, 2, 5])),
                "real column": lambda: grid(columns, lambda: r.choice([1, 0.3, 2.5])),
            }
            zeros = {"array": lambda: grid(arrays, lambda: r.choice([0, 1, -4]))}
            lsb = made[lsb]() if isinstance(lsb, str) else lsb
            return {"model": model, **tree, "lsb": lsb, "zero": zeros[zero]() if isinstance(zero, str) else zero}
        thresholds, levels = (
            pick("adc.nonlinear.thresholds", lambda v: fits(v) or v == "real"),
            pick("adc.nonlinear.levels", fits),
        )

        def cuts():
            whole = thresholds == "integer"
            return sorted(r.randint(-4, 30) if whole else r.uniform(-4, 30) for _ in range(span - 1))

        def values():
            if levels.startswith("real"):
                return [r.choice([0.5, -1.25, 3.3, 7.1, 0.0]) for _ in range(span)]
            return [r.randint(-9, 40) for _ in range(span)]

        def spread(how, draw):
            return grid(columns if how == "column" else arrays, draw) if how.endswith(("column", "array")) else draw()

        return {
            "model": model, **tree, "thresholds": spread(thresholds, cuts), "levels": spread(levels, values),
            "ramp_cells": pick("adc.nonlinear.ramp_cells"),
        }  # fmt: skip
