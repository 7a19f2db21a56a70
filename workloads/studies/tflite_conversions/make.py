"""The networks of `keras_networks.py`, converted five ways: `python make.py FOLDER [NAME ...]`.

TensorFlow must be installed (2.21 was used); cimemu itself does not need it.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf
from keras_networks import NETWORKS

BUILTINS = tf.lite.OpsSet
WIDE = BUILTINS.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


def network(name):
    """The network with drawn weights, as if trained: norms and biases are not what they are initialised to."""
    number = list(NETWORKS).index(name)
    keras.utils.set_random_seed(number)
    made = NETWORKS[name]()
    rng = np.random.default_rng(number)
    for weight in made.weights:
        shape, kind = tuple(weight.shape), weight.path.rsplit("/", 1)[-1]
        if "variance" in kind or "gamma" in kind:
            weight.assign(rng.uniform(0.5, 1.5, shape))
        elif "mean" in kind or "beta" in kind or "bias" in kind:
            weight.assign(rng.normal(0.0, 0.2, shape))
    return made


def convert(model, kind):
    """The bytes of a .tflite file of a model, as the converter makes it for `kind`."""
    rng = np.random.default_rng(7)
    shape = model.inputs[0].shape[1:]
    top = 255.0 if any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers) else 1.0
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()

    def images():
        for _ in range(32):
            x = rng.uniform(0, top, (1, *shape)) if len(shape) == 3 else rng.normal(0, 1, (1, *shape))
            yield [x.astype(np.float32)]

    converter.representative_dataset = images
    converter.target_spec.supported_ops = [WIDE if kind == "16x8" else BUILTINS.TFLITE_BUILTINS_INT8]
    ends = {"int8": tf.int8, "uint8": tf.uint8, "16x8": tf.int16}.get(kind, tf.float32)
    converter.inference_input_type = converter.inference_output_type = ends
    return converter.convert()


def main(folder, names):
    """Write every conversion of the networks named (all) into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names or NETWORKS:
        for kind in ("int8", "int8_float_ends", "uint8", "16x8", "float16"):
            try:
                data = convert(network(name), kind)
            except Exception as error:  # the converter's own refusal
                print(f"{name} {kind}: {' '.join(str(error).split())[:200]}")
                continue
            Path(folder, f"{name}_{kind}.tflite").write_bytes(data)
            print(f"{name} {kind}: {len(data):,} bytes", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
