"""Every network of `networks.py` under every setting of ONNX Runtime's quantisers: `python measure.py [CSV] [--only TEXT]`.

Rows that the CSV has already are kept: remove it to measure all again.

Each file that the quantiser writes is loaded, run with a trace, and checked against ONNX Runtime on the same file.
"""

import argparse
import csv
import itertools
import logging
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import networks
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

import cimemu
from cimemu.check.network import check_network

FIELDS = (
    "network", "setting", "quantiser", "verdict", "layers_on_macros", "products_in_float", "integers", "integers_differ",
    "codes", "codes_differ", "codes_apart", "floats", "floats_beyond_bound", "remark",
)  # fmt: skip
PRODUCTS = ("Conv", "Gemm", "MatMul")
IMAGES, CALIBRATION = 8, 4


class Reader(CalibrationDataReader):
    def __init__(self, arrays):
        count = len(next(iter(arrays.values())))
        self.batches = iter([{key: value[i : i + 1] for key, value in arrays.items()} for i in range(count)])

    def get_next(self):
        return next(self.batches, None)


def static(activations="QUInt8", weights="QInt8", form="QDQ", exclude=None, channels=False, **extra):
    """A setting of the static quantiser; `exclude` picks products by place, `extra` are its extra options."""
    options = {"CalibrationMethod": extra.pop("method", "MinMax")}

    def make(source, target, arrays):
        quantize_static(
            source, target, Reader(arrays), quant_format=QuantFormat[form], per_channel=channels,
            activation_type=QuantType[activations], weight_type=QuantType[weights], nodes_to_exclude=excluded(source, exclude),
            calibrate_method=CalibrationMethod[options["CalibrationMethod"]], extra_options=extra, reduce_range=False,
        )  # fmt: skip

    return make


def dynamic(weights="QInt8", channels=False, exclude=None, types=None, reduce_range=False, **extra):
    """A setting of the dynamic quantiser."""

    def make(source, target, arrays):
        quantize_dynamic(
            source, target, per_channel=channels, weight_type=QuantType[weights], reduce_range=reduce_range,
            nodes_to_exclude=excluded(source, exclude), op_types_to_quantize=types, extra_options=extra,
        )  # fmt: skip

    return make


def excluded(source, places):
    """Names of the products at `places` (a slice)."""
    names = [node.name for node in onnx.load(source).graph.node if node.op_type in PRODUCTS]
    return [] if places is None else names[places]


SETTINGS = {
    "QDQ u8u8": static("QUInt8", "QUInt8"),
    "QDQ u8s8": static("QUInt8", "QInt8"),
    "QDQ s8s8 per channel": static("QInt8", "QInt8", channels=True),
    "QDQ u8s8 per channel": static("QUInt8", "QInt8", channels=True),
    "QDQ u8s4": static("QUInt8", "QInt4"),
    "QDQ u8u4": static("QUInt8", "QUInt4"),
    "QDQ u8s4 per channel": static("QUInt8", "QInt4", channels=True),
    "QDQ, first excluded": static("QInt8", "QInt8", exclude=slice(0, 1), channels=True),
    "QDQ, last excluded": static("QUInt8", "QUInt8", exclude=slice(-1, None)),
    "QDQ, every third excluded": static("QInt8", "QInt8", exclude=slice(0, None, 3)),
    "QDQ, ActivationSymmetric": static("QInt8", "QInt8", ActivationSymmetric=True),
    "QDQ, WeightSymmetric off": static("QUInt8", "QUInt8", WeightSymmetric=False),
    "QDQ, WeightSymmetric on": static("QUInt8", "QUInt8", WeightSymmetric=True),
    "QDQ, DedicatedQDQPair": static("QUInt8", "QUInt8", DedicatedQDQPair=True),
    "QDQ, QDQKeepRemovableActivations": static("QUInt8", "QUInt8", QDQKeepRemovableActivations=True),
    "QDQ, AddQDQPairToWeight": static("QInt8", "QInt8", AddQDQPairToWeight=True),
    "QDQ, MatMulConstBOnly": static("QUInt8", "QUInt8", MatMulConstBOnly=True),
    "QDQ, QuantizeBias off": static("QUInt8", "QUInt8", QuantizeBias=False),
    "QDQ, ForceQuantizeNoInputCheck": static("QUInt8", "QUInt8", ForceQuantizeNoInputCheck=True),
    "QDQ, CalibTensorRangeSymmetric": static("QInt8", "QInt8", CalibTensorRangeSymmetric=True),
    "QDQ, Entropy": static("QUInt8", "QUInt8", method="Entropy"),
    "QDQ, Percentile": static("QInt8", "QInt8", channels=True, method="Percentile"),
    "QOperator u8u8": static("QUInt8", "QUInt8", "QOperator"),
    "QOperator u8s8 per channel": static("QUInt8", "QInt8", "QOperator", channels=True),
    "QOperator s8s8": static("QInt8", "QInt8", "QOperator"),
    "QOperator, last excluded": static("QUInt8", "QUInt8", "QOperator", exclude=slice(-1, None)),
    "dynamic s8": dynamic("QInt8"),
    "dynamic u8": dynamic("QUInt8"),
    "dynamic s8 per channel": dynamic("QInt8", channels=True),
    "dynamic, reduced range": dynamic("QInt8", channels=True, reduce_range=True),
    "dynamic, MatMul alone": dynamic("QUInt8", types=["MatMul", "Gemm"]),
    "dynamic, first excluded": dynamic("QUInt8", exclude=slice(0, 1)),
    "dynamic, MatMulConstBOnly off": dynamic("QUInt8", MatMulConstBOnly=False),
    "QDQ u16s8": static("QUInt16", "QInt8"),
    "QDQ s16s8 per channel": static("QInt16", "QInt8", channels=True),
    "QDQ u16u8 of com.microsoft": static("QUInt16", "QUInt8", UseQDQContribOps=True),
    "QDQ s16s16": static("QInt16", "QInt16"),
    "QDQ u8s16": static("QUInt8", "QInt16"),
    "QDQ u16s4 per channel": static("QUInt16", "QInt4", channels=True),
}


