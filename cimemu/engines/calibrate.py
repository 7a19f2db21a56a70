"""A drawn chip calibrated by what it gives for known inputs: its converters' thresholds, or what their codes are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cimemu.engines.programmed import Programmed
from cimemu.errors import ArchError
from cimemu.macro.encode import input_range
from cimemu.macro.matrix import Matrix, check_sums
from cimemu.macro.read_noise import Reads
from cimemu.macro.references import References
from cimemu.macro.sites import Sites
from cimemu.macro.surroundings import Surroundings
from cimemu.macro.vary import Draft, start_draft
from cimemu.variation.calibration import Calibration
from cimemu.variation.compose import Variations

SKIPPED = 65535  # the code of a step that was not driven
FIRST_IMAGE = 1 << 31  # test vectors are read at images that no run reaches: their noise is their own
MOST = 16.0  # of a gain or an offset

Measured = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Gains and offsets [row blocks, converted columns] of one matrix, whole multiples of 2^-bits."""

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]


def calibration_of(variations: Variations) -> Calibration | None:
    """The active calibration of a run."""
    found = [model for model, _ in variations.at("calibration") if isinstance(model, Calibration)]
    return found[0] if found else None


def finished(drafts: Sequence[Draft]) -> list[Programmed]:
    """The units of one replica of a layer in their drawn cells, calibrated together where that is asked for."""
    made = [Programmed(draft.finish()) for draft in drafts]
    chosen = calibration_of(drafts[0].variations) if drafts else None
    if chosen is None:
        return made
    for programmed in made:
        check_calibrated(programmed.matrix, chosen)
    then = made if chosen.every is None else [Programmed(d.finish()) for d in _earlier(drafts, chosen.every)]
    ideal, labels = [Programmed(draft.ideal) for draft in drafts], [_labels(draft, chosen.what) for draft in drafts]
    apply = {"digital": worth, "reference": moved}[chosen.at]
    for number in range(chosen.rounds):
        fits = _fits([measured(i, p, chosen, number) for i, p in zip(ideal, then)], labels, chosen)
        now = [Programmed(apply(p.matrix, fitted, chosen.what)) for p, fitted in zip(made, fits)]
        if number + 1 < chosen.rounds:
            then = now if then is made else [Programmed(apply(p.matrix, f, chosen.what)) for p, f in zip(then, fits)]
        made = now
    return made


def drawn(ideal: Matrix, sites: Sites, variations: Variations) -> Programmed:
    """`ideal` alone on a chip as the variations make it, calibrated where that is asked for."""
    draft = start_draft(ideal, sites, variations)
    for task in draft.tasks():
        task()
    return finished([draft])[0]


def _fits(units: Sequence[Measured], labels: Sequence[NDArray[np.int64]], chosen: Calibration) -> list[Fitted]:
    """Gains and offsets of the units of a layer."""
    if chosen.what == "factor":
        gain, offset = fit([_sums(unit) for unit in units], with_offset=False)
        return [_fixed(np.full(label.shape, gain), np.full(label.shape, offset), chosen.bits) for label in labels]
    found = (_by_label(unit, label, with_offset=chosen.what == "converter") for unit, label in zip(units, labels))
    return [_fixed(gain, offset, chosen.bits) for gain, offset in found]


def check_calibrated(matrix: Matrix, chosen: Calibration) -> None:
    """ArchError where the digital unit has no code that a gain could stand beside."""
    problem = None
    if matrix.references is None:
        problem = "an ideal converter, which gives no codes; choose a macro.adc of model linear"
    elif any(r.lsb is None for r in matrix.references):
        problem = "a nonlinear converter, whose levels are a table; choose a macro.adc of model linear"
    elif matrix.scale is not None:
        problem = "column scales of a network, which scale the correction too; leave one of them out"
    elif matrix.has_reference_column:
        problem = "weight.correction = reference_column; choose weight.correction digital"
    elif chosen.at == "digital" and matrix.macro.accumulator_bits is not None:
        problem = f"accumulator_bits = {matrix.macro.accumulator_bits}, which holds integers; use at=reference"
    if problem is not None:
        raise ArchError(f"--calibrate chip with {problem}")


