"""Levels of a published adaptive converter, made again from its samples; and the table of claims of papers."""

import csv
import importlib.util
import os
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "workloads" / "studies"
DATA = Path(os.environ.get("CIMEMU_DATA", "")) / "data" / "silicon" / "readc"
PAPERS = {"columnquant": "ColumnQuant", "cim_aware": "CIM-aware adaptation", "bwma": "BWMA", "bs_kmq": "BS-KMQ"}
VERDICTS = {"reproduced", "contradicted", "undecided", "not tested"}


@pytest.mark.skipif(
    "CIMEMU_DATA" not in os.environ or not DATA.is_dir(), reason="CIMEMU_DATA holds no figure data of the converter"
)
def test_levels_of_the_published_converter_are_those_of_the_study():
    place = STUDIES / "adaptive_converter"
    spec = importlib.util.spec_from_file_location("adaptive_converter_measure", place / "measure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows, facts = module.measured()
    with (place / "results.csv").open(newline="") as file:
        assert [dict(row) for row in csv.DictReader(file)] == rows
    with (place / "spreads.csv").open(newline="") as file:
        assert [dict(row) for row in csv.DictReader(file)] == module.spreads()
    assert facts["uniform boundaries"] < 0.01  # the tables have four digits
    assert facts["adaptive boundaries"] <= 0.00501
    assert facts["uniform values that differ"] <= 2
    assert facts["adaptive values that differ"] <= 1


def test_the_table_of_claims_is_that_of_the_pages():
    found = []
    for page, paper in PAPERS.items():
        with (STUDIES / f"paper_{page}" / "results.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                found.append((paper, row["claim"], row["verdict"]))
                assert row["verdict"] in VERDICTS
                tested = row["verdict"] != "not tested"
                assert bool(row["result"]) or not tested
                assert bool(row["smallest difference that could be seen"]) or not tested, row
    with (STUDIES / "verdicts.csv").open(newline="") as file:
        assert [(row["paper"], row["claim"], row["verdict"]) for row in csv.DictReader(file)] == found
