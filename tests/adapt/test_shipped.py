"""The adapted network that ships: small, exact, and as accurate on the emulator as its README says."""

import re
from pathlib import Path

import cimemu
from cimemu.arch.load import load_arch
from cimemu.loading.load import load_workload

FOLDER = Path(__file__).parents[2] / "workloads" / "digits_w4a4"
CHIP = {
    "macro.cell.bits": 2,
    "macro.weight.encoding": "differential",
    "macro.weight.subtract": "analog",
    "macro.input.dac_bits": 4,
}


def test_the_adapted_digits_run_as_accurately_as_their_readme_says():
    work = load_workload("digits_w4a4")
    assert work.network.stat().st_size < 2**20
    network = cimemu.load_network(work.network)
    assert network.is_quantized
    assert network.scheme["name"] == "digits_w4a4"
    assert {adc.bits for adc in network.converters.values()} == {3}
    inputs, labels = work.inputs()
    arch = load_arch("rram_128", CHIP)
    result = cimemu.run(arch, cimemu.quantize(network, arch), inputs, labels, detail=None)
    said = re.search(r"with 3-bit converters: ([0-9.]+) % of 360 images", (FOLDER / "README.md").read_text())
    assert said is not None
    assert f"{100 * result.accuracy:.2f}" == said[1]
    untrained = re.search(r"before training: ([0-9.]+) %", (FOLDER / "README.md").read_text())
    assert untrained is not None
    assert float(said[1]) > float(untrained[1])
