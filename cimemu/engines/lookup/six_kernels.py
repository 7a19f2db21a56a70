"""Table look-up in registers of 64 bytes: what a column sums for every six places, 32 positions at once.

Partial sums of cells that vary have 16 bits. A table of the 64 sums of six (row, DAC bit) places is two registers, and
one instruction looks 32 positions up. Tables are made of the cells for a few columns at a time, stay in the first-level
cache while all positions pass, and are forgotten: a network's tables would take 22 bytes a cell.
"""

import numpy as np

from cimemu.engines.lookup.convert_kernels import (
    affine_words_naive,
    search_words,
    search_words_naive,
    table_bytes,
    table_bytes_naive,
    weigh_bytes,
    weigh_bytes_naive,
)
from cimemu.engines.lookup.kernels import ZERO
from cimemu.kernels.draw_tables import noise_by_tables
from cimemu.kernels.read_noise import noise_words, noise_words_naive, read_places, read_places_naive
from cimemu.lanes.broad import BROAD, every16_as, load_as, look_up_words
from cimemu.lanes.jit import kernel
from cimemu.lanes.registers import (
    add16,
    add16_held,
    both,
    either,
    every8,
    high16,
    interleave_high,
    interleave_low,
    load,
    low16,
    min16,
    store,
    sub16_held,
)
from cimemu.lanes.words import shift_right16

SIX = 6
ENTRIES = 1 << SIX
SIX_COLUMNS = 8  # whose tables are made at once; an octet of them shares random bits
AT_ONCE = 44  # places whose indices stay in the first-level cache while all these columns are summed
HAS_BIT = np.where(np.arange(32) >> np.arange(5)[:, None] & 1, 65535, 0).astype(np.uint16)  # by bit and number
BLOCK = 32  # positions of a register of words


@kernel
def index_sixes(turned, source, numbers, column, indices):
    """indices[b, q, u, k, p] bit j is bit `source[q, j] % 16 + slice * dac_bits` of input p of block b, row source[q, j] // 16.

    slice = u * per_unit + k, numbers = (slices, dac_bits, per_unit, bytes of an input); a slice that is none and a source below
    0 give 0. turned uint8 [B, >= rows * bytes, 32] as `turn_bytes` leaves inputs; source int64 [Q, 6]; column uint16 [6, 32]
    is scratch; indices uint16 [B, Q, U, 4, 32].
    """
    slices, dac_bits, per_unit, each = numbers
    one = every16_as(BROAD, 1)
    nothing = every8(0)
    at = 0
    for b in range(indices.shape[0]):
        for q in range(source.shape[0]):
            for j in range(SIX):
                low = nothing
                high = nothing
                if source[q, j] >= 0:
                    row = 32 * (turned.shape[1] * b + (source[q, j] >> 4) * each)
                    low = load(turned, row)
                    if each == 2:
                        high = load(turned, row + 32)
                # Bytes lie in the order of `turn_bytes`, which is that of words interleaved so.
                store(column, 64 * j, shift_right16(interleave_low(low, high), source[q, j] & 15))
                store(column, 64 * j + 32, shift_right16(interleave_high(low, high), source[q, j] & 15))
            for slot in range(4 * indices.shape[2]):
                number = (slot >> 2) * per_unit + (slot & 3)
                index = every16_as(BROAD, 0)
                if slot & 3 < per_unit and number < slices:
                    for j in range(SIX - 1, -1, -1):
                        bit = both(shift_right16(load_as(BROAD, column, 64 * j), number * dac_bits), one)
                        index = either(add16(index, index), bit)
                store(indices, at, index)
                at += 64


