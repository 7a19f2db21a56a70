"""System claims: what is printed comes from runs, and says what holds and what does not."""

import itertools
import json
import os

import numpy as np
import pytest

import cimemu
from cimemu.claims.activation_bits import BITS, BitsRow, best_bits
from cimemu.claims.converter_area import area_rows
from cimemu.claims.nonlinear import base_arch, choices, equal_bits, psum_errors, system_rows
from cimemu.claims.resnet import resnet18, resnet20
from cimemu.claims.utilization import utilization_rows
from cimemu.cli import main

DATA = os.environ.get("CIMEMU_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="CIMEMU_DATA is not set")


def test_the_shapes_are_those_of_the_papers():
    # He et al., CVPR 2016: 1.8 GMACs and 11.7 M parameters; 0.27 M for ResNet-20.
    layers = [layer for layer in resnet18(6, 2).layers if hasattr(layer, "geometry")]
    assert sum(layer.geometry.macs for layer in layers) == pytest.approx(1.81e9, rel=0.01)
    assert sum(layer.weight.size for layer in layers) == pytest.approx(11.67e6, rel=0.01)
    small = [layer for layer in resnet20(4, 1).layers if hasattr(layer, "geometry")]
    assert sum(layer.weight.size for layer in small) == pytest.approx(0.272e6, rel=0.01)
    assert {int(v) for layer in small for v in np.unique(layer.weight)} == {-1, 1}


@pytest.mark.slow
def test_energy_latency_and_area_only_grow_with_activation_bits(capsys):
    assert main(["claims", "activation-bits", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    serial, at_once = ([BitsRow(**row) for row in rows] for name, rows in data.items() if name != "notes")
    for rows in (serial, at_once):
        assert [row.bits for row in rows] == list(BITS)
        for a, b in itertools.pairwise(rows):
            assert a.energy_nj < b.energy_nj
            assert a.latency_us <= b.latency_us
            assert a.area_mm2 < b.area_mm2
        assert best_bits(rows) == {"energy": 1, "energy x latency": 1, "energy x latency x area": 1}
    assert [row.conversions for row in serial] == [bits * at_once[0].conversions for bits in BITS]


def test_with_accuracy_the_optimum_depends_on_the_cost_model():
    rows = [
        BitsRow(bits, 100.0 * bits, 1.0, 1.0, 1, accuracy)
        for bits, accuracy in ((1, 0.1), (2, 0.4), (4, 0.9), (6, 0.95))
    ]
    found = best_bits(rows)
    assert found["energy a correct image"] == 4  # 1000, 500, 444, 632
    assert found["energy x error rate"] == 6  # 90, 120, 40, 30
    assert found["least bits within 1 point"] == 6


def test_a_shared_ramp_is_smaller_than_earlier_converters_and_the_more_so_the_more_bits():
    rows = area_rows()
    for a, b in itertools.pairwise(rows):
        assert 1 < a.own_over_shared < b.own_over_shared
        assert 1 < a.flash_over_shared < b.flash_over_shared
    # 2.5 um2 cells whose thresholds' distances grow from 1 to 3: 1, 1, 2, 2, 2, 3, 3 cells are 14 at 3 bits.
    assert rows[0].own_ramp - rows[0].shared_ramp == pytest.approx(14 * 2.5 * (1 - 1 / 256), rel=0.02)


@needs_data
@pytest.mark.long
@pytest.mark.slow
def test_macro_aware_widths_fill_the_macros_and_leave_nothing_to_load_again():
    network = cimemu.load_network(f"{DATA}/networks/resnet20_cifar10.onnx")
    before, after = utilization_rows(cimemu.load_arch("sram_256"), network, budget=16)
    assert before.parameters == 268336
    assert before.phases > 1
    assert before.reload_us > 0
    assert after.phases == 1
    assert after.reload_us == 0
    assert after.macros <= 16
    assert after.utilization > before.utilization
    assert 0 < after.compression < 1


def test_a_claim_is_printed_as_a_table_and_as_json(capsys):
    assert main(["claims", "converter-area"]) == 0
    assert "flash / shared" in capsys.readouterr().out
    assert main(["claims", "converter-area", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert main(["claims", "speed"]) == 2
    assert "claim 'speed': not known, choose of utilization" in capsys.readouterr().err


@needs_data
@pytest.mark.slow
def test_linear_levels_need_more_bits_for_the_error_of_nonlinear_ones_on_real_psums():
    work = cimemu.load_workload("cifar10_resnet20")
    network, images = cimemu.load_network(work.network), work.calibration()[:8]
    rows = psum_errors(network, base_arch(), images, vectors=64)
    error = {(row.method, row.bits): row.relative_error for row in rows}
    assert error["bs_kmq_drop", 3] < error["linear_mse", 3] < error["linear", 3]
    for method in ("linear", "linear_mse"):
        assert [error[method, bits] for bits in range(3, 8)] == sorted(
            (error[method, b] for b in range(3, 8)), reverse=True
        )
    whole, clipped = equal_bits(rows, "bs_kmq_drop")
    assert 3 < clipped <= whole
    assert error["linear", whole] <= error["bs_kmq_drop", 3] < error["linear", whole - 1]


@pytest.fixture(scope="module")
def chosen():
    thresholds, levels = [-162.0, -91.0, -42.0, -6.5, 26.0, 67.5, 131.5], [-205.0, -119, -63, -21, 8, 44, 91, 172]
    return choices(thresholds, levels, 4)


def test_the_nonlinear_chip_and_the_sar_chips_differ_in_their_converters_only(chosen):
    ours, same, _, serial, _ = (cimemu.load_arch("cityu_imadc_2026", choice.overrides).macro for choice in chosen)
    assert ours.rows == same.rows == serial.rows == 256
    assert (ours.weight, ours.cell, ours.input) == (same.weight, same.cell, same.input)
    assert (same.input_slices, serial.input_slices) == (1, 6)
    # 7 steps for all columns at once against 8 rounds of 4 cycles; driving 6 bits takes 6 + 1 cycles, or 6 x (1 + 1).
    assert cimemu.op_cycles(ours, 256, 128) == 7 + 7
    assert cimemu.op_cycles(same, 256, 128) == 7 + 32
    assert cimemu.op_cycles(serial, 256, 128) == 6 * (2 + 32)


@pytest.mark.long
@pytest.mark.slow
def test_one_nonlinear_conversion_is_faster_and_cheaper_than_six_of_a_sar_on_resnet18(chosen):
    rows = system_rows([chosen[0], chosen[3]], side=32)
    assert rows[1].latency_us > 4 * rows[0].latency_us
    # Six conversions of four comparisons (and capacitors) in the place of one of seven.
    assert rows[1].adc_uj / rows[0].adc_uj == pytest.approx(6 * 4 / 7, rel=0.1)
    assert rows[0].energy_uj > rows[0].macro_uj > rows[0].adc_uj > 0
