"""ResNet-20 on CIFAR-10 by batch and converter beside ONNX Runtime: `python tests/bench/batches.py FILE.csv`.

The float network of CIMEMU_DATA, quantised to 8 bits by cimemu and, beside it, by ONNX Runtime (static, uint8 activations,
int8 weights by channel, fused by its own optimiser). One thread each. Every cell of the table is run in turn for a while, round
after round, so that all meet the same machine; a figure is the median of the processor times of a call, for one image.
"""

import csv
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import cimemu
from cimemu.compute.forward import Emulator

BATCHES = (1, 4, 16, 64, 256)
SECONDS = 0.5  # of processor time that every cell is given, at least FEWEST calls
FEWEST = 5
TURN = 0.05  # seconds of calls one after another, as a program makes them: a single one would find the caches of another cell
STEP = {"macro.adc": {"model": "linear", "bits": 6, "lsb": 2.5}}
CONVERTERS = {
    "exact": ({"macro.adc": "ideal"}, ()),
    "clamp": ({"macro.adc.bits": 6}, ()),
    "step 2.5": (STEP, ()),
    "lognormal cells": ({"macro.adc.bits": 6}, ("lognormal:sigma=0.1",)),
    "lognormal cells, read noise": ({"macro.adc.bits": 6}, ("lognormal:sigma=0.1", "thermal:amplifier=0.5")),
}
GOALS = {("exact", 1): 2.5, ("clamp", 64): 4.5, ("clamp", 1): 8, ("step 2.5", 64): 8, ("lognormal cells", 64): 18,
         ("lognormal cells, read noise", 64): 32}  # fmt: skip


class Calibration(CalibrationDataReader):
    """Images one at a time, as the quantiser asks for them."""

    def __init__(self, name, images):
        self.given = iter([{name: image[None]} for image in images])

    def get_next(self):
        return next(self.given, None)


def int8_runtime(work, folder):
    """ONNX Runtime's session of its own int8 form of the workload's network, one thread, and the input's name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    name = onnxruntime.InferenceSession(str(work.network), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    path = Path(folder) / "int8.onnx"
    quantize_static(
        str(work.network), str(path), Calibration(name, work.calibration()[:32].astype(np.float32)),
        quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]), name


def cells(folder):
    """(name, batch, what to run) of every cell of the table."""
    work = cimemu.load_workload("cifar10_resnet20")
    images = np.concatenate([work.inputs(64)[0]] * (max(BATCHES) // 64))
    for name, (changes, models) in CONVERTERS.items():
        arch = cimemu.load_arch("rram_128", changes)
        network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration()[:64])
        emulator = Emulator(network, arch.macro)
        if models:
            emulator.program(cimemu.make_plan(network, arch), models, seed=7)
        for batch in BATCHES:
            yield name, batch, (lambda emulator=emulator, batch=batch: emulator.run([images[:batch]]))
    session, given = int8_runtime(work, folder)
    floats = images.astype(np.float32)
    for batch in BATCHES:
        yield "ONNX Runtime int8", batch, (lambda batch=batch: session.run(None, {given: floats[:batch]}))


def main(path):
    with tempfile.TemporaryDirectory() as folder:
        table = list(cells(folder))
        spent = [[] for _ in table]
        for _, _, run in table:
            run()
        while any(sum(times) < SECONDS or len(times) < FEWEST for times in spent):
            for times, (_, _, run) in zip(spent, table):
                if sum(times) < SECONDS or len(times) < FEWEST:
                    until = sum(times) + TURN
                    while sum(times) < until:
                        start = time.process_time()
                        run()
                        times.append(time.process_time() - start)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["network", "batch", "ms an image", "least ms an image", "goal", "machine"])
        for (name, batch, _), times in zip(table, spent):
            figures = (f"{1e3 * f(times) / batch:.3g}" for f in (np.median, min))
            rows.writerow([name, batch, *figures, GOALS.get((name, batch), ""), f"{platform.machine()} {processor()}"])
    print(Path(path).read_text(), end="")


def processor():
    """The processor's name, as Linux gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main(sys.argv[1])
