"""TOPS/W of a survey's rows: every paper is left out of its own fit, intervals hold about what they say, bad files are one line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cimemu.cli import main
from cimemu.validate.survey import floors, predict, quality, quality_by_part
from cimemu.validate.survey.facts import read_facts
from cimemu.validate.survey.model import LEVEL, columns_of, fitted, width_of
from cimemu.validate.survey.predict import SHIPPED

ROWS = list(csv.DictReader(SHIPPED.open(encoding="utf-8")))


@pytest.fixture(scope="module")
def foretold():
    return predict(SHIPPED)


def written(folder, rows):
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_row_that_has_a_figure_a_technology_and_a_cell_is_foretold_in_order(foretold):
    rows, skipped = foretold
    asked = [facts for facts in read_facts(SHIPPED) if facts.tops_w is not None]
    assert len(asked) == 72
    assert [row.row for row in rows] == [facts.row for facts in asked if facts.missing is None]
    assert len(rows) + len(skipped) == 72
    assert all("cell type is missing" in reason for reason in skipped)
    assert len(rows) >= 65
    assert all(0 < row.low < row.predicted_tops_w < row.high for row in rows)


def test_papers_left_out_are_foretold_better_than_by_a_plain_regression(foretold):
    """Over the same table a plain regression has a median factor of 2.15 and a 90 % factor of 8.1."""
    found = quality(foretold[0])
    print({name: round(value, 3) for name, value in found.items()})
    assert found["median factor"] < 1.7
    assert found["90 % factor"] < 8.1
    assert 0.82 < found["inside the 90 % interval"] < 0.97
    assert found["median high / low"] < 13
    parts = {row["part"]: row for row in quality_by_part(foretold[0])}
    assert sum(row["points"] for name, row in parts.items() if name.startswith("node")) == found["points"]
    assert parts["measured: macro"]["median high / low"] < parts["measured: processor"]["median high / low"]


def test_floors_lie_below_what_is_foretold(foretold):
    found, (fit, within) = quality(foretold[0]), floors()
    for name in ("median factor", "90 % factor"):
        assert 1 < within[name] < fit[name] < found[name]
    assert fit["points"] > within["points"] > 10


def test_a_row_s_own_paper_has_no_part_in_what_is_foretold(foretold, tmp_path):
    """Another published figure for a paper of the shipped table changes nothing of its prediction."""
    lied = [{**row, "TOPS/W": "123456"} for row in ROWS[:9]]
    rows, _ = predict(written(tmp_path, lied))
    before = {row.row: row.predicted_tops_w for row in foretold[0]}
    assert [row.predicted_tops_w for row in rows if row.row in before] == [
        before[row.row] for row in rows if row.row in before
    ]
    stranger = [{**row, "Paper Title": "a macro of my own"} for row in ROWS[:9]]
    others, _ = predict(written(tmp_path, stranger))
    assert [row.predicted_tops_w for row in others] != [row.predicted_tops_w for row in rows]


@pytest.mark.parametrize("column", ROWS[0])
def test_a_column_that_is_blank_or_odd_leaves_the_rest_foretold(column, tmp_path, capsys):
    """Only a technology, a cell and a published figure are needed; whatever else is missing is assumed."""
    for value in ("", "nan", "n/a", "-3", "1e99", "varies"):
        path = written(tmp_path, [{**row, column: value} for row in ROWS[:4]])
        rows, skipped = predict(path)
        needed = {"Tech (nm)": 0, "TOPS/W": 0, "Cell Type": 0 if value in ("", "nan") else 4}.get(column, 4)
        assert len(rows) == needed, value
        assert len(skipped) == (0 if column == "TOPS/W" else 4 - needed)
        assert all(0 < row.low < row.predicted_tops_w < row.high < 1e9 for row in rows)
        assert main(["validate", "--csv", str(path), "--json"]) == 0
        assert len(json.loads(capsys.readouterr().out)) == needed


def test_the_order_of_columns_and_of_rows_is_free(foretold, tmp_path):
    names = sorted(ROWS[0], reverse=True)
    turned = [{name: row[name] for name in names} for row in ROWS[::-1]]
    path = tmp_path / "turned.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(turned)
    rows, _ = predict(path)
    assert [row.predicted_tops_w for row in rows[::-1]] == [row.predicted_tops_w for row in foretold[0]]


@pytest.mark.parametrize(
    ("architecture", "cell", "kind"),
    [
        ("eNVM", "FeFET", "nonvolatile"),
        ("FeRAM", "1T1C", "nonvolatile"),
        ("eDRAM", "3T", "analog"),
        ("SRAM", "8T+D", "digital_in_memory"),
    ],
)
def test_other_kinds_of_macros_are_foretold_too(architecture, cell, kind, tmp_path):
    other = {**ROWS[2], "Paper Title": "of another kind", "Architecture": architecture, "Cell Type": cell}
    (row,), _ = predict(written(tmp_path, [other]))
    assert row.kind == kind
    assert 0 < row.low < row.predicted_tops_w < row.high


def test_a_table_that_does_not_say_what_was_measured_has_intervals_of_the_common_error(tmp_path):
    path = tmp_path / "short.csv"
    names = [name for name in ROWS[0] if name != "IMC_Processor"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(ROWS[:1])
    (row,), _ = predict(path)
    assert row.group == "not said"


def test_conformal_intervals_hold_new_papers_of_any_distribution():
    """Errors of two groups with very different spreads and heavy tails: 90 % of new papers lie inside."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        groups = ["a"] * 25 + ["b"] * 25
        errors = rng.standard_t(3, 51) * np.r_[np.full(25, 1.0), np.full(25, 4.0), 1.0]
        width = width_of(errors[:50], groups, [str(i) for i in range(50)])
        new = "a" if rng.random() < 0.5 else "b"
        held.append(abs(errors[50]) * (1 if new == "a" else 4) <= width.of(new))
    assert abs(np.mean(held) - LEVEL) < 0.05


