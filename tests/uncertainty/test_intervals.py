"""90 % intervals: a price's own, right for products and sums, the same from parts and wholes, and never in the figures."""

import json
from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.cost.basis import KINDS, OF_ESTIMATOR, QUANTITIES, basis_of
from cimemu.cost.schema import MODELS
from cimemu.errors import CimemuError
from cimemu.tally import COMPONENTS
from cimemu.uncertainty import ChipDraws, beats, interval, multipliers, spreads
from cimemu.uncertainty.draws import factors
from cimemu.uncertainty.prices import FAMILY_OF, Spread


def spread(name="adc", low=0.5, high=2.0, basis="stated", quantity="energy", node=28.0, identity=""):
    return Spread(name, quantity, low, high, basis, True, FAMILY_OF.get(name, name), node, identity or name)


@pytest.fixture(scope="module")
def result():
    workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    return cimemu.run(arch, network, workload.inputs(2)[0])


@pytest.mark.parametrize("basis", KINDS)
@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (0.9, 3.0), (0.2, 1.1)])
def test_the_interval_of_one_price_is_its_own(basis, low, high):
    found = interval(factors(spread(low=low, high=high, basis=basis)))
    assert log(found.low) == pytest.approx(log(low), rel=0.06)  # a quantile of 4,096 draws is that sure
    assert log(found.high) == pytest.approx(log(high), rel=0.06)


def test_an_interval_of_no_width_is_the_price():
    assert set(factors(spread(low=1.0, high=1.0))) == {1.0}


def test_a_product_of_lognormal_factors_has_the_analytic_interval():
    """Two families, each with shares of its own: their product is lognormal with the sum of the variances."""
    one, other = spread("adc", 0.5, 2.0, "assumed", node=28.0), spread("tile_buffer", 1 / 3, 3.0, "assumed", node=65.0)
    found = interval(factors(one) * factors(other))
    reach = sqrt(log(2) ** 2 + log(3) ** 2)
    assert found.low == pytest.approx(exp(-reach), rel=0.04)
    assert found.high == pytest.approx(exp(reach), rel=0.04)


@pytest.mark.parametrize("basis", KINDS)
def test_prices_share_what_the_table_says(basis):
    """Correlations of logarithms: of one node, of one node and family, of one identity."""
    kind = KINDS[basis]
    mine = np.log(factors(spread("adc", basis=basis)))

    def correlation(other):
        return float(np.corrcoef(mine, np.log(factors(other)))[0, 1])

    assert correlation(spread("tile_buffer", basis=basis)) == pytest.approx(kind.technology, abs=0.05)
    assert correlation(spread("sample_hold", basis=basis)) == pytest.approx(kind.technology + kind.family, abs=0.05)
    assert correlation(spread("tile_buffer", basis=basis, node=65.0)) == pytest.approx(0, abs=0.05)
    assert correlation(spread("adc", basis=basis, quantity="area")) == pytest.approx(0, abs=0.05)
    assert correlation(spread("adc", basis=basis)) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["rram_128", "digital_cim", "isaac", "wang_vlsi_2022"]),
)
def test_parts_and_wholes_come_from_the_same_draws(rows, seed, name):
    rng = np.random.default_rng(seed)
    pj = rng.uniform(0, 1e6, (rows + 1, len(COMPONENTS)))
    tree = cimemu.load_arch(name).model_dump(mode="json")
    draws = ChipDraws.of(tree, COMPONENTS, pj, rng.uniform(0, 1e5, len(COMPONENTS)))
    np.testing.assert_allclose(draws.rows().sum(axis=1), draws.total(), rtol=1e-12)
    np.testing.assert_allclose(draws.components().sum(axis=1), draws.total(), rtol=1e-12)
    low, high = interval(draws.total())
    assert low < pj.sum() < high
    assert sum(draws.dominating().values()) == pytest.approx(1)


def test_draws_are_the_same_whatever_else_is_drawn():
    """By names alone: another chip, or another order, changes no price's factors."""
    tree = cimemu.load_arch("rram_128").model_dump(mode="json")
    whole = multipliers(spreads(tree, COMPONENTS)).energy
    turned = multipliers(spreads(tree, COMPONENTS[::-1])).energy
    assert (whole[:, ::-1] == turned).all()


@pytest.mark.parametrize("name", [name for name, *_ in cimemu.list_archs()])
def test_every_price_of_every_preset_has_an_interval_of_some_width(name):
    for found in spreads(cimemu.load_arch(name).model_dump(mode="json"), COMPONENTS).values():
        assert [one.component for one in found] == list(COMPONENTS)
        assert all(one.low < 1 < one.high for one in found)


def test_every_component_has_a_family_and_every_estimator_a_basis():
    assert set(FAMILY_OF) == set(COMPONENTS)
    assert set(OF_ESTIMATOR) == set(MODELS)


@pytest.mark.parametrize(
    ("price", "quantity", "basis"),
    [
        ({"source": ""}, "energy", "unstated"),
        ({"source": "a paper's table"}, "energy", "stated"),
        ({"source": "C V^2 of the line, 0.9 V; area assumed"}, "energy", "physics"),
        ({"source": "C V^2 of the line, 0.9 V; area assumed"}, "area", "assumed"),
        ({"source": "scaled to 28 nm; leakage assumed"}, "leakage", "assumed"),
        ({"source": "scaled to 28 nm; leakage assumed"}, "energy", "scaled"),
        ({"source": "measured", "energy_scale": 2.0}, "energy", "calibrated"),
        ({"source": "assumed", "basis": "measured"}, "energy", "measured"),
        ({"source": "", "estimator": {"model": "survey"}}, "energy", "survey"),
        ({"source": "", "estimator": {"model": "of_a_plug_in"}}, "energy", "stated"),
    ],
)
def test_what_a_price_rests_on_is_told_by_basis_estimator_scale_and_words(price, quantity, basis):
    assert basis_of(price, quantity) == basis


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("component", ["adc", "cell", "tile_buffer"])
def test_an_interval_of_the_file_is_taken(component, quantity):
    arch = cimemu.load_arch("rram_128", {f"costs.{component}.{quantity}_interval": [0.9, 1.2]})
    found = spreads(arch.model_dump(mode="json"), COMPONENTS)[quantity][COMPONENTS.index(component)]
    assert (found.low, found.high, found.given) == (0.9, 1.2, True)


