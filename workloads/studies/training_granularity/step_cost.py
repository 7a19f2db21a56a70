"""Processor time of a training step by scheme beside a plain one: `python step_cost.py STUDY.yaml RUN ... > step_cost.csv`.

Whole ResNet-20, forward, backward and optimizer, one thread. Schemes take turns with the plain step, and the least time of each
counts: others on the machine only make steps longer.
"""

import csv
import sys
import time
from pathlib import Path

import numpy as np
import torch

from cimemu.adapt.convert import convert
from cimemu.adapt.library import repeatable
from cimemu.adapt.module import from_network
from cimemu.adapt.morph.norms import with_norms
from cimemu.adapt.sources import load_float
from cimemu.adapt.study import read_study
from cimemu.adapt.train import parameter_groups
from cimemu.arch.load import load_arch
from cimemu.workload.manifest import resolve

IMAGES, TURNS = 32, 12


def stepper(module, images, labels, settings):
    """One step of training as a function."""
    optimizer = torch.optim.SGD(parameter_groups(module.train(), settings), lr=1e-4, momentum=0.9)

    def once():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(module(images).flatten(1), labels).backward()
        optimizer.step()

    return once


def main(path, names):
    """Rows of least times."""
    study = read_study(Path(path))
    network = load_float(str(resolve(study.network, Path(path))))
    draws = np.random.default_rng(0)
    images = draws.standard_normal((IMAGES, 3, 32, 32)).astype(np.float32)
    x = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(draws.integers(0, 10, IMAGES))
    runs = {run.name: run for run in study.runs}
    with repeatable(1):
        steps = {"plain": stepper(from_network(with_norms(network, images)), x, labels, study.train)}
        for name in names:
            run = runs[name]
            module = convert(
                network,
                load_arch(study.arch, {**study.set, **run.set}),
                run.scheme_record(),
                calibration=images[:16],
                code_parity=run.code_parity,
                smooth=run.smooth,
            )
            steps[name] = stepper(module, x, labels, study.train)
        least = dict.fromkeys(steps, float("inf"))
        for _ in range(TURNS):
            for name, once in steps.items():
                began = time.process_time()
                once()
                least[name] = min(least[name], time.process_time() - began)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("scheme", "processor time of a step, ms", "times a plain step"))
    for name, seconds in least.items():
        writer.writerow((name, f"{1000 * seconds:.0f}", f"{seconds / least['plain']:.1f}"))


main(sys.argv[1], sys.argv[2:])
