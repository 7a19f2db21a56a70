"""The text of a workload.yaml to begin with, for a network file."""

import json
import os
from pathlib import Path

from cimemu.loading.bare import BareWorkload, Given, described
from cimemu.loading.load import preset_folder

STARTER = """\
# yaml-language-server: $schema={schema}
# What cimemu runs: which network, which images, how they are prepared. Edit it, then: cimemu run rram_128 {file}
name: {name}
title: {name}
source: who made the network and the data, and under which licences
network: {network}

# The network takes {inputs}.
{inputs_key}
{calibration_key}
# From stored images to what the network takes; remove what the images do not need.
preprocess:
  stored: nchw          # or nhwc: axes of the stored images
  network: nchw         # or nhwc: axes that the network takes
  divide: 1             # stored values are divided by this first (255 for bytes)
  # mean: [0.485, 0.456, 0.406]    # then this is subtracted, a value per channel
  # std: [0.229, 0.224, 0.225]     # then divided by this, a value per channel
  dtype: {dtype}
{integers}
# metric: {{kind: accuracy}}       # or reconstruction, detection, retrieval, perplexity
# expect: {{float_accuracy: 0.9, note: where the figure comes from}}
"""
ONE = """\
# Images: an .npz or .h5 with arrays `images` [images, ...] and `labels` [images] (integers); labels: null where there are none.
inputs: {file: images.npz, images: images, labels: labels}
"""
CALIBRATION = """\
# Images that the ranges of activations are taken from: some hundred of the training data, no test images.
calibration: {file: calibration.npz, images: images, labels: null}
quantize: {activations: minmax, weights: channel}   # activations: or percentile, mse; weights: or layer
"""
INTEGERS = """\
  # scale: 0.0078125    # integer networks: real values become round(value / scale) + zero_point; left out: as stored
  # zero_point: 0
"""


def starter(network: Path, target: Path, given: Given | None) -> str:
    """The text for `network`, to be written to `target`. WorkloadError where the network cannot be read."""
    work = BareWorkload.of(network, given or Given())
    loaded = work.load()
    kinds = [f"{name} {described(loaded.types[name])}" for name in loaded.inputs]
    first = loaded.types[loaded.inputs[0]].dtype
    integer = loaded.is_quantized and first != "float32"
    return STARTER.format(
        schema=(preset_folder() / "workload.schema.json").resolve(),
        file=target.name,
        name=work.name,
        network=json.dumps(os.path.relpath(network.absolute(), target.absolute().parent)),
        inputs=", ".join(kinds) + ", the batch aside",
        inputs_key=ONE if len(kinds) == 1 else _several(loaded.inputs),
        calibration_key="" if loaded.is_quantized else CALIBRATION,
        dtype=first if first in ("float32", "uint8", "int8") else "float32",
        integers=INTEGERS if integer else "",
    )


def _several(names: tuple[str, ...]) -> str:
    """Inputs by name."""
    tensors = "\n".join(f"    {json.dumps(name)}: [{json.dumps(name)}]" for name in names)
    return f"# Arrays [images, ...] by input name, as stored.\ninputs:\n  file: images.npz\n  tensors:\n{tensors}\n"
