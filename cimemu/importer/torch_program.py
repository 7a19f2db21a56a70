"""A torch.nn.Module as a network, by torch.export and PyTorch's own ONNX export, with the module's line of every node."""

import inspect
import re
import sysconfig
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from cimemu.errors import CimemuError, WorkloadError
from cimemu.importer.from_onnx import load_onnx
from cimemu.importer.from_torch import silence, torch_of, write_program
from cimemu.workload.network import Network

TRACE = "pkg.torch.onnx.stack_trace"  # where PyTorch's exporter keeps the lines that a node was made by
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]*\n\s*(?P<code>[^\n]*)')


@dataclass(frozen=True)
class Line:
    """A line of source."""

    file: str
    number: int
    code: str

    def __str__(self) -> str:
        """For people: `net.py, line 12, "return x"`."""
        return f'{Path(self.file).name}, line {self.number}, "{self.code}"'


@dataclass(frozen=True, eq=False)
class Program:
    """What one module was exported to.

    `network` is the float network, whose inputs stand in the order of the tensors that the module is called with. `outputs`
    is one entry for every leaf of what it returns: a tensor's name in the network, or the value itself where it is no
    tensor (None, a number); `returned` puts leaves together again. `lines` gives the module's own line of source by node.
    """

    network: Network
    outputs: tuple["str | Constant", ...]
    returned: Any
    lines: Mapping[str, Line]
    refused: CimemuError | None = None  # why it was exported for one image alone


@dataclass(frozen=True)
class Constant:
    """A leaf of a result that is no tensor."""

    value: Any


def program_of_module(
    module: Any, args: Sequence[Any], keywords: Mapping[str, Any], file: Path | None = None
) -> Program:
    """Export `module`, in eval mode, with example arguments of two images.

    It is exported for any number of images, or else (where its code fixes it, or images are told apart only so) for one.
    `file` keeps the ONNX file. The module is left in the mode it was in. Raises WorkloadError in one line, which begins with
    the module's own line.
    """
    torch, was = torch_of(), module.training
    module.eval()
    try:
        try:
            return _program(torch, module, args, keywords, file, many=True)
        except CimemuError as refused:
            alone = torch.utils._pytree.tree_map(
                lambda leaf: leaf[:1] if isinstance(leaf, torch.Tensor) and leaf.ndim else leaf,
                (tuple(args), dict(keywords)),
            )
            try:
                return replace(_program(torch, module, alone[0], alone[1], file, many=False), refused=refused)
            except CimemuError as error:
                raise (error if "PyTorch cannot export" in str(refused) else refused) from None
    finally:
        module.train(was)


