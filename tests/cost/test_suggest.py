"""Cost tables from few facts: whole, taken by an architecture, monotone where physics is, and refused in one line."""

import itertools
import json
from typing import get_args

import pytest
import yaml

import cimemu
from cimemu.cli import main
from cimemu.cost.schema import Costs
from cimemu.cost.suggest import Cell, Circuit
from cimemu.errors import CimemuError

CIRCUITS = [name for name in get_args(Circuit) if name != "none"]
PAIRS = [*itertools.product([name for name in get_args(Cell) if name != "digital"], CIRCUITS), ("digital", "none")]


def chip(costs, cell, circuit, bits=6):
    adc = "ideal" if circuit == "none" else {"model": "linear", "bits": bits, "lsb": 1, "circuit": circuit}
    return cimemu.load_arch("digital_cim" if cell == "digital" else "rram_128", {"costs": costs, "macro.adc": adc})


@pytest.mark.parametrize("node", [7, 14, 28, 40, 65, 130])
@pytest.mark.parametrize(("cell", "circuit"), PAIRS)
def test_every_table_is_whole_and_has_a_source_or_an_estimator_for_every_price(cell, circuit, node):
    costs = cimemu.suggest_costs(node, cell=cell, converter=circuit)
    missing = set(Costs.model_fields) - set(costs)
    assert missing == ({"adc", "sample_hold", "reference_switch"} if cell == "digital" else set())
    for name, price in costs.items():
        assert name == "technology" or ("basis" in price and ("source" in price or "estimator" in price))
    for row in cimemu.cost_table(chip(costs, cell, circuit)):
        assert row.energy_pj >= 0
        if row.energy_pj:
            assert row.energy_low_pj < row.energy_pj < row.energy_high_pj


@pytest.mark.parametrize("circuit", CIRCUITS)
def test_a_conversion_costs_more_with_more_bits_and_a_larger_node(circuit):
    for bits in range(4, 10):
        assert (
            cimemu.suggest_costs(28, converter=circuit, adc_bits=bits)["adc"]["energy_pj"]
            < cimemu.suggest_costs(28, converter=circuit, adc_bits=bits + 1)["adc"]["energy_pj"]
        )
    energies = [cimemu.suggest_costs(node, converter=circuit)["adc"]["energy_pj"] for node in (7, 14, 28, 65, 130)]
    assert energies == sorted(energies)


def test_the_command_prints_what_an_architecture_takes_and_what_python_gives(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["cost", "suggest", "--node", "28", "--cell", "rram", "--rows", "256", "--adc-bits", "7", "--clock-ns", "2"]
    made = cimemu.suggest_costs(28.0, cell="rram", rows=256, adc_bits=7, clock_ns=2.0)
    assert main(words) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"costs": made}
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"costs": made}
    assert main([*words, "--out", "c.yaml"]) == 0
    told = yaml.safe_load((tmp_path / "c.yaml").read_text())
    capsys.readouterr()
    assert (
        main(
            [
                "run",
                "rram_128",
                "digits",
                "-n",
                "1",
                "--no-trace",
                "--json",
                "--set",
                f"costs={json.dumps(told['costs'])}",
            ]
        )
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["energy_uj_low"] < said["energy_uj"] < said["energy_uj_high"]
    assert main([*words, "--out", "c.yaml"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suggest"], "--node is missing"),
        (["suggest", "--node", "3"], "--node = 3.0, must be"),
        (["suggest", "--node", "nan"], "--node = nan, must be"),
        (["suggest", "--node", "28", "--cell", "nosuch"], "must be one of sram"),
        (["suggest", "--node", "28", "--converter", "nosuch"], "must be one of sar"),
        (["suggest", "--node", "28", "--cell", "digital", "--converter", "sar"], "give converter none"),
        (["suggest", "--node", "28", "--rows", "0"], "rows = 0"),
        (["suggest", "--node", "28", "--adc-bits", "15"], "--adc-bits = 15, must be"),
        (["suggest", "--node", "28", "--supply", "0"], "--supply = 0.0, must be"),
        (["suggest", "--node", "28", "--clock-ns", "inf"], "--clock-ns = inf, must be"),
        (["suggest", "--node", "28", "--python", "python3"], "belongs to `cimemu cost import`"),
        (["rram_128", "--rows", "5"], "belongs to `cimemu cost suggest`"),
        (["import", "--node", "28"], "belongs to `cimemu cost suggest`"),
    ],
)
def test_a_wrong_fact_is_one_line(words, message, capsys):
    assert main(["cost", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_python_refuses_what_the_command_line_does():
    with pytest.raises(CimemuError, match="must be one of sram"):
        cimemu.suggest_costs(28, cell="nosuch")
    with pytest.raises(CimemuError):
        cimemu.suggest_costs(28, nosuch=1)
    for wrong in (
        {"adc_bits": 15},
        {"rows": 0},
        {"supply_v": 0.0},
        {"clock_ns": 0.0},
        {"converter": "sar", "cell": "digital"},
    ):
        with pytest.raises(CimemuError, match=r"must be|give converter none"):
            cimemu.suggest_costs(28, **wrong)
    with pytest.raises(CimemuError, match=r"must be 7 \.\. 130"):
        cimemu.suggest_costs(3)
