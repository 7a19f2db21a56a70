"""Converters by bits, rate and node: a regression on Murmann's survey in closed form.

Source: T. Andrulis et al., "Modeling Analog-Digital-Converter Energy and Area for Compute-In-Memory Accelerator
Design", arXiv 2404.06553; coefficients from the MIT-licensed model file of accelergy-adc-plug-in (c) 2021 Tanner
Andrulis; data: B. Murmann, "ADC Performance Survey 1997-2023". It answers "what is the best possible converter",
by effective bits; converters of published macros lie within a factor of 4 of it either way, so calibrate with
`energy_scale` and `area_scale`.
"""

from math import ceil, exp, log, log10

BITS = (4.0, 14.0)
NODES_NM = (5.0, 180.0)
MAX_RATE_HZ = 1e10
# Best Schreier figure of merit by effective bits: the listed 21 values lie on this line.
FOM_AT_0_DB, FOM_PER_BIT_DB = 128.3068287398817, 3.2205115109775617
FOM_FREE_DB, FOM_PER_LN_HZ = 213.7806687348118, -2.8719030399529957
TECH_INTERCEPT, TECH_SLOPE = 26.0496215686518, 1.8800369206815004
ENOB_SLOPE, ENERGY_RESIDUAL = -2.8291256050594527, -1.4702022133784405
AREA_INTERCEPT, AREA_NODE = 1.3461916439910742, 0.9932794744745022
AREA_RATE, AREA_ENERGY = 0.18071538424508238, 0.29912426192653485


def survey_energy_pj(enob: float, rate_hz: float, node_nm: float) -> float:
    """Energy of one conversion of `enob` effective bits at `rate_hz` conversions a second and converter."""
    best = FOM_AT_0_DB + FOM_PER_BIT_DB * min(max(ceil(enob), 0), 20)
    fom = min(FOM_FREE_DB + FOM_PER_LN_HZ * log(rate_hz), best)
    sndr = enob * 20 * log10(2) + 10 * log10(1.5)
    shape = TECH_INTERCEPT + TECH_SLOPE * log(node_nm) + ENOB_SLOPE * log(enob) + ENERGY_RESIDUAL
    return 0.5 * 10 ** ((sndr - fom) / 10) * exp(shape)


def survey_area_um2(energy_pj: float, rate_hz: float, node_nm: float) -> float:
    """Area of one converter that spends `energy_pj` a conversion at `rate_hz`."""
    return exp(AREA_INTERCEPT + AREA_NODE * log(node_nm) + AREA_RATE * log(rate_hz) + AREA_ENERGY * log(energy_pj))
