"""What people read on a terminal of 80 columns: words for fields, tables that fit, terms with their meaning."""

import pytest

from cimemu.cli import main
from cimemu.cli.study_table import print_study

ROW = {
    "run": "lognormal_0.3", "seed": 0, "weights": "4 column mse", "activation_bits": 4, "converter": "linear 4 column mse",
    "vary": "lognormal:sigma=0.3", "gradient": "proper", "epochs": 5, "images_per_epoch": 1000,
    "untrained_accuracy_test": 0.875, "accuracy_test": 0.905, "standard_error_test": 0.0207, "kept_epoch": 3,
    "below_start": "", "train_accuracy": 0.91, "loss": 0.2634, "seconds": 31.7,
}  # fmt: skip


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns."""
    from rich import console

    made = console.Console.__init__
    monkeypatch.setattr(console.Console, "__init__", lambda self, **given: made(self, **{**given, "width": 80}))


def test_a_study_is_settings_in_words_and_a_table_that_fits(narrow, capsys):
    plain = {key: value for key, value in ROW.items() if key not in ("vary", "run")}
    print_study(
        [
            ROW,
            {**ROW, "seed": 1},
            {**plain, "run": "ideal", "images_per_epoch": "", "standard_error_test": float("nan")},
        ]
    )
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert not any(
        key in out
        for key in ("untrained_accuracy", "standard_error", "train_accuracy", "kept_epoch", "activation_bits")
    )
    assert out.count("weights 4 column mse, activations of 4 bits") == 2, "one line a run, not one a seed"
    assert "cells vary by lognormal:sigma=0.3" in " ".join(out.split())
    head = next(i for i, line in enumerate(lines) if "before" in line and "seed" in line)
    assert lines[head].split() == ["run", "seed", "before", "after", "epoch", "training", "loss", "seconds"]
    first, second, third = (line.split() for line in lines[head + 1 : head + 4])
    assert first == ["lognormal_0.3", "0", "87.5", "%", "90.5", "%", "+-", "2.1", "3", "91.0", "%", "0.2634", "32"]
    assert second[1] == "1"
    assert third[:6] == ["ideal", "0", "87.5", "%", "90.5", "%"]
    assert "fitted and not trained" in " ".join(out.split())


def test_two_test_sets_have_columns_of_their_own(capsys):
    print_study([{**ROW, "accuracy_other": 0.5}])
    out = capsys.readouterr().out
    assert all(f"{when} on {name}" in out for when in ("before", "after") for name in ("test", "other"))


def test_no_rows_are_said(capsys):
    print_study([])
    assert capsys.readouterr().out == "no run is done\n"


def test_a_run_fits_and_says_what_it_counts(narrow, capsys):
    assert main(["run", "rram_128", "digits", "--images", "2", "--no-trace"]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.strip()]
    assert max(len(line.rstrip()) for line in lines) <= 80
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names[:6] == ["run", "accuracy", "time", "energy", "work", "rates"]
    assert "None" not in out
    for word in ("2 operations a MAC of the network", "uJ an image"):
        assert word in " ".join(out.split())
