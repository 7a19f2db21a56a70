"""A small decoder of random weights whose caches grow: two blocks of attention, named as exporters of language models do."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, WIDTH, HEADS, LAYERS, PLACES = 17, 16, 2, 2, 64
EACH = WIDTH // HEADS


def decoder(seed=0, names=("batch", "sequence", "past", "past + sequence")):
    """The float ONNX model; `names` are those of its open sizes: texts, new tokens, cached tokens, all tokens."""
    rng = np.random.default_rng(seed)
    constants, nodes = {}, []
    texts, new, past, total = names

    def constant(name, value):
        constants[name] = np.asarray(value)
        return name

    def weight(name, rows, columns):
        return constant(name, (rng.standard_normal((rows, columns)) * 1.5 / np.sqrt(rows)).astype(np.float32))

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    shape, flat = constant("heads", np.array([0, 0, HEADS, EACH])), constant("flat", np.array([0, 0, WIDTH]))
    tokens = constant("tokens", rng.standard_normal((VOCABULARY, WIDTH)).astype(np.float32))
    places = constant("places", (rng.standard_normal((PLACES, WIDTH)) * 0.5).astype(np.float32))
    x = node("Add", [node("Gather", [tokens, "input_ids"], "t"), node("Gather", [places, "position_ids"], "p")], "x")
    seen = node(
        "Unsqueeze", [node("Cast", ["attention_mask"], "mask", to=1), constant("axes", np.array([1, 2]))], "seen"
    )
    hidden = node(
        "Mul",
        [node("Sub", [constant("one", np.float32(1)), seen], "away"), constant("low", np.float32(-1e9))],
        "hidden",
    )
    for layer in range(LAYERS):
        parts = {}
        for part in ("query", "key", "value"):
            product = node("MatMul", [x, weight(f"w{layer}_{part}", WIDTH, WIDTH)], f"{layer}_{part}_flat")
            split = node("Reshape", [product, shape], f"{layer}_{part}_split")
            parts[part] = node("Transpose", [split], f"{layer}_{part}", perm=[0, 2, 1, 3])
        for part in ("key", "value"):
            cache = f"past_key_values.{layer}.{part}"
            parts[part] = node("Concat", [cache, parts[part]], f"present.{layer}.{part}", axis=2)
        turned = node("Transpose", [parts["key"]], f"{layer}_turned", perm=[0, 1, 3, 2])
        scaled = node("Mul", [parts["query"], constant("scale", np.float32(EACH**-0.5))], f"{layer}_scaled")
        scores = node("Add", [node("MatMul", [scaled, turned], f"{layer}_scores"), hidden], f"{layer}_masked")
        mixed = node(
            "MatMul", [node("Softmax", [scores], f"{layer}_shares", axis=-1), parts["value"]], f"{layer}_mixed"
        )
        back = node(
            "Reshape", [node("Transpose", [mixed], f"{layer}_turned_back", perm=[0, 2, 1, 3]), flat], f"{layer}_back"
        )
        x = node(
            "Add",
            [x, node("MatMul", [back, weight(f"w{layer}_out", WIDTH, WIDTH)], f"{layer}_out")],
            f"{layer}_attended",
        )
        inner = node("Relu", [node("MatMul", [x, weight(f"w{layer}_in", WIDTH, 32)], f"{layer}_sum")], f"{layer}_inner")
        x = node(
            "Add", [x, node("MatMul", [inner, weight(f"w{layer}_back", 32, WIDTH)], f"{layer}_outer")], f"{layer}_block"
        )
    node("MatMul", [x, weight("w_logits", WIDTH, VOCABULARY)], "logits")
    caches = [f"{layer}.{part}" for layer in range(LAYERS) for part in ("key", "value")]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            info("input_ids", TensorProto.INT64, [texts, new]),
            info("attention_mask", TensorProto.INT64, [texts, total]),
            info("position_ids", TensorProto.INT64, [texts, new]),
            *(info(f"past_key_values.{c}", TensorProto.FLOAT, [texts, HEADS, past, EACH]) for c in caches),
        ],
        [
            info("logits", TensorProto.FLOAT, [texts, new, VOCABULARY]),
            *(info(f"present.{c}", TensorProto.FLOAT, [texts, HEADS, total, EACH]) for c in caches),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def continued(step, prompt, tokens):
    """(tokens [texts, tokens], inputs of every step) of a greedy loop over `step(length, feeds) -> results by name`."""
    texts = len(prompt)
    caches = [f"{layer}.{part}" for layer in range(LAYERS) for part in ("key", "value")]
    state = {f"past_key_values.{c}": np.zeros((texts, HEADS, 0, EACH), np.float32) for c in caches}
    written, fed = [], []
    for length in range(prompt.shape[1] + tokens - 1):
        token = prompt[:, length] if length < prompt.shape[1] else written[-1]
        feeds = {
            "input_ids": token.reshape(texts, 1),
            "attention_mask": np.ones((texts, length + 1), np.int64),
            "position_ids": np.full((texts, 1), length),
            **state,
        }
        made = step(length, feeds)
        fed.append(feeds)
        state = {f"past_key_values.{c}": made[f"present.{c}"] for c in caches}
        if length >= prompt.shape[1] - 1:
            written.append(made["logits"][:, -1].argmax(axis=-1))
    return np.stack(written, axis=1), fed