def _earlier(drafts: Sequence[Draft], every: float) -> list[Draft]:
    """The same chip when it was calibrated last, its cells written."""
    given = drafts[0].variations
    models = tuple(model.calibrated(every) for model in given.models)
    then = Variations(models, given.seed, given.trial)
    made = [start_draft(draft.ideal, draft.sites, then) for draft in drafts]
    for draft, now in zip(made, drafts):
        draft.shared = now.shared
        for task in draft.tasks():
            task()
    return made


def test_vectors(matrix: Matrix, vectors: int) -> NDArray[np.int64]:
    """Inputs [vectors, K], the same at every calibration: vector v of V drives a share (v + 1) / V of the rows at random.

    Rows that are driven have every value of the input's range with the same chance.
    """
    low, high = input_range(matrix.macro)
    rng = np.random.Generator(np.random.Philox(0))
    shape = (vectors, matrix.layout.rows)
    values, chance = rng.integers(low, high + 1, shape), rng.integers(0, vectors, shape)
    return np.where(chance <= np.arange(vectors)[:, None], values, 0)


def measured(ideal: Programmed, drawn: Programmed, chosen: Calibration, number: int) -> Measured:
    """(what columns should give, what they give [vectors, row blocks, columns], sums of slice weights [vectors, row blocks, 1])."""
    x = test_vectors(drawn.matrix, chosen.vectors)
    want, _ = column_sums(ideal, x, 0)
    got, weights = column_sums(drawn, x, number)
    return want, got, weights


def column_sums(
    programmed: Programmed, x: NDArray[np.int64], number: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(`lsb * A + zero * Z` [P, row blocks, columns], Z [P, row blocks, 1]) of inputs x, in round `number`."""
    matrix = programmed.matrix
    codes = programmed.run(x, codes=True, reads=Reads(first_row=FIRST_IMAGE + number * len(x)), counted=False).codes
    assert codes is not None
    assert matrix.references is not None
    shape = (len(x), len(matrix.references), matrix.seen_columns)
    a, z = np.zeros(shape, dtype=np.int64), np.zeros((*shape[:2], 1), dtype=np.int64)
    for g, block in enumerate(matrix.block_of):
        for i, weight in enumerate(matrix.slice_weights):
            driven = codes[:, g, i, :1] != SKIPPED
            a[:, block] += weight * np.where(driven, codes[:, g, i], 0)
            z[:, block] += weight * driven
    values = np.empty(shape)
    for block, rule in enumerate(matrix.references):
        assert rule.lsb is not None
        assert rule.zero is not None
        values[:, block] = rule.lsb * a[:, block] + rule.zero * z[:, block]
    return values, z.astype(np.float64)


Sums = tuple[NDArray[np.float64], ...]  # of products over vectors: ee, ez, zz, em, mz [row blocks, columns]


def _sums(unit: Measured) -> Sums:
    """Products of what columns should give (e), what they give (m) and weights (z), added in the order of vectors."""
    want, got, weights = unit
    made = [np.zeros(got.shape[1:]) for _ in range(5)]
    for e, m, z in zip(want, got, np.broadcast_to(weights, got.shape)):
        for total, product in zip(made, (e * e, e * z, z * z, e * m, m * z)):
            total += product
    return tuple(made)


def fit(parts: Sequence[Sums], *, with_offset: bool) -> tuple[float, float]:
    """(gain, offset) that undo the least squares line m = slope * e + rest * z of all columns of `parts`: 1 / slope, -rest / slope.

    What is measured has the errors, so it is fitted to what is known and not the other way round. A slope that is not above
    0 tells nothing: the gain is 1 then; where all e are one value there is no offset.
    """
    ee, ez, zz, em, mz = (fsum(v for part in parts for v in part[k].ravel().tolist()) for k in range(5))
    spread = ee * zz - ez * ez
    slope, rest = (em, 0.0), ee
    if with_offset and spread > 1e-12 * ee * zz:
        slope, rest = (em * zz - mz * ez, mz * ee - em * ez), spread
    return (1.0, 0.0) if rest == 0 or slope[0] <= 0 else (rest / slope[0], -slope[1] / slope[0])


def _by_label(
    unit: Measured, labels: NDArray[np.int64], *, with_offset: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The fit of every group of columns [row blocks, columns] that share a label."""
    sums = _sums(unit)
    gain, offset = np.ones(labels.shape), np.zeros(labels.shape)
    order = np.argsort(labels, axis=None, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels.ravel()[order])) + 1):
        gain.ravel()[members], offset.ravel()[members] = fit(
            [tuple(s.ravel()[members] for s in sums)], with_offset=with_offset
        )
    return gain, offset


