"""Blocks of cells written by a model, as populations to test."""

import numpy as np

from cimemu.variation.base import BLOCK_STAGES, Block
from cimemu.variation.compose import compose

SEED = 7


def written(vary, targets, *, top=None, macro=0, first_column=0, write=0, seed=SEED, trial=0, largest_input=1):
    """Effective levels of a block with ideal levels `targets` after the cell models `vary`."""
    return write_block(
        vary, targets, top=top, macro=macro, first_column=first_column, write=write, seed=seed, trial=trial
    ).levels


def write_block(vary, targets, *, top=None, macro=0, first_column=0, write=0, seed=SEED, trial=0, largest_input=1):
    """The whole block, with its pulses."""
    targets = np.asarray(targets, dtype=np.uint8)
    top = int(targets.max(initial=1)) if top is None else top
    variations = compose(vary, seed, trial)
    leakage = variations.leakage(top)
    block = Block(targets.astype(np.float64), targets, top, macro, first_column, write, largest_input, leakage)
    for stage in BLOCK_STAGES:
        for model, stream in variations.at(stage):
            model.write(block, stream)
    return block


def full(level, rows=256, columns=256):
    """A block that holds one level."""
    return np.full((rows, columns), level, dtype=np.uint8)
