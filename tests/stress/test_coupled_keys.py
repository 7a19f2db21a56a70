"""`--with`: keys of a sweep that change together."""

import json

import pytest

import cimemu
from cimemu.cli import main
from cimemu.stress.grid import all_combinations, coupled, key_values
from cimemu.stress.sweep import sweep_points


def made(vary, *together):
    return all_combinations(coupled(key_values(vary), together))


def test_coupled_keys_take_their_values_together_and_others_in_every_combination():
    points = made(["a=1,2", "b=5,6,7"], "c=x,y", "d=[1],[2],[3]")
    assert len(points) == 6
    assert {(p["a"], p["c"]) for p in points} == {(1, "x"), (2, "y")}
    assert {(p["b"], tuple(p["d"])) for p in points} == {(5, (1,)), (6, (2,)), (7, (3,))}
    assert [p["b"] for p in points[:3]] == [5, 6, 7]


def test_the_varied_key_is_named_where_several_have_as_many_values():
    assert {(p["b"], p["c"]) for p in made(["a=1,2", "b=3,4"], "b:c=5,6")} == {(3, 5), (4, 6)}
    assert {(p["a"], p["c"], p["d"]) for p in made(["a=1,2"], "c=5,6", "d=7,8")} == {(1, 5, 7), (2, 6, 8)}


@pytest.mark.parametrize(
    ("vary", "together", "said"),
    [
        (["a=1,2", "b=3,4"], "c=5,6", r"--with c=5,6: goes with a or b.*--with a:c=5,6"),
        (["a=1,2"], "c=5,6,7", r"has 3 values, must be as many as a --vary has \(a 2\)"),
        ([], "c=5", r"has 1 values, must be as many as a --vary has \(none\)"),
        (["a=1,2"], "a=5,6", r"a is varied already"),
        (["a=1,2"], "x:b=5,6", r"x is not varied, give --vary x=V1,V2"),
        (["a=1,2", "b=3"], "b:c=5,6", r"must be as many"),
        (["a=1,2"], "b", r"--with b: must be KEY=V1,V2"),
        (["a=1,2"], "b=[", r"--with b=\["),
    ],
)
def test_what_cannot_be_coupled_is_refused_in_one_line(vary, together, said):
    with pytest.raises(cimemu.ArchError, match=said):
        made(vary, together)


def test_values_of_coupled_keys_come_as_tuples_in_python():
    arch = cimemu.load_arch("rram_128")
    points = sweep_points(arch, {("macro.rows", "macro.columns"): [(64, 64), (128, 128)], "clock_ns": [1, 2]})
    assert len(points) == 4
    with pytest.raises(cimemu.ArchError, match="must be 2 values, one for each key"):
        sweep_points(arch, {("macro.rows", "macro.columns"): [(64,)]})


def test_the_chip_of_every_point_has_the_tiles_that_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "rram_128", "digits", "--images", "1", "--set", "chip.tiles=auto", "--vary", "macro.rows=64,128"]
    assert main([*words, "--with", "macro.active_rows=64,128", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["points"]
    assert [(row["macro.rows"], row["macro.active_rows"]) for row in rows] == [(64, 64), (128, 128)]
    assert rows[0]["macros"] > rows[1]["macros"]
    one = main(["sweep", "rram_128", "digits", "--images", "1", "--vary", "macro.rows=64,128", "--json"])
    fixed = json.loads(capsys.readouterr().out)["points"]
    assert one == 0
    assert all(a["area_mm2"] < b["area_mm2"] for a, b in zip(rows, fixed))
