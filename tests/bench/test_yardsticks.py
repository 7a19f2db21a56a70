"""What the machine can do with the shapes of a macro: 128 rows, 64 outputs of 8 one-bit columns, 8 input slices.

A conversion needs at least the AND and the population count of 128 bits: two words. One thread.
"""

import numpy as np
import pytest
from numba import njit

from cimemu.lanes.popcount import popcount

pytestmark = pytest.mark.bench
ROWS, COLUMNS, SLICES, VECTORS = 128, 512, 8, 4096


@njit(fastmath=False, nogil=True, error_model="numpy")
def count_words(a, b, sums, times):
    """sums[c] += popcount(a & b[:, c]), with everything in the L1 cache and nothing else done."""
    for t in range(times):
        for word in range(b.shape[0]):
            mask = a[t % a.shape[0]] ^ np.uint64(t)
            for c in range(b.shape[1]):
                sums[c] += np.int64(popcount(mask & b[word, c]))


def test_population_counts(benchmark, rate):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**63, shape).astype(np.uint64) for shape in (64, (2, COLUMNS)))
    sums, times = np.zeros(COLUMNS, dtype=np.int64), 20_000
    count_words(a, b, sums, 1)
    benchmark(lambda: count_words(a, b, sums, times))
    rate("AND + population count of 128 rows and nothing else", times * COLUMNS, "conversions/s")


def test_float32_product(benchmark, rate):
    """The bit-serial work as float32 products of bit planes (threads as the BLAS is set: OPENBLAS_NUM_THREADS=1)."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (VECTORS, ROWS)).astype(np.float32)
    w = rng.integers(0, 2, (ROWS, COLUMNS)).astype(np.float32)
    out = np.zeros((VECTORS, COLUMNS), dtype=np.float32)
    benchmark(lambda: np.matmul(x, w, out=out))
    rate("float32 BLAS, bit planes, no converter", VECTORS * COLUMNS, "conversions/s")


def test_int8_product(benchmark, rate):
    """ONNX Runtime's uint8 x int8 product of the same layer, whole (not bit-serial): 64 outputs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    outputs = COLUMNS // 8
    rng = np.random.default_rng(0)
    w = helper.make_tensor("w", TensorProto.INT8, (ROWS, outputs), rng.integers(-64, 64, ROWS * outputs).tolist())
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (VECTORS, ROWS))],
        [helper.make_tensor_value_info("y", TensorProto.INT32, (VECTORS, outputs))],
        [w],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = rng.integers(0, 256, (VECTORS, ROWS)).astype(np.uint8)
    benchmark(lambda: session.run(None, {"x": x}))
    rate("int8 product of ONNX Runtime, whole layer", VECTORS * ROWS * outputs, "MAC/s")