def _labels(draft: Draft, what: str) -> NDArray[np.int64]:
    """[row blocks, converted columns]: which columns are fitted together."""
    shape = (len(draft.ideal.layout.row_blocks), draft.ideal.seen_columns)
    match what:
        case "factor":
            return np.zeros(shape, dtype=np.int64)
        case "column":
            return np.arange(shape[0] * shape[1]).reshape(shape)
        case "converter":
            around = Surroundings(draft.ideal, draft.sites, draft.variations, draft.macro, draft.blocks)
            made, first = np.zeros(shape, dtype=np.int64), 0
            for place, site, columns in around.spans():
                numbers = around.numbers(site, columns)
                made[place[0], columns] = first + numbers
                first += int(numbers.max()) + 1
            return made
        case other:
            raise ArchError(f"--calibrate chip:what={other}: must be none, factor, column or converter")


def _fixed(gain: NDArray[np.float64], offset: NDArray[np.float64], bits: int) -> Fitted:
    """Rounded to whole multiples of 2^-bits: gains above 0, both of magnitude 16 at most."""
    least = 2.0**-bits
    gain, offset = np.clip(gain, least, MOST), np.clip(offset, -MOST, MOST)
    return Fitted(np.rint(gain / least) * least, np.rint(offset / least) * least)


def worth(matrix: Matrix, fitted: Fitted, what: str) -> Matrix:
    """`matrix` with other values of its codes; codes and thresholds stay."""
    references = []
    for block, rule in enumerate(_linear(matrix)):
        gain, offset = fitted.gain[block], fitted.offset[block]
        if what == "factor" and rule.uniform:
            gain, offset = gain[:1], offset[:1]
        lsb, zero = rule.lsb * gain, rule.zero * gain + offset
        thresholds = np.array(np.broadcast_to(rule.thresholds, (len(lsb), rule.thresholds.shape[1])))
        levels = zero[:, None] + np.arange(2**rule.bits) * lsb[:, None]
        references.append(References(thresholds=thresholds, levels=levels, lsb=lsb, zero=zero, bits=rule.bits))
    spread = any(not rule.uniform for rule in references)
    return _with(matrix, references, calibrated=what, kept_switches=matrix.switches if spread else None)


def moved(matrix: Matrix, fitted: Fitted, what: str) -> Matrix:
    """`matrix` with other thresholds; what codes are worth stays. A converter whose columns differ switches between them."""
    references = []
    for block, rule in enumerate(_linear(matrix)):
        gain, offset = fitted.gain[block][:, None], fitted.offset[block][:, None]
        assert rule.lsb is not None
        assert rule.zero is not None
        thresholds = np.ceil((rule.thresholds - offset * matrix.unit) / gain)
        thresholds = np.clip(thresholds, -(2.0**62), 2.0**62).astype(np.int64)
        wide = len(thresholds)
        references.append(
            References(
                thresholds=thresholds,
                levels=np.array(np.broadcast_to(rule.levels, (wide, rule.levels.shape[1]))),
                lsb=np.array(np.broadcast_to(rule.lsb, wide)),
                zero=np.array(np.broadcast_to(rule.zero, wide)),
                bits=rule.bits,
            )
        )
    switches = matrix.switches
    if what == "column":
        macro = matrix.macro
        own = (r.switches(macro.columns_per_adc, macro.conversions_per_output, matrix.layout) for r in references)
        switches = tuple(own)
    return _with(matrix, references, kept_switches=switches)


def _linear(matrix: Matrix) -> tuple[References, ...]:
    """References that `check_calibrated` has let pass."""
    assert matrix.references is not None
    return matrix.references


def _with(matrix: Matrix, references: list[References], **changed: Any) -> Matrix:
    made = replace(matrix, references=tuple(references), affine=tuple(None for _ in references), **changed)
    check_sums(made)
    return made
