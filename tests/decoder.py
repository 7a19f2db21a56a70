"""A small decoder of random weights with a cache of fixed size: one block of causal attention and a feed-forward part."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, WIDTH, HEADS, LENGTH = 17, 16, 2, 48
EACH = WIDTH // HEADS


def decoder(seed=0):
    """The float ONNX model: token, position and past in, logits and present out; any number of texts."""
    rng = np.random.default_rng(seed)
    constants, nodes = {}, []

    def constant(name, value):
        constants[name] = np.asarray(value)
        return name

    def weight(name, rows, columns):
        return constant(name, (rng.standard_normal((rows, columns)) * 1.5 / np.sqrt(rows)).astype(np.float32))

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    shape = constant("heads", np.array([-1, 1, HEADS, EACH], np.int64))
    flat = constant("flat", np.array([-1, 1, WIDTH], np.int64))
    tokens = constant("tokens", rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32))
    places = constant("places", (rng.standard_normal((LENGTH, WIDTH)) * 0.5).astype(np.float32))
    x = node(
        "Add", [node("Gather", [tokens, "token"], "of_token"), node("Gather", [places, "position"], "of_position")], "x"
    )
    order = constant("order", np.arange(LENGTH, dtype=np.int64).reshape(1, 1, LENGTH, 1))
    along = constant("along", np.arange(LENGTH, dtype=np.int64).reshape(1, 1, 1, LENGTH))
    now = node("Reshape", ["position", constant("one_each", np.array([-1, 1, 1, 1], np.int64))], "now")
    here = node("Equal", [order, now], "here")
    seen = node("LessOrEqual", [along, now], "seen")
    parts = {}
    for part in ("query", "key", "value"):
        product = node("MatMul", [x, weight(f"w_{part}", WIDTH, WIDTH)], f"{part}_flat")
        split = node("Reshape", [product, shape], f"{part}_split")
        parts[part] = node("Transpose", [split], part, perm=[0, 2, 1, 3])
    for part in ("key", "value"):
        parts[part] = node("Where", [here, parts[part], f"past.{part}"], f"present.{part}")
    turned = node("Transpose", [parts["key"]], "turned", perm=[0, 1, 3, 2])
    scaled = node("Mul", [parts["query"], constant("scale", np.float32(EACH**-0.5))], "scaled")
    scores = node("MatMul", [scaled, turned], "scores")
    masked = node("Where", [seen, scores, constant("hidden", np.float32(-1e9))], "masked")
    shares = node("Softmax", [masked], "shares", axis=-1)
    mixed = node("MatMul", [shares, parts["value"]], "mixed")
    back = node("Reshape", [node("Transpose", [mixed], "back_split", perm=[0, 2, 1, 3]), flat], "back")
    attended = node("Add", [x, node("MatMul", [back, weight("w_out", WIDTH, WIDTH)], "out")], "attended")
    inner = node("Relu", [node("MatMul", [attended, weight("w_in", WIDTH, 32)], "inner_sum")], "inner")
    block = node("Add", [attended, node("MatMul", [inner, weight("w_back", 32, WIDTH)], "outer")], "block")
    node("MatMul", [block, weight("w_logits", WIDTH, VOCABULARY)], "logits")
    cache = ["N", HEADS, LENGTH, EACH]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["N", 1]) for n in ("token", "position")]
        + [helper.make_tensor_value_info(f"past.{p}", TensorProto.FLOAT, cache) for p in ("key", "value")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1, VOCABULARY])]
        + [helper.make_tensor_value_info(f"present.{p}", TensorProto.FLOAT, cache) for p in ("key", "value")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def continued(step, prompt, tokens):
    """(tokens [texts, tokens], inputs of every step) of a greedy loop over `step(feeds) -> results by name`."""
    texts = len(prompt)
    state = {f"past.{p}": np.zeros((texts, HEADS, LENGTH, EACH), np.float32) for p in ("key", "value")}
    written, fed = [], []
    for number in range(prompt.shape[1] + tokens - 1):
        token = prompt[:, number] if number < prompt.shape[1] else written[-1]
        feeds = {
            "token": token.reshape(-1, 1).astype(np.int64),
            "position": np.full((texts, 1), number, np.int64),
            **state,
        }
        fed.append(feeds)
        made = step(feeds)
        state = {f"past.{p}": made[f"present.{p}"] for p in ("key", "value")}
        if number >= prompt.shape[1] - 1:
            written.append(made["logits"][:, -1].argmax(axis=1))
    return np.stack(written, axis=1), fed
