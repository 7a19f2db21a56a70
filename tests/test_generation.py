"""A decoder with a causal mask and a cache writes 32 tokens; its products are exact."""

import json

import numpy as np
import pytest
from decoder import EACH, HEADS, LENGTH, VOCABULARY, continued, decoder

import cimemu
from cimemu.check.network import check_network
from cimemu.check.ort_session import make_session
from cimemu.cli import main
from cimemu.events import Counter
from cimemu.layer.execute import run_float
from cimemu.workload.metrics import perplexity

IDEAL = {"macro.adc": {"model": "ideal"}}
PROMPT = np.array([[3, 1, 4], [1, 5, 9]])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(file, float network, arch, integer network, inputs of the float network's own steps)."""
    path = tmp_path_factory.mktemp("decoder") / "decoder.onnx"
    path.write_bytes(decoder().SerializeToString())
    network = cimemu.load_network(path)
    _, fed = continued(lambda feeds: run_float(network, feeds), PROMPT, 32)
    calibration = {name: np.concatenate([feeds[name] for feeds in fed]) for name in network.inputs}
    arch = cimemu.load_arch("rram_128", IDEAL)
    return path, network, arch, cimemu.quantize(network, arch, calibration), calibration


def test_32_tokens_are_those_of_onnx_runtime_on_the_integer_network(made, tmp_path):
    pytest.importorskip("onnxruntime")
    _, _, arch, network, _ = made
    session = make_session(cimemu.save_onnx(network, tmp_path / "q.onnx").read_bytes())
    names = [value.name for value in session.get_outputs()]
    theirs, fed = continued(lambda feeds: dict(zip(names, session.run(names, feeds))), PROMPT, 32)
    ours = cimemu.generate(arch, network, {"token": PROMPT}, 32)
    assert ours.tokens.shape == (2, 32)
    assert ours.steps == 34
    assert np.array_equal(ours.tokens, theirs)
    # every step's inputs once more, in one batch: no code of a product differs
    steps = {name: np.concatenate([feeds[name] for feeds in fed]) for name in network.inputs}
    report = check_network(network, arch.macro, steps)
    integers = [row for row in report.tensors if row.kind in ("integer", "code")]
    assert len(integers) >= 5
    assert sum(row.differing for row in integers) == 0


@pytest.fixture(scope="module")
def written(made):
    """(arch, network) with the products of attention on macros whose cells may be written again."""
    _, network, _, _, calibration = made
    arch = cimemu.load_arch("sram_128", {**IDEAL, "mapping.activations": "macros"})
    return arch, cimemu.quantize(network, arch, calibration)


def test_32_tokens_of_attention_on_macros_are_those_of_onnx_runtime(written, tmp_path):
    pytest.importorskip("onnxruntime")
    arch, network = written
    on_macros = [layer.name for layer in network.layers if layer.op == "WrittenProduct"]
    assert on_macros == ["scores", "mixed"]
    session = make_session(cimemu.save_onnx(network, tmp_path / "q.onnx").read_bytes())
    names = [value.name for value in session.get_outputs()]
    theirs, fed = continued(lambda feeds: dict(zip(names, session.run(names, feeds))), PROMPT, 32)
    ours = cimemu.generate(arch, network, {"token": PROMPT}, 32)
    assert np.array_equal(ours.tokens, theirs)
    steps = {name: np.concatenate([feeds[name] for feeds in fed]) for name in network.inputs}
    report = check_network(network, arch.macro, steps)
    assert all(row.differing == 0 for row in report.tensors)  # floats too
    assert report.shortcut_layers == 0
    assert sum(row.kind == "code" for row in report.tensors) >= 7


def test_a_cache_on_macros_is_written_in_every_step(written):
    arch, network = written
    ours = cimemu.generate(arch, network, {"token": PROMPT[:1]}, 2)
    elsewhere = arch.model_copy(update={"programming": arch.programming.model_copy(update={"row_write_cycles": 50})})
    slow = cimemu.generate(elsewhere, network, {"token": PROMPT[:1]}, 2)
    assert np.array_equal(ours.tokens, slow.tokens)
    # K^T of both heads has 8 rows each, one block; V has 48: written one behind the other, 4 steps.
    assert slow.cycles > ours.cycles + ours.steps * (8 + 48) * 40
    feeds = {"token": np.array([[3]]), "position": np.array([[0]])}
    feeds |= {n: np.zeros((1, *network.types[n].shape), np.float32) for n in ("past.key", "past.value")}
    run = cimemu.run(arch, network, feeds)
    cells = [int(run.counts[0, layer.index, Counter.CELL_WRITES]) for layer in run.plan.layers if layer.written]
    assert cells == [HEADS * EACH * LENGTH * 8, HEADS * LENGTH * EACH * 8]


def test_the_command_line_generates_with_attention_on_macros(made, written, tmp_path, capsys):
    arch, network = written
    file = cimemu.save_onnx(network, tmp_path / "q.onnx")
    keys = ["--set", "macro.adc={model: ideal}", "--set", "mapping.activations=macros", "--tokens", "3"]
    line = [str(file), "--prompt", "token=3,1,4", *keys]
    assert main(["generate", "rram_128", *line]) == 2
    assert "cells for every image, and those of the chip rram_128 are non-volatile" in capsys.readouterr().err
    assert main(["generate", "sram_128", *line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ours = cimemu.generate(arch, network, {"token": PROMPT[:1]}, 3)
    assert (told["tokens"], told["cycles"]) == (ours.tokens[0].tolist(), ours.cycles)
    plain = cimemu.save_onnx(made[3], tmp_path / "plain.onnx")  # quantised for the digital unit: attention is float
    assert main(["generate", "sram_128", str(plain), *line[1:]]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "2 operators multiply two activations on the digital unit all the same" in told
    assert "scores, mixed" in told


def test_steps_are_runs_and_are_charged_as_such(made):
    _, _, arch, network, _ = made
    ours = cimemu.generate(arch, network, {"token": PROMPT[:1]}, 3)
    single = []
    state = {name: np.zeros((1, *network.types[name].shape), np.float32) for name in ("past.key", "past.value")}
    tokens = [*PROMPT[0], *ours.tokens[0, :-1]]
    for step, token in enumerate(tokens):
        feeds = {"token": np.array([[token]]), "position": np.array([[step]]), **state}
        run = cimemu.run(arch, network, feeds)
        single.append((run.cycles, run.energy_uj))
        state = {f"past.{p}": run.outputs[f"present.{p}"] for p in ("key", "value")}
    assert ours.cycles == sum(cycles for cycles, _ in single)
    assert ours.energy_uj == pytest.approx(sum(energy for _, energy in single), rel=1e-12)
    for name, value in state.items():
        assert np.array_equal(value, ours.states[name])


def test_the_mask_hides_what_was_not_written(made):
    """Garbage in places of the cache that no token has reached changes nothing."""
    _, _, arch, network, _ = made
    rng = np.random.default_rng(0)
    noise = {
        n: rng.standard_normal((2, *network.types[n].shape)).astype(np.float32) for n in ("past.key", "past.value")
    }
    clean = cimemu.generate(arch, network, {"token": PROMPT}, 6)
    dirty = cimemu.generate(arch, network, {"token": PROMPT, **noise}, 6)
    assert np.array_equal(clean.tokens, dirty.tokens)


def test_a_stop_token_ends_the_text(made):
    _, _, arch, network, _ = made
    whole = cimemu.generate(arch, network, {"token": PROMPT[:1]}, 8).tokens[0]
    stopped = cimemu.generate(arch, network, {"token": PROMPT[:1]}, 8, stop=int(whole[2])).tokens[0]
    assert stopped.tolist() == whole[: 1 + whole.tolist().index(whole[2])].tolist()


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ({"token": [[1.5]]}, {}, "prompt 'token': float64"),
        ({}, {}, "0 integer arrays given, must be one, the prompt"),
        ({"token": [[1]], "x": [1]}, {}, "input x: not of the network"),
        ({"token": [[1]]}, {"feedback": {"present.key": "token"}}, "output present.key is float32"),
        ({"token": [[1]]}, {"feedback": {"y": "past.key"}}, "feedback y = past.key: must be an output and an input"),
        ({"token": [[1]]}, {"feedback": {"present.key": "past.key"}}, "input past.value: has no first value"),
        ({"token": [[1]]}, {"position": "p"}, "position = p: no input"),
        ({"token": [[1]]}, {"tokens": 0}, "tokens = 0, must be 1"),
    ],
)
def test_what_is_refused_is_one_line(inputs, options, said, made):
    _, _, arch, network, _ = made
    with pytest.raises(cimemu.WorkloadError, match=said) as error:
        cimemu.generate(arch, network, inputs, **options)
    assert "\n" not in str(error.value)


def test_the_command_line_writes_tokens(made, tmp_path, capsys):
    _, _, arch, network, _ = made
    file = cimemu.save_onnx(network, tmp_path / "q.onnx")
    line = ["generate", "rram_128", str(file), "--set", "macro.adc={model: ideal}", "--prompt", "token=3,1,4"]
    assert main([*line, "--tokens", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    ours = cimemu.generate(arch, network, {"token": PROMPT[:1]}, 5)
    assert told["tokens"] == ours.tokens[0].tolist()
    assert (told["cycles"], told["steps"]) == (ours.cycles, 7)
    assert main([*line[:-1], "token=a"]) == 2
    assert "must be NAME=5,17,2" in capsys.readouterr().err


def test_perplexity_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((3, 4, 7)).astype(np.float32)
    labels = rng.integers(0, 7, (3, 4))
    labels[1, 2] = -100
    losses = []
    for image in range(3):
        for step in range(4):
            if labels[image, step] >= 0:
                row = logits[image, step].astype(float)
                losses.append(-np.log(np.exp(row[labels[image, step]]) / np.exp(row).sum()))
    assert perplexity(logits, labels) == pytest.approx(np.exp(np.mean(losses)))
    last = [
        -np.log(np.exp(r[-1, t].astype(float)) / np.exp(r[-1].astype(float)).sum()) for r, t in zip(logits, [1, 2, 3])
    ]
    assert perplexity(logits, np.array([1, 2, 3])) == pytest.approx(np.exp(np.mean(last)))
    assert perplexity(np.zeros((2, 5)), np.array([0, 4])) == pytest.approx(5.0)
    assert perplexity(logits, None) is None
    with pytest.raises(cimemu.WorkloadError, match="must be tokens 0"):
        perplexity(logits, np.array([0, 7, 1]))
    with pytest.raises(cimemu.WorkloadError, match=r"must be \[images\] or \[3, 4\]"):
        perplexity(logits, np.zeros((3, 2), int))


def test_a_workload_reports_perplexity(made, tmp_path, capsys):
    _, _, arch, network, calibration = made
    cimemu.save_onnx(network, tmp_path / "q.onnx")
    few = {name: array[:8] for name, array in calibration.items()}
    truth = np.arange(8)[:, None] % VOCABULARY
    np.savez(tmp_path / "steps.npz", labels=truth, **few)
    tensors = ", ".join(f"{name}: [{name}]" for name in few)
    (tmp_path / "workload.yaml").write_text(
        "name: text\nsource: drawn by a test\nnetwork: q.onnx\n"
        f"inputs: {{file: steps.npz, labels: labels, tensors: {{{tensors}}}}}\nmetric: {{kind: perplexity}}\n"
    )
    line = ["run", "rram_128", str(tmp_path), "--set", "macro.adc={model: ideal}", "--no-trace", "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    logits = cimemu.run(arch, network, few, detail=None).outputs["logits"]
    assert told["perplexity"] == pytest.approx(perplexity(logits, truth))
    assert LENGTH > 34
