"""The files that pages ask their reader to bring, made small: a page's commands run on them as they stand."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import decoder
import growing_decoder
import numpy as np
from pages import ROOT
from partly import partly_quantised

REQUEST = {
    "name": "adc8",
    "class": "hwcomponents_adc:ADC",
    "actions": {"convert": {}},
    "parameters": {"n_bits": 8, "tech_node": 2.8e-8, "throughput": 1e9, "n_adcs": 1},
}
ESTIMATOR = """
class ADC:
    def __init__(self, n_bits, tech_node, throughput, n_adcs):
        self.bits, self.area, self.leak_power = n_bits, 1200e-12, 2e-7

    def convert(self):
        return self.bits * 0.25e-12, 1e-9
"""


def networks(monkeypatch):
    """A network that is quantised in part, two decoders with what they are calibrated on, and PyTorch weights."""
    rng = np.random.default_rng(0)
    partly_quantised(Path("partly.onnx"))
    shutil.copy("partly.onnx", "my_net.onnx")
    np.save("labels.npy", rng.integers(0, 2, 8))
    Path("decoder.onnx").write_bytes(decoder.decoder().SerializeToString())
    cache = (1, decoder.HEADS, decoder.LENGTH, decoder.EACH)
    steps = {"token": rng.integers(0, decoder.VOCABULARY, (8, 1)), "position": np.arange(8).reshape(8, 1)}
    past = {f"past.{part}": rng.standard_normal((8, *cache[1:])).astype(np.float32) for part in ("key", "value")}
    np.savez("steps.npz", **steps, **past)
    Path("model.onnx").write_bytes(growing_decoder.decoder().SerializeToString())
    np.savez("texts.npz", input_ids=rng.integers(0, growing_decoder.VOCABULARY, (4, 12)))
    pixels = rng.random((4, 3, 16, 16)).astype(np.float32)
    np.save("images.npy", pixels)
    np.savez("images.npz", x=rng.random((8, 2, 6, 6)).astype(np.float32))
    if importlib.util.find_spec("torch") is None:
        return
    import safetensors.torch

    shutil.copy(ROOT / "tests/importer/torch_nets.py", "my_nets.py")
    spec = importlib.util.spec_from_file_location("my_nets", "my_nets.py")
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    safetensors.torch.save_file(nets.resnet20().state_dict(), "weights.safetensors")
    os.mkdir("my_workload")
    np.savez("my_workload/images.npz", x=pixels, y=np.arange(4))
    Path("my_workload/workload.yaml").write_text(
        "name: mine\nsource: random numbers\nnetwork: ../weights.safetensors\n"
        "inputs: {file: images.npz, images: x, labels: y}\ncalibration: {file: images.npz, images: x, labels: null}\n"
    )


def energy(monkeypatch):
    """A stand-in for the package hwcomponents, and for the Python that has it."""
    Path("requests.json").write_text(json.dumps([REQUEST]))
    Path("hwcomponents_adc.py").write_text(ESTIMATOR)
    Path("python3.12").write_text(f'#!/bin/sh\nPYTHONPATH={Path.cwd()} exec {sys.executable} "$@"\n')
    Path("python3.12").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path.cwd()}{os.pathsep}{os.environ['PATH']}")


def validation(monkeypatch):
    """The survey's table at the place that the page names."""
    os.makedirs("cimemu/validate/survey")
    shutil.copy(ROOT / "cimemu/validate/survey/uiuc_imc.csv", "cimemu/validate/survey")


def training(monkeypatch):
    """The script that makes the digits of the two stages, at its place in the repository."""
    os.makedirs("workloads")
    shutil.copytree(ROOT / "workloads/digits", "workloads/digits")


def working(monkeypatch):
    """A copy of the pages, which the command of the page may write into."""
    kinds = ("*.md", "*.csv", "*.yaml", "*.py")
    for folder in ("arch", "workloads", "traces", "tests", "cimemu/docs"):
        for path in (found for kind in kinds for found in (ROOT / folder).rglob(kind)):
            Path(path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, path.relative_to(ROOT))
    shutil.copy(ROOT / "README.md", "README.md")


BROUGHT = {page.__name__: page for page in (networks, energy, validation, training, working)}


def bring(page, monkeypatch):
    """Make the files of a page in the present folder."""
    if page.stem in BROUGHT:
        BROUGHT[page.stem](monkeypatch)
