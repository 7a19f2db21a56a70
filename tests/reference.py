"""The macro of contract section 1 a second time, written apart from the package: plain loops, for comparison only."""

from math import ceil

import numpy as np


def stored_slices(w, macro):
    """([cell levels [K, N] per slice], [weight of each slice], number of slices before the minus slices)."""
    bits, cell = macro.weight.bits, macro.cell.bits
    encoding = macro.weight.encoding
    if encoding == "offset":
        count, codes = ceil(bits / cell), [w + (1 << (bits - 1))]
    elif encoding == "twos_complement":
        count, codes = bits, [w & ((1 << bits) - 1)]
    elif encoding == "differential":
        count, codes = ceil((bits - 1) / cell), [np.maximum(w, 0), np.maximum(-w, 0)]
    else:
        return [(w + 1) // 2], [1], 1
    mask = (1 << cell) - 1
    cells = [(code >> (s * cell)) & mask for code in codes for s in range(count)]
    weights = [sign << (s * cell) for sign in (1, -1)[: len(codes)] for s in range(count)]
    if encoding == "twos_complement":
        weights[-1] = -weights[-1]
    return cells, weights, count


def conversions_of_an_output(cells, weights, count, macro):
    """[(cells and factors that are added before the converter, weight behind it)]."""
    pair = macro.weight.encoding == "differential"
    analog, subtract = macro.weight.combine == "analog", macro.weight.subtract == "analog"
    if analog and (not pair or subtract):
        return [(list(zip(cells, weights)), 1)]
    if analog:
        plus = list(zip(cells[:count], weights[:count]))
        minus = [(c, -s) for c, s in zip(cells[count:], weights[count:])]
        return [(plus, 1), (minus, -1)]
    if subtract and pair:
        return [([(cells[s], 1), (cells[count + s], -1)], weights[s]) for s in range(count)]
    return [([(c, 1)], s) for c, s in zip(cells, weights)]


def reference_mvm(x, w, macro):
    """(y float64 [P, N], conversions, codes uint16) of ideal cells."""
    x, w = np.asarray(x), np.asarray(w)
    points, rows = x.shape
    outputs = w.shape[1]
    cells, weights, count = stored_slices(w, macro)
    conversions = conversions_of_an_output(cells, weights, count, macro)
    per_output = len(conversions)
    slices, dac = ceil(macro.input.bits / macro.input.dac_bits), macro.input.dac_bits
    outputs_per_macro = macro.columns // macro.columns_per_output
    offset_like = macro.weight.encoding in ("offset", "binary")
    reference = offset_like and macro.weight.correction == "reference_column"

    def converter(block, n, v):
        adc = macro.adc

        def pick(grid, depth):
            array = np.array(grid, dtype=np.float64)
            if array.ndim == depth:
                return array
            return array[block][
                n * per_output + v if array.shape[1] == outputs * per_output else n // outputs_per_macro
            ]

        if adc.model == "ideal":
            return None
        if adc.model == "linear":
            lsb, zero = float(pick(adc.lsb, 0)), float(pick(adc.zero, 0))
            return zero + (np.arange(1, 2**adc.bits) - 0.5) * lsb, zero + np.arange(2**adc.bits) * lsb
        return pick(adc.thresholds, 1), pick(adc.levels, 1)

    groups = []
    for block in range(ceil(rows / macro.rows)):
        low, high = block * macro.rows, min(rows, (block + 1) * macro.rows)
        groups += [(block, a, min(high, a + macro.active_rows)) for a in range(low, high, macro.active_rows)]
    codes = np.full((points, len(groups), slices, outputs * per_output), 65535, np.uint16)
    y, correction, made = np.zeros((points, outputs)), np.zeros((points, outputs)), 0
    for p in range(points):
        for g, (block, low, high) in enumerate(groups):
            for i in range(slices):
                driven = (x[p, low:high] >> (i * dac)) & ((1 << dac) - 1)
                place = 1 << (i * dac)
                if macro.input.signed and i == slices - 1:
                    place = -place
                if macro.timing.skip_zero_slices and not driven.any():
                    continue
                for n in range(outputs):
                    for v, (parts, weight) in enumerate(conversions):
                        psum = sum(factor * int((driven * cell[low:high, n]).sum()) for cell, factor in parts)
                        references = converter(block, n, v)
                        made += 1
                        value = psum
                        if references is not None:
                            code = int((references[0] <= psum).sum())
                            codes[p, g, i, n * per_output + v] = code
                            value = references[1][code]
                        y[p, n] += place * weight * value
                if reference:
                    made += ceil(outputs / outputs_per_macro)
                    for n in range(outputs):
                        last = min(outputs, (n // outputs_per_macro + 1) * outputs_per_macro) - 1
                        references, psum = converter(block, last, per_output - 1), int(driven.sum())
                        value = psum if references is None else references[1][int((references[0] <= psum).sum())]
                        correction[p, n] += place * value
    if not reference:
        correction[:] = x.sum(axis=1)[:, None]
    if macro.weight.encoding == "offset":
        y = y - (1 << (macro.weight.bits - 1)) * correction
    if macro.weight.encoding == "binary":
        y = 2 * y - correction
    return y, made, codes
