"""The event vocabulary: what is counted when values flow, and what a unit does in time.

`Counter` rows are counted per image and layer (axis order of every activity array:
`activity[image, layer, counter]`, int64); each is one column of the energy tally.
`Kind` labels a row of the trace's event table; `Cause` says why a unit waited.
"""

from enum import IntEnum
from typing import NamedTuple


class Counter(IntEnum):
    """Countable events of one layer and image; energy = count x price."""

    MACRO_OPS = 0  # one input vector on one macro
    STEPS = 1  # (group, input slice) driven and converted, a macro operation each
    SKIPPED_STEPS = 2  # (group, input slice) skipped because its inputs are all zero
    WORDLINES_RAISED = 3  # wordlines with a non-zero input in a driven (group, slice)
    WORDLINE_PULSES = 4  # what wordlines draw: pulses of a pulse DAC; squares of the slice values of a voltage DAC, of
    # which `Macro.line_unit` are one line charged to the full voltage (1 a raised line for a 1-bit DAC)
    CELL_PULSES = 5  # the same drawn from the raised cells on used columns (off cells included);
    # digital cells: input bits that change, times the used columns
    CELL_LEVEL_PULSES = 6  # the same weighted by the cell's level, rounded to an integer for non-ideal cells;
    # digital cells: product bits that change
    CONVERSIONS = 7  # column psums turned into values
    REFERENCE_SWITCHES = 8  # a shared converter's references change between neighbouring columns
    SHIFT_ADDS = 9  # converted values shifted and added
    CORRECTION_ADDS = 10  # inputs added for sum_k x (digital correction)
    PSUM_ADDS = 11  # a macro's outputs added to those of other row blocks
    INPUT_BITS = 12  # bits latched into macro input registers
    OUTPUT_BITS = 13  # bits out of macro accumulators
    DIGITAL_OPS = 14  # elementary operations on the digital unit's lanes
    BUFFER_READ_BITS = 15  # tile buffers
    BUFFER_WRITE_BITS = 16
    GLOBAL_READ_BITS = 17  # global buffer
    GLOBAL_WRITE_BITS = 18
    NOC_BIT_HOPS = 19  # bits x hops over the interconnect
    OFFCHIP_READ_BITS = 20
    OFFCHIP_WRITE_BITS = 21
    CELL_WRITES = 22  # cells programmed
    SCALE_MULTIPLICATIONS = 23  # converter scales that are no integers, applied by the digital unit
    WAKE_UPS = 24  # gated macros that were switched on again


class Kind(IntEnum):
    """What a unit does during an event of the trace."""

    PROGRAM = 0
    LOAD = 1  # input vector into macro registers
    MACRO = 2  # a whole macro operation (detail: ops)
    DRIVE = 3  # wordlines raised and sampled (detail: cycles)
    CONVERT = 4  # one round of a macro's converters (detail: cycles)
    SHIFT_ADD = 5  # (detail: cycles)
    SKIP = 6  # a skipped (group, slice) (detail: cycles)
    PSUM = 7  # outputs moved to and added in the tile accumulator
    DIGITAL = 8
    MOVE = 9  # a packet over an interconnect link or bus
    BUFFER = 10  # global buffer access
    OFFCHIP = 11
    WAKE = 12  # a gated macro is switched on, before its operation


class Cause(IntEnum):
    """Why a unit waited."""

    ADC = 0
    BUS = 1
    BUFFER = 2
    NOC = 3
    MEMORY = 4
    DATA = 5
    PROGRAMMING = 6
    DONE = 7  # no work is left (or none has come yet) for this unit


class Pulses(NamedTuple):
    """What writing one block of cells took where a cell may need several pulses."""

    cells: int  # pulses of all cells
    rows: int  # of each row the most that one of its cells took, summed: a row is written at once
