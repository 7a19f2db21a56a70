"""The scripts beside the benches run: the table by rows and converter, two checkouts in turn, first and later uses."""

import csv
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parent / "bench"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import cold
    import grid
    import in_turn

    return grid, in_turn, cold


@pytest.mark.slow
def test_the_table_by_rows_and_converter(scripts, monkeypatch, tmp_path, capsys):
    grid, _, _ = scripts
    monkeypatch.setattr(grid, "ROWS", (64, 128))
    monkeypatch.setattr(grid, "ROUNDS", 1)
    monkeypatch.setattr(grid, "WORK", 64)
    grid.main(tmp_path / "grid.csv")
    rows = list(csv.reader((tmp_path / "grid.csv").read_text().splitlines()))
    assert [row[0] for row in rows[1:]] == list(grid.GOALS)
    assert all(float(cell) > 0 for row in rows[1:] for cell in row[1:3])
    assert "G/s at 128 rows" in capsys.readouterr().out


def test_the_interval_of_a_median_holds_it(scripts):
    _, in_turn, _ = scripts
    low, high = in_turn.interval(np.array([1.0, 1.1, 1.2, 1.3, 9.0]))
    assert low <= 1.2 <= high


@pytest.mark.slow
def test_two_checkouts_are_run_in_turn(scripts, monkeypatch, tmp_path):
    _, in_turn, _ = scripts
    monkeypatch.setattr(in_turn, "MOST_SECONDS", 1.0)
    tree = Path(__file__).parent.parent
    in_turn.main(tree, tree, tmp_path / "rates.csv", "-k", "population")
    rows = list(csv.DictReader((tmp_path / "rates.csv").read_text().splitlines()))
    assert rows
    assert all(float(row["low"]) <= float(row["ratio"]) <= float(row["high"]) for row in rows)


@pytest.mark.slow
def test_first_and_later_uses(scripts, monkeypatch, tmp_path):
    _, _, cold = scripts
    name, row = next(iter(cold.COMMANDS.items()))
    monkeypatch.setattr(cold, "ROUNDS", 1)
    monkeypatch.setattr(cold, "COMMANDS", {name: row})
    cold.main(tmp_path / "cold.csv")
    header, found = csv.reader((tmp_path / "cold.csv").read_text().splitlines())
    assert header == ["command", "first use, now", "later use, now", "goal of the first use"]
    assert float(found[1].split()[0]) > 0


@pytest.mark.slow
@pytest.mark.long
def test_two_threads_beside_two_processes(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    import threads

    monkeypatch.setattr(threads, "ROUNDS", 1)
    monkeypatch.setattr(threads, "SECONDS", 0.2)
    monkeypatch.setattr(threads, "CASES", (1,))
    threads.main(tmp_path / "threads.csv")
    header, row = csv.reader((tmp_path / "threads.csv").read_text().splitlines())
    assert header[:2] == ["images of a call", "two processes, images/s"]
    assert float(row[3]) > 0