def test_one_odd_paper_bends_the_fit_little():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(60, 3))
    target = columns @ [1.0, -2.0, 0.5] + rng.normal(scale=0.1, size=60)
    plain = fitted(columns, target)(columns)
    target[7] += 12
    assert np.abs(fitted(columns, target)(columns) - plain).max() < 0.2


def test_a_missing_fact_is_assumed_and_a_missing_technology_named(tmp_path):
    bare = [{**ROWS[0], "Supply V(V)": "", "T_core(ns)": "", "B_x": "", "TOPS": ""}, {**ROWS[0], "Tech (nm)": ""}]
    rows, skipped = predict(written(tmp_path, bare))
    assert len(rows) == 1
    assert skipped == ["row 1 (index 23): its technology is missing"]
    assert columns_of(read_facts(written(tmp_path, bare))[:1]).shape[0] == 1


def test_the_command_prints_the_list_and_a_table(tmp_path, capsys):
    assert main(["validate", "--csv", str(SHIPPED), "--json"]) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert set(rows[0]) >= {"index", "published_tops_w", "predicted_tops_w", "low", "high"}
    assert any("published_tops_mm2" in row and "predicted_tops_mm2" in row for row in rows)
    assert "left out: row 56 (index 110): its cell type is missing" in said.err
    assert main(["validate", "--csv", str(SHIPPED)]) == 0
    out = capsys.readouterr().out
    assert "median factor" in out
    assert "none left out" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no column 'Index'"),
        ("", "has no column 'Index'"),
        ('"Index\x00"\n', "has no column"),
    ],
)
def test_a_file_that_is_no_survey_is_one_line(text, message, tmp_path, capsys):
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert main(["validate", "--csv", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert main(["validate", "jia", "--csv", str(path)]) == 2
    assert "not both" in capsys.readouterr().err
    assert main(["validate", "--csv", str(Path(tmp_path) / "none.csv")]) == 2
