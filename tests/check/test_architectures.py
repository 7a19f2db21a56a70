"""The table of PyTorch architectures holds: some of its rows, exported, run and checked again."""

import csv
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch (the torch extra) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (the torch extra) is not installed")
pytest.importorskip("onnxruntime")

STUDY = Path(__file__).parents[2] / "workloads" / "studies" / "torch_architectures"
ROWS = list(csv.DictReader((STUDY / "results.csv").read_text(encoding="utf-8").splitlines()))
COUNTED = ("verdict", "layers", "layers on macros", "integers compared", "integers that differ", "codes compared")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def measure():
    sys.path.insert(0, str(STUDY))
    sys.modules.pop("measure", None)  # another study's
    try:
        import measure
    finally:
        sys.path.remove(str(STUDY))
    return measure


def test_the_table_has_every_architecture_by_both_exporters_and_nothing_differs(measure):
    names = [(a.name, exporter) for a in measure.ARCHITECTURES for exporter in measure.EXPORTERS]
    assert [(row["architecture"], row["exporter"]) for row in ROWS] == names
    assert {row["verdict"] for row in ROWS} <= {"agrees", "refused"}
    good = {row["architecture"] for row in ROWS} - {row["architecture"] for row in ROWS if row["verdict"] != "agrees"}
    assert len(good) >= 40
    assert {row["integers that differ"] for row in ROWS if row["verdict"] == "agrees"} == {"0"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "exporter"),
    [
        ("ESPCN", "dynamo"),
        ("ViT", "torchscript"),
        ("PointNet", "torchscript"),
        ("GRU keyword spotter", "torchscript"),
        ("U-Net, transposed convolutions", "torchscript"),
        ("MobileNet v3", "torchscript"),
    ],
)
def test_a_row_of_the_table_is_measured_again(measure, tmp_path, name, exporter):
    architecture = next(a for a in measure.ARCHITECTURES if a.name == name)
    row = measure.measured(architecture, exporter, tmp_path)
    told = next(row for row in ROWS if (row["architecture"], row["exporter"]) == (name, exporter))
    assert {key: str(row[key]) for key in COUNTED} == {key: told[key] for key in COUNTED}
