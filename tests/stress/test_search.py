"""`cimemu search`: the best of a space, under constraints, and on from where it was left."""

import csv
import json

import pytest

import cimemu
from cimemu.cli import main
from cimemu.prepare import load_recipe
from cimemu.stress import Hunt, search, sweep

pytest.importorskip("optuna")
VARY = {"macro.adc.bits": [4, 6, 8], ("macro.rows", "macro.active_rows"): [(64, 64), (128, 128)]}


@pytest.fixture(scope="module")
def given():
    work = cimemu.load_workload("digits")
    inputs, labels = work.inputs(2)
    return cimemu.load_arch("rram_128", {"chip.tiles": "auto"}), load_recipe(work), inputs, labels


def test_a_search_of_a_small_space_finds_the_best_points_of_its_sweep(given):
    arch, recipe, inputs, labels = given
    found = search(arch, recipe, inputs, labels, Hunt(VARY, ("energy_uj", "area_mm2"), trials=30))
    whole = sweep(arch, recipe, inputs, labels, vary=VARY)
    energy, area = whole.columns["energy_uj"], whole.columns["area_mm2"]
    best = {
        tuple(whole.parameters[i].items())
        for i in range(len(energy))
        if not any(
            (energy[j] <= energy[i]) and (area[j] <= area[i]) and (energy[j], area[j]) != (energy[i], area[i])
            for j in range(len(energy))
        )
    }
    keys = list(whole.parameters[0])
    told = {tuple((key, row[key]) for key in keys) for row in found.rows if row["best"]}
    seen = {tuple((key, row[key]) for key in keys) for row in found.rows}
    assert told == best & seen
    assert len(seen) >= 4
    for row in found.rows:
        place = whole.parameters.index({key: row[key] for key in keys})
        assert row["energy_uj"] == energy[place]


def test_points_that_break_a_constraint_are_not_the_best(given):
    hunt = Hunt(VARY, ("energy_uj",), ("area_mm2<=2.5", "macros>=1"), trials=12)
    rows = search(*given, hunt).rows
    assert any(not row["holds"] for row in rows)
    assert all(row["area_mm2"] <= 2.5 for row in rows if row["holds"])
    best = [row for row in rows if row["best"]]
    assert best
    assert min(row["energy_uj"] for row in rows if row["holds"]) == best[0]["energy_uj"]


def test_a_search_goes_on_where_its_file_ends_and_belongs_to_it_alone(given, tmp_path):
    first = search(*given, Hunt(VARY, ("energy_uj",), trials=3, storage=tmp_path / "s.log"))
    both = search(*given, Hunt(VARY, ("energy_uj",), trials=5, storage=tmp_path / "s.log"))
    assert both.rows[:3] == first.rows or len(both.rows) == 5
    assert len(both.rows) == 5
    with pytest.raises(cimemu.CimemuError, match="belongs to another search \\(goals\\)"):
        search(*given, Hunt(VARY, ("area_mm2",), trials=5, storage=tmp_path / "s.log"))


def test_a_point_that_is_no_chip_is_told_as_failed(given):
    rows = search(*given, Hunt({"macro.adc.bits": [5, 99]}, ("energy_uj",), trials=8)).rows
    assert {row["macro.adc.bits"]: bool(row["error"]) for row in rows}.items() <= {5: False, 99: True}.items()


def test_from_the_command_line_with_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "search",
        "rram_128",
        "digits",
        "--images",
        "1",
        "--vary",
        "macro.adc.bits=5,6",
        "--vary",
        "macro.rows=64,128",
    ]
    words += ["--with", "macro.rows:macro.active_rows=64,128", "--goal", "energy_uj", "--trials", "3"]
    assert main([*words, "--csv", "s.csv", "--storage", "s.log", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["points"]) == 3
    assert len(list(csv.DictReader((tmp_path / "s.csv").open()))) == 3
    assert main([*words, "--storage", "s.log"]) == 0  # nothing is left to run
    assert "best trade-offs of 3 points" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vary": {}}, "nothing to vary"),
        ({"goals": ("nosuch",)}, "no such figure, must be one of"),
        ({"goals": ()}, "no goal"),
        ({"where": ("area_mm2<20",)}, "must be FIGURE<=NUMBER"),
        ({"where": ("nosuch<=20",)}, "no such figure"),
        ({"where": ("area_mm2<=1e",)}, "must be FIGURE<=NUMBER"),
        ({"trials": 0}, "trials"),
        ({"workers": 0}, "workers"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(changes, said):
    with pytest.raises(cimemu.CimemuError, match=said):
        Hunt(**{"vary": VARY, **changes})


def test_a_point_is_run_once_and_listed_once_and_the_search_ends_when_all_are_known(given, tmp_path, monkeypatch):
    from cimemu.stress.sweep import SweepTask

    ran = []
    plain = SweepTask.run

    def counted(self, job):
        ran.append(tuple(self.points[job].items()))
        return plain(self, job)

    monkeypatch.setattr(SweepTask, "run", counted)
    keys = {"macro.adc.bits": [5, 6], "macro.columns_per_adc": [8, 16]}
    hunt = Hunt(keys, ("energy_uj",), trials=40, storage=tmp_path / "s.log")
    rows = search(*given, hunt).rows
    points = [(row["macro.adc.bits"], row["macro.columns_per_adc"]) for row in rows]
    assert len(points) == len(set(points)) == len(ran) == len(set(ran)) <= 4
    again = search(*given, hunt).rows
    assert len(ran) == 4
    assert {tuple(sorted(map(str, row.items()))) for row in again} >= {
        tuple(sorted(map(str, row.items()))) for row in rows
    }
