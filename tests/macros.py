"""Random macros, matrices and inputs."""

import random

import numpy as np

from cimemu.arch.macro import Macro


def weights_in_range(rng, macro, shape):
    bits = macro.weight.bits
    if macro.weight.encoding == "binary":
        return rng.choice([-1, 1], shape)
    low = -(2 ** (bits - 1)) + (1 if macro.weight.encoding == "differential" else 0)
    return rng.integers(low, 2 ** (bits - 1), shape)


def inputs_in_range(rng, macro, shape):
    bits = macro.input.bits
    if macro.input.signed:
        return rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), shape)
    return rng.integers(0, 2**bits, shape)


def macro_tree(r):
    """Everything of a macro but its converter."""
    encoding = r.choice(["offset", "twos_complement", "differential", "binary"])
    cell = 1 if encoding in ("twos_complement", "binary") else r.randint(1, 4)
    bits = 1 if encoding == "binary" else r.randint(2 if encoding == "differential" else 1, 9)
    signed = r.random() < 0.3
    rows = r.choice([1, 3, 5, 8, 16, 70, 130])
    offset_like = encoding in ("offset", "binary")
    return {
        "rows": rows,
        "columns": r.randint(18, 60),
        "active_rows": r.randint(1, rows),
        "columns_per_adc": r.choice([1, 2, 4, 8]),
        "cell": {"bits": cell},
        "weight": {
            "bits": bits,
            "encoding": encoding,
            "subtract": r.choice(["digital", "analog"]) if encoding == "differential" else "digital",
            "combine": r.choice(["digital", "digital", "analog"]),
            "correction": r.choice(["digital", "reference_column"]) if offset_like else "digital",
        },
        "input": {
            "bits": r.randint(1, 9),
            "signed": signed,
            "dac_bits": 1 if signed else r.choice([1, 1, 1, 2, 3, 4]),
            "dac": (dac := r.choice(["voltage", "pulse", "bits"])),
            "driver": "returns" if dac == "pulse" else r.choice(["returns", "returns", "holds"]),
        },
        "timing": {"skip_zero_slices": r.random() < 0.4},
    }


def converter_tree(r, row_blocks, col_blocks, columns):
    """A converter of any model and granularity."""
    bits = r.randint(1, 6)

    def grid(width, draw):
        return [[draw() for _ in range(width)] for _ in range(row_blocks)]

    kind = r.choice(["ideal", "clip", "step", "array", "column", "table", "column tables"])
    if kind == "ideal":
        return {"model": "ideal"}
    if kind == "clip":
        return {"model": "linear", "bits": bits, "lsb": 1, "zero": r.choice([0, 0, 2, -3])}
    if kind == "step":
        lsb, zero = r.choice([2, 3, 0.5, 1.7, 2.25, 0.1]), r.choice([0, 1, -2.5, 0.3])
        return {"model": "linear", "bits": bits, "lsb": lsb, "zero": zero}
    if kind == "array":
        lsb, zero = grid(col_blocks, lambda: r.choice([1, 2, 1.5])), grid(col_blocks, lambda: r.choice([0, 1, 0.25]))
        return {"model": "linear", "bits": bits, "lsb": lsb, "zero": zero}
    if kind == "column":
        return {"model": "linear", "bits": bits, "lsb": grid(columns, lambda: r.choice([1, 2, 3, 1.3])), "zero": 0}
    whole = r.random() < 0.5

    def thresholds():
        drawn = (r.uniform(-5, 20) if r.random() < 0.5 else r.randint(-3, 20) for _ in range(2**bits - 1))
        return sorted(drawn)

    def levels():
        return [r.randint(-5, 20) if whole else r.choice([0.5, 1.25, 3, 7.1]) for _ in range(2**bits)]

    if kind == "table":
        return {"model": "nonlinear", "bits": bits, "thresholds": thresholds(), "levels": levels()}
    bits = min(bits, 3)
    return {
        "model": "nonlinear",
        "bits": bits,
        "thresholds": grid(columns, thresholds),
        "levels": grid(columns, levels),
    }


def draw(seed, *, converter=True):
    """(x [P, K], w [K, N], macro) for a seed."""
    r, rng = random.Random(seed), np.random.default_rng(seed)
    tree = macro_tree(r)
    macro = Macro.model_validate(tree)
    rows = r.randint(1, min(40, 3 * macro.rows)) if r.random() < 0.7 else r.randint(1, 150)
    outputs, points = r.randint(1, 7), r.randint(1, 3)
    w, x = weights_in_range(rng, macro, (rows, outputs)), inputs_in_range(rng, macro, (points, rows))
    if r.random() < 0.4:
        x[rng.random(x.shape) < 0.8] = 0
    if converter:
        blocks = (-(-rows // macro.rows), -(-outputs // macro.outputs))
        tree["adc"] = converter_tree(r, *blocks, outputs * macro.conversions_per_output)
        macro = Macro.model_validate(tree)
    return x, w, macro
