"""Random images for a network, and a workload of both."""

import json
from pathlib import Path

import numpy as np

from cimemu.errors import WorkloadError
from cimemu.whole_file import whole_file
from cimemu.workload.network import Network


def save_images(network: Network, path: Path, count: int, *, seed: int = 0, overwrite: bool = False) -> Path:
    """`count` images (normal, mean 0, variance 1) as .npz and a workload as .yaml beside the network's file `path`.

    They calibrate too: ranges fit the images that are run. Returns the workload's path. Raises WorkloadError where a
    file is there already.
    """
    rng = np.random.default_rng((seed, 1))
    arrays, work = path.with_suffix(".npz"), path.with_suffix(".yaml")
    with whole_file(arrays, WorkloadError, overwrite=overwrite) as partial, partial.open("wb") as stream:
        np.savez(stream, images=rng.standard_normal((count, *network.types["x"].shape), dtype=np.float32))
    source = {"file": arrays.name, "labels": None}
    text = {
        "name": network.name,
        "title": f"{network.name}, random weights, random images",
        "source": f"made by cimemu shape {network.name}, seed {seed}",
        "network": path.name,
        "inputs": source,
        "calibration": source,
    }
    with whole_file(work, WorkloadError, overwrite=overwrite) as partial:  # every value as JSON is YAML too
        partial.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in text.items()))
    return work