def quantised(name, setting, folder):
    """The file that the quantiser makes; a text where it refuses."""
    source = Path(folder) / f"{name}.pre.onnx"
    if not source.exists():
        quant_pre_process(str(networks.write(name, folder)), str(source), skip_symbolic_shape=True)
    target = Path(folder) / (re.sub(r"\W+", "_", f"{name} {setting}") + ".onnx")
    if not target.exists():
        SETTINGS[setting](str(source), str(target), networks.batches(name, CALIBRATION, 1))
    return target


def measured(name, setting, folder):
    """A row of the table."""
    row = dict.fromkeys(FIELDS, 0) | {"network": name, "setting": setting, "remark": ""}
    row["quantiser"] = "dynamic" if setting.startswith("dynamic") else "static"
    try:
        path = quantised(name, setting, folder)
    except Exception as error:  # what the quantiser itself says
        return row | {"verdict": "not made", "remark": f"{type(error).__name__}: {error}"[:120]}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return row | checked(name, path, folder)
    except cimemu.CimemuError as error:
        return row | {"verdict": "refused", "remark": re.sub(r"^\S+onnx: ", "", str(error))[:160]}
    except Exception as error:
        return row | {"verdict": "traceback", "remark": f"{type(error).__name__}: {error}"[:160]}


def checked(name, path, folder):
    arch = cimemu.load_arch("sram_256", {"chip.tiles": 256})
    network = cimemu.quantize(cimemu.load_network(path), arch, networks.batches(name, CALIBRATION, 1))
    feeds = networks.batches(name, IMAGES, 2)
    cimemu.run(arch, network, feeds, trace=Path(folder) / "trace.h5", overwrite=True)
    found = check_network(network, arch.macro, feeds, path="auto")
    codes = getattr(found, "codes", None)
    integers, floats = found.integers, found.floats
    verdict = "differs" if found.failed else "agrees"
    remark = "" if not found.failed else f"first: {found.first_layer}"
    if found.inexact:
        remark = f"ONNX Runtime's kernel saturates here: {len(found.inexact)} products; {remark}"
    return {
        "verdict": verdict, "layers_on_macros": sum(layer.on_macros for layer in network.layers),
        "products_in_float": sum(layer.op in PRODUCTS for layer in network.layers),
        "integers": integers.elements, "integers_differ": integers.differing,
        "codes": codes.elements if codes else 0, "codes_differ": codes.differing if codes else 0,
        "codes_apart": int(codes.largest) if codes else int(integers.largest),
        "floats": floats.elements, "floats_beyond_bound": floats.differing, "remark": remark,
    }  # fmt: skip


def write(path, rows):
    """The table so far, in the order of networks and settings."""
    if path is None:
        return
    places = {pair: place for place, pair in enumerate(itertools.product(networks.NAMES, SETTINGS))}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: places[row["network"], row["setting"]]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("csv", nargs="?")
    parser.add_argument("--only", default="", help="rows whose `network: setting` matches this expression")
    parser.add_argument("--folder", help="keep the files here, and use what is there")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = []
    if given.csv and Path(given.csv).exists():
        with open(given.csv, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    known = {(row["network"], row["setting"]) for row in rows}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or temporary
        Path(folder).mkdir(exist_ok=True)
        for setting, name in itertools.product(SETTINGS, networks.NAMES):
            if re.search(given.only, f"{name}: {setting}") and (name, setting) not in known:
                rows.append(measured(name, setting, folder))
                print(", ".join(str(rows[-1][field]) for field in FIELDS), flush=True)
                write(given.csv, rows)
    bad = [row for row in rows if row["verdict"] not in ("agrees", "not made")]
    print(f"{len(rows)} rows, {len(bad)} that do not agree")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
