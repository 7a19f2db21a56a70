"""The scripts beside the package: constraints of the lowest versions, and shell scripts that are well formed."""

import importlib.util
import re
import shutil
import subprocess
import tomllib

import pytest
from pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def bounds():
    spec = importlib.util.spec_from_file_location("bounds", ROOT / ".ci/bounds.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dependency_has_a_lowest_version():
    found = list(bounds().lowest(PROJECT["dependencies"]))
    assert len(found) == len(PROJECT["dependencies"])
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+\.\*", line) for line in found)
    with pytest.raises(SystemExit, match="no lower bound"):
        list(bounds().lowest(["numpy"]))


def test_the_command_prints_constraints_and_refuses_another_word(capsys):
    bounds().main("lowest", str(ROOT / "pyproject.toml"))
    assert "numpy==1.26.*" in capsys.readouterr().out
    bounds().main("newest", str(ROOT / "pyproject.toml"))
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit):
        bounds().main("oldest", str(ROOT / "pyproject.toml"))


@pytest.mark.parametrize("name", ["run", "versions"])
def test_a_shell_script_is_well_formed_and_executable(name):
    script = ROOT / ".ci" / name
    assert script.stat().st_mode & 0o111
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


def test_tests_that_the_scripts_name_are_there():
    text = (ROOT / ".ci/versions").read_text(encoding="utf-8")
    named = re.findall(r"tests/[\w/.]+", text)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_all_extras_are_in_the_extra_all():
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == set(extras) - {"all", "test", "mutation"}