def index_sixes_naive(turned, source, numbers, column, indices):
    """The definition."""
    slices, dac_bits, per_unit, each = numbers
    order = [*range(0, 8), *range(16, 24), *range(8, 16), *range(24, 32)]
    indices[:] = 0
    for b, q, u, k, lane in np.ndindex(*indices.shape):
        number = u * per_unit + k
        if k < per_unit and number < slices:
            for j, place in enumerate(source[q].tolist()):
                if place >= 0:
                    bytes_of = turned[b, place // 16 * each : (place // 16 + 1) * each, lane].tolist()
                    value = sum(byte << 8 * n for n, byte in enumerate(bytes_of))
                    indices[b, q, u, k, order[lane]] |= (value >> place % 16 + number * dac_bits & 1) << j


@kernel
def fill_sixes(values, columns, span, tables):
    """tables[c, q - span[0], n] = the sum of values[c, q, j] over the bits j of n, above the least such sum.

    values int16 or int32 [C, Q, 6]; columns = (first, last); tables uint16 [>= last - first, >= span[1] - span[0], 64], which
    hold the sums.
    """
    for c in range(columns[0], columns[1]):
        for q in range(span[0], span[1]):
            v0, v1, v2 = np.int64(values[c, q, 0]), np.int64(values[c, q, 1]), np.int64(values[c, q, 2])
            v3, v4, v5 = np.int64(values[c, q, 3]), np.int64(values[c, q, 4]), np.int64(values[c, q, 5])
            least = min(v0, 0) + min(v1, 0) + min(v2, 0) + min(v3, 0) + min(v4, 0) + min(v5, 0)
            low = add16(every16_as(BROAD, -least), both(load_as(BROAD, HAS_BIT, 0), every16_as(BROAD, v0)))
            low = add16(low, both(load_as(BROAD, HAS_BIT, 64), every16_as(BROAD, v1)))
            low = add16(low, both(load_as(BROAD, HAS_BIT, 128), every16_as(BROAD, v2)))
            low = add16(low, both(load_as(BROAD, HAS_BIT, 192), every16_as(BROAD, v3)))
            low = add16(low, both(load_as(BROAD, HAS_BIT, 256), every16_as(BROAD, v4)))
            out = 128 * (tables.shape[1] * (c - columns[0]) + q - span[0])
            store(tables, out, low)
            store(tables, out + 64, add16(low, every16_as(BROAD, v5)))


def fill_sixes_naive(values, columns, span, tables):
    """The definition."""
    bits = np.arange(ENTRIES)[:, None] >> np.arange(SIX) & 1
    sums = np.einsum("cqj,nj->cqn", values[columns[0] : columns[1], span[0] : span[1]].astype(np.int64), bits)
    tables[: columns[1] - columns[0], : span[1] - span[0]] = sums - sums.min(axis=2, keepdims=True)


@kernel
def sum_sixes(indices, tables, place, span, columns, psums):
    """psums[c, k, p] = the sum over the places of span of tables[c, q - span[0], indices[b, q, u, k, p]], held at 65535.

    place = (b, u); tables of `columns` columns, an even number; psums uint16 [>= columns, 4, 32].
    """
    count, units = indices.shape[1], indices.shape[2]
    start = (place[0] * count * units + place[1]) * 256
    stride = 256 * units
    for first in range(span[0], span[1], AT_ONCE):
        last = min(first + AT_ONCE, span[1])
        for c in range(0, columns, 2):
            out = 256 * c
            a0 = every16_as(BROAD, 0)
            a1 = a0
            a2 = a0
            a3 = a0
            b0 = a0
            b1 = a0
            b2 = a0
            b3 = a0
            if first > span[0]:
                a0 = load_as(BROAD, psums, out)
                a1 = load_as(BROAD, psums, out + 64)
                a2 = load_as(BROAD, psums, out + 128)
                a3 = load_as(BROAD, psums, out + 192)
                b0 = load_as(BROAD, psums, out + 256)
                b1 = load_as(BROAD, psums, out + 320)
                b2 = load_as(BROAD, psums, out + 384)
                b3 = load_as(BROAD, psums, out + 448)
            table = 128 * (tables.shape[1] * c + first - span[0])
            other = table + 128 * tables.shape[1]
            at = start + stride * first
            for _ in range(first, last):
                low = load_as(BROAD, tables, table)
                high = load_as(BROAD, tables, table + 64)
                lower = load_as(BROAD, tables, other)
                higher = load_as(BROAD, tables, other + 64)
                index = load_as(BROAD, indices, at)
                a0 = add16_held(a0, look_up_words(low, index, high))
                b0 = add16_held(b0, look_up_words(lower, index, higher))
                index = load_as(BROAD, indices, at + 64)
                a1 = add16_held(a1, look_up_words(low, index, high))
                b1 = add16_held(b1, look_up_words(lower, index, higher))
                index = load_as(BROAD, indices, at + 128)
                a2 = add16_held(a2, look_up_words(low, index, high))
                b2 = add16_held(b2, look_up_words(lower, index, higher))
                index = load_as(BROAD, indices, at + 192)
                a3 = add16_held(a3, look_up_words(low, index, high))
                b3 = add16_held(b3, look_up_words(lower, index, higher))
                table += 128
                other += 128
                at += stride
            store(psums, out, a0)
            store(psums, out + 64, a1)
            store(psums, out + 128, a2)
            store(psums, out + 192, a3)
            store(psums, out + 256, b0)
            store(psums, out + 320, b1)
            store(psums, out + 384, b2)
            store(psums, out + 448, b3)


def sum_sixes_naive(indices, tables, place, span, columns, psums):
    """The definition."""
    b, u = place
    for c, k in np.ndindex(columns, 4):
        mine = indices[b, span[0] : span[1], u, k].astype(np.int64)
        found = np.take_along_axis(tables[c, : span[1] - span[0]].astype(np.int64), mine, axis=1)
        psums[c, k] = np.minimum(found.sum(axis=0), 65535)


@kernel
def affine_sixes(psums, columns, rules, top, weights, block, sums):
    """As `affine_words`, a register of 32 words for a slice: psums uint16 [columns, 4, 32]."""
    highest = every16_as(BROAD, top)
    one = rules.shape[0] == 1
    points = sums.shape[1]
    w0, w1 = every16_as(BROAD, weights[0]), every16_as(BROAD, weights[1])
    w2, w3 = every16_as(BROAD, weights[2]), every16_as(BROAD, weights[3])
    for c in range(columns[0], columns[1]):
        rule = 0 if one else c
        up = every16_as(BROAD, rules[rule, 0])
        down = every16_as(BROAD, rules[rule, 1])
        at = (c - columns[0]) * 256
        a = sub16_held(add16_held(load_as(BROAD, psums, at), up), down)
        b = sub16_held(add16_held(load_as(BROAD, psums, at + 64), up), down)
        d = sub16_held(add16_held(load_as(BROAD, psums, at + 128), up), down)
        e = sub16_held(add16_held(load_as(BROAD, psums, at + 192), up), down)
        if rules[rule, 2] != 0:
            gain = every16_as(BROAD, rules[rule, 2])
            a, b, d, e = high16(a, gain), high16(b, gain), high16(d, gain), high16(e, gain)
        if rules[rule, 3] != 0:
            fall = every16_as(BROAD, rules[rule, 3])
            a, b, d, e = high16(a, fall), high16(b, fall), high16(d, fall), high16(e, fall)
        a = add16(low16(min16(a, highest), w0), low16(min16(b, highest), w1))
        d = add16(low16(min16(d, highest), w2), low16(min16(e, highest), w3))
        store(sums, (c * points + 32 * block) * 2, add16(a, d))


def affine_sixes_naive(psums, columns, rules, top, weights, block, sums):
    """The definition."""
    affine_words_naive(psums, columns, rules, top, weights, block, sums)


@kernel
def convert_by_sixes(indices, cells, linear, search, noise, drawn, scratch, sums):
    """sums[u, g, c, 32 * b + p]: weighed digits of unit u of group g's partial sums, as `convert_by_words` makes them.

    indices uint16 [B, Q, U, 4, 32], cells = (values int16 or int32 [C, Q, 6], spans int64 [G, 2]); linear = (rules, top,
    weights of units) and search = (trees, bits, digits), or None where codes are steps of the psum, as `convert_by_words`
    takes them, and noise too; drawn is `noise_by_tables`'s, or None. What is None is not compiled; scratch = (tables
    uint16 [SIX_COLUMNS, places of a group, 64], psums uint16 [SIX_COLUMNS, 4, 32], codes uint8 [SIX_COLUMNS, 4,
    32], places uint32 [B, 2, 32], words uint32 [4, 32], halves uint16 [4, 8, 32]: bits of draws).
    """
    values, spans = cells
    rules, top, weights = linear
    tables, psums, codes, places, words, halves = scratch
    total = values.shape[0]
    if noise is not None:
        for b in range(indices.shape[0]):
            read_places(noise[4], b, places[b])
    for g in range(spans.shape[0]):
        rule = rules[g if rules.shape[0] > 1 else 0]
        span = (spans[g, 0], spans[g, 1])
        for first in range(0, total, SIX_COLUMNS):
            columns = (first, min(first + SIX_COLUMNS, total))
            fill_sixes(values, columns, span, tables)
            for b in range(indices.shape[0]):
                for u in range(indices.shape[2]):
                    sum_sixes(indices, tables, (b, u), span, columns[1] - columns[0], psums)
                    if drawn is not None:
                        noise_by_tables(psums, columns, (g, u), (noise, drawn), places[b], (words, halves))
                    elif noise is not None:
                        noise_words(psums, columns, (g, u), noise, places[b], words)
                    if search is not None:
                        trees, bits, digits = search
                        search_words(psums, columns, trees[g if trees.shape[0] > 1 else 0], bits, codes)
                        if digits.shape[1] > 0:
                            table_bytes(codes, columns, ZERO, digits[g if digits.shape[0] > 1 else 0])
                        weigh_bytes(codes, columns, weights[u], b, sums[u, g])
                    else:
                        affine_sixes(psums, columns, rule, top, weights[u], b, sums[u, g])


def convert_by_sixes_naive(indices, cells, linear, search, noise, drawn, scratch, sums):
    """The definition: one group, unit and block after the other by the naive twins; `drawn` changes nothing."""
    values, spans = cells
    rules, top, weights = linear
    columns, most = (0, len(values)), int((spans[:, 1] - spans[:, 0]).max())
    psums, codes = (np.zeros((len(values), 4, 32), dtype=kind) for kind in (np.uint16, np.uint8))
    tables = np.zeros((len(values), most, ENTRIES), dtype=np.uint16)
    _, _, _, places, words, _ = scratch
    for g in range(len(spans)):
        fill_sixes_naive(values, columns, spans[g], tables)
        for b, u in np.ndindex(len(indices), indices.shape[2]):
            sum_sixes_naive(indices, tables, (b, u), spans[g], len(values), psums)
            if noise is not None:
                read_places_naive(noise[4], b, places[b])
                noise_words_naive(psums, columns, (g, u), noise, places[b], words)
            if search is not None:
                trees, bits, digits = search
                search_words_naive(psums, columns, trees[g % len(trees)], bits, codes)
                if digits.shape[1]:
                    table_bytes_naive(codes, columns, ZERO, digits[g % len(digits)])
                weigh_bytes_naive(codes, columns, weights[u], b, sums[u, g])
            else:
                affine_sixes_naive(psums, columns, rules[g % len(rules)], top, weights[u], b, sums[u, g])