def _program(
    torch: Any, module: Any, args: Sequence[Any], keywords: Mapping[str, Any], file: Path | None, *, many: bool
) -> Program:
    """Export with a free number of images (`many`), or for the one that the arguments hold."""
    name = type(module).__name__
    exported = _exported(torch, module, args, keywords, name, many=many)
    signature = exported.graph_signature
    changed = sorted({**signature.buffers_to_mutate, **signature.user_inputs_to_mutate}.values())
    if changed:
        raise WorkloadError(
            f"{name}: its forward changes '{changed[0]}', must change neither buffers nor inputs: return a new tensor instead"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx" if file is None else file
        try:
            write_program(torch, Path(name), exported, {}, "", path)
        except WorkloadError as error:
            line = _line_of_failure(exported, error)
            raise WorkloadError(f"{line}: {error}" if line else str(error)) from None
        graph = onnx.load(str(path)).graph
        lines = {node.name: line for node in graph.node if (line := _line_of(node)) is not None}
        try:
            network = load_onnx(path)
        except CimemuError as error:
            raise located(type(error)(str(error).removeprefix(f"{path}: ")), lines) from None
    outputs = _outputs(exported, network, name)
    return Program(replace(network, origin=None, name=name), outputs, exported.call_spec.out_spec, lines)


def _exported(
    torch: Any, module: Any, args: Sequence[Any], keywords: Mapping[str, Any], name: str, *, many: bool
) -> Any:
    """The program of torch.export."""
    shapes = None
    if many:
        given = _arguments(module, args, keywords)
        free = {0: torch.export.Dim.DYNAMIC}
        shapes = torch.utils._pytree.tree_map(
            lambda leaf: (free if leaf.ndim else {}) if isinstance(leaf, torch.Tensor) else None, given
        )
    try:
        with warnings.catch_warnings(), silence(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(module, tuple(args), dict(keywords), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # the exporter's kinds are many
        frames = traceback.extract_tb(error.__traceback__)
        line = _own_line([Line(frame.filename, frame.lineno or 0, frame.line or "") for frame in frames])
        reason = f"PyTorch cannot export the module {name}: {_reason(error)}"
        raise WorkloadError(f"{line}: {reason}" if line else reason) from None


def _arguments(module: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What the module's forward is given, by the names of its arguments."""
    return dict(inspect.signature(module.forward).bind(*args, **keywords).arguments)


def _reason(error: BaseException) -> str:
    """What went wrong, without the exporter's advice on its own options."""
    text = str(error).strip().split("\n\n")[0]
    return " ".join(text.split())[:300] or type(error).__name__


def _line_of_failure(exported: Any, error: BaseException) -> Line | None:
    """The module's own line of the node that could not be written as ONNX."""
    cause, texts = error.__cause__, []
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__
    names = set(re.findall(r"%(\w+)", "\n".join(texts)))
    with warnings.catch_warnings(), silence():
        warnings.simplefilter("ignore")
        graphs = [exported.graph, exported.run_decompositions().graph]
    found = [node.meta.get("stack_trace") or "" for graph in graphs for node in graph.nodes if node.name in names]
    return next((line for text in found if (line := _own_line(_frames(text))) is not None), None)


def _frames(text: str) -> list[Line]:
    return [Line(found["file"], int(found["line"]), found["code"].strip()) for found in FRAME.finditer(text)]


def _own_line(frames: Sequence[Line]) -> Line | None:
    """The innermost of `frames` that is neither PyTorch's, nor of Python or cimemu itself."""
    roots = [str(Path(torch_of().__file__).parent), sysconfig.get_paths()["stdlib"], str(Path(__file__).parent.parent)]
    packages = ("onnxscript", "onnx_ir")
    own = [
        frame
        for frame in frames
        if not frame.file.startswith("<")
        and not any(
            frame.file.startswith(f"{root}/") and "site-packages" not in frame.file.removeprefix(root) for root in roots
        )
        and not any(f"/{package}/" in frame.file for package in packages)
    ]
    return own[-1] if own else None


def _line_of(node: onnx.NodeProto) -> Line | None:
    text = next((prop.value for prop in node.metadata_props if prop.key == TRACE), "")
    return _own_line(_frames(text))


def located(error: CimemuError, lines: Mapping[str, Line]) -> CimemuError:
    """The error with the module's own line in front, where it names a node that has one."""
    text = str(error)
    words = set(re.findall(r"[\w.:/]+", text))
    named = sorted((name for name in lines if name in words), key=text.find)
    return type(error)(f"{lines[named[0]]}: {text}") if named else error


def _outputs(exported: Any, network: Network, name: str) -> tuple["str | Constant", ...]:
    """For every leaf of the result, its tensor in the network or its value."""
    specs = [spec for spec in exported.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"]
    tensors = iter(network.outputs)
    leaves: list[str | Constant] = [
        Constant(spec.arg.value) if hasattr(spec.arg, "value") else next(tensors, "") for spec in specs
    ]
    if "" in leaves or next(tensors, None) is not None:
        raise WorkloadError(
            f"{name}: returns {len(leaves)} values, of which {len(network.outputs)} are tensors of the exported network: "
            "return every tensor once"
        )
    return tuple(leaves)


__all__ = ["Constant", "Line", "Program", "located", "program_of_module"]
