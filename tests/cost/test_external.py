"""External estimators: out of process, versions kept, mistakes in one line. A stand-in plays the estimator."""

import json
import sys

import pytest

import cimemu
from cimemu.cli import main
from cimemu.cost.external import import_costs
from cimemu.errors import ArchError

FAKE = """
class Cost:
    def __init__(self, energy):
        self.energy, self.latency = energy, 1e-9

class Adc:
    def __init__(self, n_bits):
        print("chatter on standard output")
        self.bits, self.area, self.leak_power = n_bits, 1200e-12, 2e-7

    def convert(self):
        return Cost(self.bits * 0.25e-12)

    def read(self, times=1):
        return times * 1e-12, 1e-9

    def explode(self):
        raise ValueError("no such corner")
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    (tmp_path / "fake_estimator.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return {"name": "adc8", "class": "fake_estimator:Adc", "parameters": {"n_bits": 8}, "actions": {"convert": {}}}


def test_a_table_is_written_and_an_architecture_uses_it(tmp_path, fake, capsys):
    requests, table = tmp_path / "requests.json", tmp_path / "table.json"
    requests.write_text(json.dumps([fake, {**fake, "name": "other", "actions": {"read": {"times": 3}}}]))
    status = main(["cost", "import", "--python", sys.executable, "--requests", str(requests), "--out", str(table)])
    assert status == 0
    assert "adc8: convert 2 pJ; 1200 um2, 0.2 uW" in capsys.readouterr().out
    written = json.loads(table.read_text())
    assert written["python"] == sys.version.split()[0]
    assert len(written["requests_sha256"]) == 64
    assert written["entries"]["other"]["energy_pj"] == {"read": pytest.approx(3.0)}
    path = tmp_path / "chip.yaml"
    path.write_text(
        "name: c\nsource: made up\nclock_ns: 1\n"
        "macro: {rows: 8, columns: 8, weight: {bits: 8}, input: {bits: 8}, adc: {model: linear, bits: 8}}\n"
        "costs: {adc: {estimator: {model: imported, file: table.json, name: adc8}, energy_scale: 2}}\n"
    )
    arch = cimemu.load_arch(path)
    assert (arch.costs.adc.energy_pj, arch.costs.adc.area_um2) == pytest.approx((2.0, 1200.0))
    assert main(["cost", str(path), "--json"]) == 0
    rows = {row["component"]: row for row in json.loads(capsys.readouterr().out)["components"]}
    assert rows["adc"]["energy_pj"] == pytest.approx(4.0)
    assert "fake_estimator:Adc" in rows["adc"]["source"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": {"explode": {}}}, r"adc8: ValueError: no such corner"),
        ({"class": "nowhere:Adc"}, r"adc8: ModuleNotFoundError: .*; is the package installed for"),
        ({"class": "fake_estimator"}, r"requests\[0\]: needs name and class: module:Class"),
        ({"klass": 1}, r"no such key: klass"),
    ],
)
def test_what_fails_is_named(tmp_path, fake, change, message):
    with pytest.raises(ArchError, match=message):
        import_costs(sys.executable, [{**fake, **change}], tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


def test_a_python_that_is_not_there_is_named(tmp_path, fake, capsys):
    with pytest.raises(ArchError, match=r"--python /no/python: cannot be run"):
        import_costs("/no/python", [fake], tmp_path / "t.json")
    assert main(["cost", "import", "--out", str(tmp_path / "t.json")]) == 2
    assert "--python is missing" in capsys.readouterr().err
    assert main(["cost", "rram_128", "--python", "p"]) == 2


def test_the_table_of_a_preset_is_printed_with_sources(capsys):
    assert main(["cost", "rram_128"]) == 0
    out = capsys.readouterr().out
    assert "Kull et al., ISSCC 2013" in out
    assert "global_buffer" in out
