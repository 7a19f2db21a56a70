"""What estimators are told of a macro and its technology."""

from typing import Any

import numpy as np

from cimemu.adc import IdealAdc, LinearAdc, plain
from cimemu.arch.macro import Macro
from cimemu.cost.schema import Technology
from cimemu.cost.site import Site


def make_site(macro: Macro, clock_ns: float, technology: Technology | None) -> Site:
    """The site of a macro; `component` is filled in for each component that is asked about."""
    timing, adc = macro.timing, macro.adc
    drive = macro.drive_cycles
    convert = min(macro.columns_per_adc, macro.columns) * adc.conversion_cycles()
    pulse_cycles = {
        "pulse": timing.wordline_cycles,
        "bits": timing.wordline_cycles + timing.sample_cycles,  # of its lowest bit
        "voltage": drive,
    }[macro.input.dac]
    return Site(
        component="",
        node_nm=None if technology is None else technology.node_nm,
        voltage_v=None if technology is None else technology.voltage_v,
        rows=macro.rows,
        columns=macro.columns,
        cell_levels=2**macro.cell.bits - 1,
        slice_levels=2**macro.input.dac_bits - 1,
        pulse_dac={"pulse": True, "bits": True, "voltage": False}[macro.input.dac],
        slice_pulses=macro.slice_pulses,
        pulse_ns=pulse_cycles * clock_ns,
        step_ns=(max(drive, convert) if timing.overlap else drive + convert) * clock_ns,
        conversion_ns=adc.conversion_cycles() * clock_ns,
        circuit="" if isinstance(adc, IdealAdc) else adc.circuit,
        adc_bits=0 if isinstance(adc, IdealAdc) else adc.bits,
        thresholds=_thresholds(adc),
    )


def _thresholds(adc: Any) -> tuple[float, ...]:
    """Thresholds of the first converter."""
    adc = plain(adc)
    if isinstance(adc, IdealAdc):
        return ()
    if isinstance(adc, LinearAdc):
        first = [np.asarray(value, dtype=np.float64).ravel()[:1] for value in (adc.lsb, adc.zero)]
        return tuple(adc.references(*first)[0].ravel().tolist())
    return tuple(np.asarray(adc.thresholds, dtype=np.float64).reshape(-1, 2**adc.bits - 1)[0].tolist())
