"""The ONNX backend tests, run on cimemu's own operators: `python -m cimemu.check.onnx_backend [CSV]`.

Every case of `onnx.backend.test` (node, simple, pytorch-converted, pytorch-operator) is read as a file is read, and its
layers compute its outputs, which are compared at the case's own tolerances. The first axis of every input is the batch.
A case whose other inputs are parameters (weights, axes, sizes) is tried again with all inputs but one stored in the file,
as exporters store them. What is refused is told apart by its reason.
"""

import csv
import re
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from cimemu.arch.load import load_arch
from cimemu.check.network import lossless
from cimemu.compute.forward import Emulator
from cimemu.errors import CimemuError, WorkloadError
from cimemu.importer.from_onnx import load_onnx
from cimemu.layer.base import Array
from cimemu.layer.dynamic import DynamicQuantizeLinear
from cimemu.layer.execute import input_types, run_float
from cimemu.lower import lower
from cimemu.workload.network import Network

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
OUT_OF_SCOPE = {
    "loss or training": {
        "Adagrad", "Adam", "Gradient", "Momentum", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss",
    },
    "text": {"RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer"},
    "images": {"ImageDecoder"},
    "random": {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"},
}  # fmt: skip
VERDICTS = ("as it is", "with constants", "as one image", "wrong", "traceback")
REASONS = {  # what a refusal says -> its kind, the first that is found
    "operator": r"operators? .*(is|are) not supported[;:]",
    "batch axis": r"images must stay apart|the batch|batch ax|mix(es)? the images|across images|has no axes|"
    r"first axis must be|does not depend on an input|an operand of shape",
    "type": r"must be a tensor of|must be one of type|must be float32|operands of|, must be one of .*float32|"
    r"narrow type|is bfloat16|is float8|is float4|is float6",
    "run time": r"at run time|has no input, every tensor",
}
HEADER = (
    "operator", "cases", "pass as they are", "pass with constants", "pass as one image", "wrong", "tracebacks",
    "refused: operator", "refused: batch axis", "refused: type", "refused: run time", "refused: other", "an example of other",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One test: a model, what goes in and what must come out; `operator` is the one that it is about."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    rtol: float
    atol: float

    @property
    def out_of_scope(self) -> str:
        """Why no network on a chip has such a case; "" where it may have."""
        operators = {self.operator, *(node.op_type for node in self.model.graph.node)}
        for reason, names in OUT_OF_SCOPE.items():
            if operators & names or (reason == "random" and "_training_" in self.name):
                return reason
        arrays = [*self.inputs, *self.outputs]
        if not self.inputs:
            return "no input"
        if not all(isinstance(array, np.ndarray) and array.dtype.kind not in "OSU" for array in arrays):
            return "no tensors of numbers"
        return ""


def cases() -> Iterator[Case]:
    """Every case of the suite, with the first of its data sets."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the suite's own arithmetic
        found = [case for kind in KINDS for case in load_model_tests(kind=kind)]
    own = {case.name: _operator(case.model) for case in found if case.model is not None}
    for case in found:
        model, sets = (case.model, case.data_sets) if case.model is not None else _stored(Path(case.model_dir))
        base = re.sub(r"_expanded.*$", "", case.name)
        inputs, outputs = sets[0]
        operator = own.get(base) or _operator(model)
        yield Case(case.name, operator, model, _arrays(inputs), _arrays(outputs), case.rtol, case.atol)


def verdict(case: Case) -> tuple[str, str]:
    """(verdict, text): one of VERDICTS, or a key of REASONS or "other" for a refusal, with what was said."""
    told = ("other", "no form of it was tried")
    for frozen, lifted in [(form, lifted) for lifted in (False, True) for form in _forms(case)]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                problem = _run(case, frozen, lifted=lifted)
        except CimemuError as error:
            reason = _reason(str(error))
            if not lifted and (not frozen or (told[0] in ("batch axis", "run time") and 0 not in frozen)):
                told = (reason, str(error))
            continue
        except Exception as error:  # what must not happen, whatever it is, is counted
            return "traceback", f"{type(error).__name__}: {error}"
        if problem:
            return "wrong", problem
        return ("as one image" if lifted else "with constants" if frozen else "as it is"), ""
    return told


def _forms(case: Case) -> list[tuple[int, ...]]:
    """Which inputs are stored in the file: none, then runs of neighbours (the shortest first), then all but one."""
    every = range(len(case.inputs))
    runs = [
        tuple(every[first : first + length]) for length in every[1:] for first in every if first + length <= len(every)
    ]
    others = [tuple(other for other in every if other != kept) for kept in every if len(every) > 1]
    return list(dict.fromkeys([(), *runs, *others]))


def _run(case: Case, frozen: Sequence[int], *, lifted: bool) -> str:
    """What is wrong with the results, "" for nothing. Raises CimemuError where the case is refused.

    `lifted`: every input has an axis of one image in front, which the network drops.
    """
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    stored = {value.name for value in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in stored]
    feeds = {}
    for index, (name, array) in enumerate(zip(names, case.inputs)):
        if index in frozen:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            feeds[f"{name}:lifted" if lifted else name] = array[None] if lifted else array
    if lifted:
        _lift(model, [name.removesuffix(":lifted") for name in feeds])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.onnx"
        path.write_bytes(model.SerializeToString())
        network = load_onnx(path)
    if not all(array.ndim for array in feeds.values()):
        raise WorkloadError("an input has no axes, the first must be that of the images")
    made = _emulated(network, feeds)
    _check_costs(network, made)
    arrays = [made[value.name] for value in model.graph.output]
    # Of one image, what has a first axis of 1 in the case is its tensor; others have the axis of images in front.
    whole = [one[0] if len(one) == 1 and one.shape != other.shape else one for one, other in zip(arrays, case.outputs)]
    return _difference(case, whole)


def _lift(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Inputs `names` get an axis of size 1 in front, which a Reshape drops."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for value in model.graph.input:
        if value.name not in names:
            continue
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        target = f"{value.name}:sizes"
        model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), target))
        model.graph.node.append(onnx.helper.make_node("Reshape", [f"{value.name}:lifted", target], [value.name]))
        value.type.tensor_type.shape.dim.insert(0, onnx.TensorShapeProto.Dimension(dim_value=1))
        value.name = f"{value.name}:lifted"
    model.graph.node.extend(nodes)


def _emulated(network: Network, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
    """The network's outputs: of a quantised one after lowering, its products on macros with a lossless converter."""
    images = len(feeds[network.inputs[0]])
    if images > 1 and any(isinstance(layer, DynamicQuantizeLinear) for layer in network.layers):
        raise WorkloadError("the range of all images together sets the scale, images must stay apart")
    network = lower(network) if network.is_quantized else network
    if not any(layer.on_macros for layer in network.layers):
        return run_float(network, feeds)
    macro = lossless(load_arch("rram_128").macro)
    return Emulator(network, macro, adcs={}).run([feeds[name] for name in network.inputs]).tensors


def _check_costs(network: Network, made: Mapping[str, Array]) -> None:
    """AssertionError where a layer is free, or a result is not of the type that was inferred."""
    for name in network.outputs:
        if made[name].dtype != network.types[name].dtype or made[name].shape[1:] != network.types[name].shape:
            raise AssertionError(f"{name} is {made[name].dtype} {made[name].shape}, inferred {network.types[name]}")
    for layer in network.layers:
        if any(name in network.types for name in layer.outputs):
            ops = layer.digital_ops(input_types(layer, network), [network.types[name] for name in layer.outputs])
            if ops < 1:
                raise AssertionError(f"{layer.op} costs {ops} operations")


def _difference(case: Case, made: Sequence[Array]) -> str:
    held = {"int4": np.int8, "uint4": np.uint8}  # four-bit integers are held in bytes
    for number, (ours, theirs) in enumerate(zip(made, case.outputs)):
        theirs = theirs.astype(held.get(theirs.dtype.name, theirs.dtype))
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return f"output {number} is {ours.dtype} {ours.shape}, must be {theirs.dtype} {theirs.shape}"
        if ours.dtype.kind == "f":
            same = np.isclose(ours.astype(float), theirs.astype(float), case.rtol, case.atol, equal_nan=True)
        else:
            same = np.asarray(ours == theirs)
        if not same.all():
            where = tuple(int(i) for i in np.argwhere(~np.atleast_1d(same))[0])
            return (
                f"output {number}: {int((~same).sum())} of {same.size} elements, "
                f"{np.atleast_1d(ours)[where]} at {list(where)}, must be {np.atleast_1d(theirs)[where]}"
            )
    return ""


def _reason(message: str) -> str:
    return next((kind for kind, pattern in REASONS.items() if re.search(pattern, message)), "other")


def _operator(model: onnx.ModelProto) -> str:
    """What a model is about: its one operator, or the rarest kind among several."""
    names = [f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in model.graph.node]
    serious = [name for name in names if name not in ("Constant", "Identity", "Cast")] or names
    return serious[-1] if serious else "none"


def _stored(folder: Path) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
    """The model and data of a case that lies in a folder."""
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    return model, [tuple([*map(_tensor, _numbered(data, kind))] for kind in ("input", "output"))]  # type: ignore[list-item]


def _arrays(values: Iterable[Any]) -> tuple[Any, ...]:
    """Numbers and stored tensors (of types that NumPy does not have) as arrays; sequences and none at all stay."""
    stored = (numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value for value in values)
    return tuple(np.asarray(value) if isinstance(value, np.generic) else value for value in stored)


def _numbered(data: Path, kind: str) -> list[Path]:
    return sorted(data.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))


def _tensor(path: Path) -> Any:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def table(found: Iterable[tuple[Case, str, str]]) -> list[list[str]]:
    """A row an operator, a row for each kind of case out of scope, and one of sums: the columns of HEADER."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, str] = {}
    scopes: Counter[str] = Counter()
    for case, kind, text in found:
        if kind == "out of scope":
            scopes[text] += 1
            continue
        counts[case.operator][kind] += 1
        if kind == "other":
            said = re.sub(r"^.*?node '[^']*' \(\w+\): |^\S+case.onnx: ", "", text)
            examples.setdefault(case.operator, re.sub(r"\s+", " ", said)[:110])
    keys = (*VERDICTS, *list(REASONS), "other")
    rows = [
        [name, str(counts[name].total()), *(str(counts[name][key]) for key in keys), examples.get(name, "")]
        for name in sorted(counts)
    ]
    sums = sum(counts.values(), Counter())
    rows.append(["all operators", str(sums.total()), *(str(sums[key]) for key in keys), ""])
    rows += [[f"out of scope: {reason}", str(count), *[""] * len(keys), ""] for reason, count in sorted(scopes.items())]
    return rows


def run_suite(pattern: str = "") -> list[tuple[Case, str, str]]:
    """(case, verdict, text) of every case whose name matches `pattern`."""
    found = []
    for case in cases():
        if re.search(pattern, case.name):
            scope = case.out_of_scope
            found.append((case, "out of scope", scope) if scope else (case, *verdict(case)))
    return found


def main(arguments: Sequence[str]) -> int:
    """Runs the suite, prints what is wrong and the sums; writes the table to a CSV file if one is named."""
    path = next((a for a in arguments if a.endswith(".csv")), None)
    found = run_suite(next((a for a in arguments if not a.endswith(".csv")), ""))
    rows = table(found)
    for case, kind, text in found:
        if kind in ("wrong", "traceback") or (path is None and kind not in VERDICTS[:3]):
            print(f"{case.name} [{case.operator}] {kind}: {text}")
    if path is not None:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])
    sums = next(row for row in rows if row[0] == "all operators")
    print(", ".join(f"{count} {what}" for what, count in zip(HEADER[1:-1], sums[1:-1])))
    return int(int(sums[5]) + int(sums[6]) > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
