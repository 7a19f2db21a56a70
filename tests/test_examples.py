"""Every public function shows itself by an example in its text, and every example runs and prints what it says."""

import doctest
import inspect

import pytest

import cimemu
from cimemu import plugins

NAMES = [name for name in cimemu.__all__ if callable(getattr(cimemu, name))]
SHOWN_BY_THEIR_BASE = {"ArchError", "MappingError", "PluginError", "TraceError", "WorkloadError"}


def examples_of(text, name):
    """The `>>>` lines of a text as one doctest."""
    return doctest.DocTestParser().get_doctest(inspect.cleandoc(text), {"__name__": "example"}, name, None, 0)


def run_examples(text, name):
    """What doctest says of an example: nothing where it prints what it shows."""
    said = []
    doctest.DocTestRunner(verbose=False).run(examples_of(text, name), out=said.append)
    return "".join(said)


@pytest.fixture
def loaded_plugins():
    """What an example loads is forgotten after it."""
    before = {path for path, _ in plugins.files()}
    yield
    for path, _ in plugins.files():
        if path not in before:
            plugins.forget(path)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_prints_what_it_shows(name, tmp_path, monkeypatch, loaded_plugins):
    monkeypatch.chdir(tmp_path)
    said = run_examples(getattr(cimemu, name).__doc__, name)
    assert not said, said


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SHOWN_BY_THEIR_BASE])
def test_whatever_is_public_has_an_example_that_calls_it(name):
    lines = [example.source for example in examples_of(getattr(cimemu, name).__doc__, name).examples]
    assert any(f"cimemu.{name}" in line for line in lines) or name in ("Arch", "Network"), name


def test_errors_without_an_example_derive_from_one_that_has_one():
    assert all(issubclass(getattr(cimemu, name), cimemu.CimemuError) for name in SHOWN_BY_THEIR_BASE)


def test_a_function_without_an_example_and_a_wrong_output_would_be_noticed():
    assert examples_of("Adds.", "f").examples == []
    assert "Expected" in run_examples("Adds.\n\n>>> 1 + 1\n3\n", "f")