@pytest.mark.parametrize("ends", [[1.1, 2.0], [0.0, 2.0], [0.5, 0.9], [-1.0, 1.0]])
def test_an_interval_that_does_not_hold_the_price_is_refused(ends, capsys):
    with pytest.raises(CimemuError, match="must be \\[low, high\\] with 0 < low <= 1 <= high"):
        cimemu.load_arch("rram_128", {"costs.cell.energy_interval": ends})


@pytest.mark.parametrize("circuit", ["flash", "ramp"])
def test_a_converter_that_is_priced_by_comparisons_is_as_sure_as_they_are(circuit):
    arch = cimemu.load_arch(
        "rram_128", {"macro.adc.circuit": circuit, "costs.adc.comparator.energy_interval": [0.8, 1.3]}
    )
    found = spreads(arch.model_dump(mode="json"), COMPONENTS)["energy"][0]
    assert (found.low, found.high) == (0.8, 1.3)


def test_keys_of_intervals_are_in_a_dump_only_where_they_are_given():
    """So that traces of chips without them have the bytes that they had."""
    plain = cimemu.load_arch("rram_128").model_dump_json()
    assert "interval" not in plain
    assert "basis" not in plain
    given = cimemu.load_arch("rram_128", {"costs.cell.basis": "measured", "costs.adc.area_interval": [0.5, 1.5]})
    assert cimemu.Arch.model_validate_json(given.model_dump_json()) == given


def test_a_run_and_its_trace_have_one_interval(result, tmp_path):
    low, high = result.energy_interval()
    assert low < result.energy_uj < high
    arch = result.plan.arch
    workload = cimemu.load_workload("digits")
    quantized = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    cimemu.run(arch, quantized, workload.inputs(2)[0], trace=tmp_path / "a.h5")
    assert cimemu.open_trace(tmp_path / "a.h5").energy_interval() == (low, high)


def test_a_run_without_energy_says_so():
    workload, arch = cimemu.load_workload("digits"), cimemu.load_arch("rram_128")
    network = cimemu.quantize(cimemu.load_network(workload.network), arch, workload.calibration())
    with pytest.raises(CimemuError, match="has no energy"):
        cimemu.run(arch, network, workload.inputs(1)[0], detail=None).energy_interval()


def test_the_share_of_draws_counts_both_ways():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=1000), rng.normal(size=1000) + 0.3
    assert beats(one, other) + beats(other, one) == pytest.approx(1)
    assert beats(one, one) == 0.5


def test_every_door_prints_the_interval(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = ["run", "rram_128", "digits", "-n", "2"]
    assert main([*run, "--out", "a.h5", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    for key in ("energy_uj", "energy_uj_per_image", "power_mw", "tops_per_w", "tops_per_mm2", "area_mm2"):
        assert said[f"{key}_low"] < said[key] < said[f"{key}_high"]
    assert sum(said["interval_by"].values()) == pytest.approx(1)
    for section, figure in (("layers", "nJ/image"), ("components", "uJ"), ("components", "mm2")):
        rows = [row for row in said["report"][section] if row[figure]]
        assert all(row[f"{figure} low"] < row[figure] < row[f"{figure} high"] for row in rows)
    assert main(["report", "a.h5"]) == 0
    assert "in brackets: 90 % intervals" in capsys.readouterr().out
    assert main(["report", "a.h5", "--html", "a.html"]) == 0
    assert '"energy_uj_low"' in (tmp_path / "a.html").read_text()
    assert main(["cost", "rram_128", "--json"]) == 0
    table = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert table["area_mm2_low"] < table["area_mm2"] < table["area_mm2_high"]
    assert next(iter(table["interval_by"])) == "adc"


def test_a_sweep_says_how_sure_its_order_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "sweep",
        "rram_128",
        "digits",
        "-n",
        "2",
        "--vary",
        "macro.adc.bits=6,7",
        "--out",
        "s.h5",
        "--plot",
        "s.png",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "macro.adc.bits=6 takes less than macro.adc.bits=7, the next, in 100 % of draws" in said
    assert main(["report", "s.h5", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["points"]:
        assert row["energy_low_uj"] < row["energy_uj"] < row["energy_high_uj"]
        assert row["area_low_mm2"] < row["area_mm2"] < row["area_high_mm2"]


def test_a_difference_says_which_chip_takes_less(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, bits in (("a.h5", 7), ("b.h5", 6)):
        assert (
            main(["run", "rram_128", "digits", "-n", "1", "--set", f"macro.adc.bits={bits}", "--out", name, "--json"])
            == 0
        )
    capsys.readouterr()
    assert main(["diff", "a.h5", "b.h5"]) == 0
    assert "an image takes less energy after than before in 100 % of draws" in capsys.readouterr().out
    assert cimemu.diff_traces("b.h5", "a.h5")["after_takes_less"] == 0
