"""`cimemu.torch.emulate`: any torch.nn.Module on a chip, called as the module is.

The extra `torch` is needed: `pip install "cimemu[torch]"`. It is imported by the first call, not by `import cimemu`.
"""

import inspect
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.emulate import RunResult, run
from cimemu.errors import CimemuError, WorkloadError
from cimemu.importer.from_torch import torch_of
from cimemu.importer.torch_program import Constant, Program, located, program_of_module
from cimemu.keywords import filled
from cimemu.layer.base import Array
from cimemu.options import Draws, Options, Output, RunKeywords
from cimemu.ptq import Scheme, apply_scheme, quantize, read_scheme
from cimemu.ptq.ranges import Ranges, RangesKeywords
from cimemu.workload.network import Network

__all__ = ["Emulated", "emulate"]


class EmulateKeywords(RunKeywords, RangesKeywords, total=False):
    """Every field of the records of `cimemu.run` and `cimemu.quantize`, as a keyword of `emulate`."""


class Emulated:
    """A module on a chip. Called as the module is, it returns what the chip gives, in tensors of the same structure.

    `network` is the integer network, which `cimemu.run` takes too, and `arch` the chip. `report` is the last call's
    `RunResult` (outputs, cycles, energy, conversions, macros ...), `trace` the HDF5 file that it wrote; both are None
    before the first call, and `trace` where none was asked for.
    """

    def __init__(self, module: "_Called", arch: Arch, network: Network, records: tuple[Options, Draws, Output]) -> None:
        """Of `emulate`."""
        self.arch, self.network = arch, network
        self.report: RunResult | None = None
        self._module, self._records = module, records

    @property
    def trace(self) -> Path | None:
        """The file that the last call wrote."""
        return None if self.report is None else self.report.trace

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Emulate one batch of images, given as the module's arguments. Raises CimemuError in one line."""
        options, draws, output = self._records
        images = self._module.arrays(args, keywords)
        try:
            self.report = run(self.arch, self.network, images, options=options, draws=draws, output=output)
        except CimemuError as error:
            raise located(error, self._module.program.lines) from None
        outputs = self.report.outputs
        if not isinstance(outputs, Mapping):
            outputs = {self.network.outputs[0]: outputs}
        return self._module.returned(outputs, args, keywords)


def emulate(
    model: Any,
    arch: Arch | str | Path = "rram_128",
    calibration: Any = None,
    *,
    scheme: Scheme | str | Path | None = None,
    onnx: str | Path | None = None,
    **given: Unpack[EmulateKeywords],
) -> Emulated:
    """Export a torch.nn.Module, quantise it for `arch`, and return it as a function of its own arguments.

    `calibration` is what the module is called with, for some images: a tensor, a tuple of positional arguments, a dict of
    keyword arguments, or a list of batches of these. The first axis of every tensor is the images', and a tensor without
    axes is one number for all of them; other arguments are constants. `arch` is a chip, a preset's name or a YAML file. The
    keywords are those of `cimemu.run` (detail, seed, vary, trace, overwrite ...) and of `cimemu.quantize`
    (weight_granularity, method, percentile); `scheme` is a quantisation scheme, or the name or file of one. `onnx` names a
    file in which the exported network is kept: `cimemu.run` gives the same for it.

    The module's code runs in eval mode and is left as it was. What cannot be exported or emulated is a CimemuError in one
    line that begins with the module's own line of source.

    >>> import cimemu, torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3))
    >>> x = torch.randn(8, 1, 8, 8)
    >>> emulated = cimemu.torch.emulate(model, "rram_128", calibration=x)
    >>> emulated(x[:2]).shape, emulated.report.conversions
    (torch.Size([2, 3]), 19200)
    """
    torch = torch_of()
    if not isinstance(model, torch.nn.Module):
        raise WorkloadError(f"model: {type(model).__name__} given, must be a torch.nn.Module")
    if not isinstance(arch, Arch):
        arch = load_arch(arch)
    if calibration is None:
        raise WorkloadError(f"{type(model).__name__}: give calibration, what the module is called with for some images")
    ranges, *records = filled("cimemu.torch.emulate", given, Ranges(), Options(), Draws(), Output())
    batches = calibration if isinstance(calibration, list) else [calibration]
    called = _Called.of(torch, model, [_arguments_of(torch, batch) for batch in batches], onnx)
    images = called.calibration
    try:
        if scheme is None:
            network = quantize(called.program.network, arch, images, ranges=ranges)
        else:
            if ranges != Ranges():
                name = type(model).__name__
                raise WorkloadError(f"{name}: a scheme says how ranges are found, leave out what is given beside it")
            chosen = scheme if isinstance(scheme, Scheme) else read_scheme(str(scheme))
            if len(images) > 1:
                raise WorkloadError(f"{type(model).__name__}: takes {len(images)} inputs, a scheme is for one")
            network = apply_scheme(called.program.network, arch, next(iter(images.values())), chosen).network
    except CimemuError as error:
        raise located(error, called.program.lines) from None
    return Emulated(called, arch, network, (records[0], records[1], records[2]))


def _arguments_of(torch: Any, batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(positional, keyword) arguments of one batch of calibration images."""
    if isinstance(batch, tuple):
        return batch, {}
    return ((), dict(batch)) if isinstance(batch, Mapping) else ((batch,), {})


class _Called:
    """How a module is called: its arguments as arrays by input of the network, the network's outputs as what it returns."""

    def __init__(self, torch: Any, module: Any, program: Program, structure: Any, constants: Sequence[Any]) -> None:
        self.torch, self.module, self.program, self.structure = torch, module, program, structure
        self.constants = constants  # a leaf of the arguments that is no tensor; None for a tensor
        self.calibration: dict[str, Array] = {}
        self.axes: list[int] = []

    @classmethod
    def of(cls, torch: Any, module: Any, batches: Sequence[Any], onnx: str | Path | None) -> "_Called":
        """Of a module and (positional, keyword) arguments of calibration images. WorkloadError."""
        tree = torch.utils._pytree
        name = type(module).__name__
        if not batches:
            raise WorkloadError(f"{name}: calibration is an empty list, give at least one batch")
        flat = [_flat(torch, module, *batch) for batch in batches]
        for found, _ in flat:
            _check_tensors(torch, found, name)
        leaves, structure = flat[0]
        for other, form in flat[1:]:
            if form != structure or [_constant(torch, x) for x in other] != [_constant(torch, x) for x in leaves]:
                raise WorkloadError(f"{name}: batches of calibration differ in their arguments, must be alike")
        example = [_first(torch, leaf, 2) for leaf in leaves]
        args, keywords = tree.tree_unflatten(example, structure)
        if onnx is not None and not isinstance(onnx, str | Path):
            raise WorkloadError(f"onnx = {onnx!r:.60}, must be a path")
        program = program_of_module(module, args, keywords, None if onnx is None else Path(onnx))
        called = cls(torch, module, program, structure, [_constant(torch, leaf) for leaf in leaves])
        if len(program.network.inputs) != sum(isinstance(leaf, torch.Tensor) for leaf in leaves):
            raise WorkloadError(
                f"{name}: is called with {len(leaves)} values, of which the network takes {len(program.network.inputs)}"
            )
        parts = [called.arrays(*batch) for batch in batches]
        called.calibration = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        called.axes = called._image_axes(_unlike(torch, example), leaves)
        return called

    def arrays(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Array]:
        """Arrays [images, ...] by input. WorkloadError where the arguments are of another form than those of calibration."""
        torch, name = self.torch, type(self.module).__name__
        leaves, structure = _flat(torch, self.module, args, keywords)
        given = [_constant(torch, leaf) for leaf in leaves]
        if structure != self.structure or given != list(self.constants):
            raise WorkloadError(
                f"{name}: called with other arguments than in calibration; give tensors in the same places"
            )
        arrays = [leaf.detach().cpu().numpy() for leaf in _check_tensors(torch, leaves, name)]
        images = next(len(array) for array in arrays if array.ndim)
        return {
            key: array if array.ndim else np.full(images, array)
            for key, array in zip(self.program.network.inputs, arrays)
        }

    def returned(self, outputs: Mapping[str, Array], args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        """What the module returns, with the emulated tensors in it, on the device of the first tensor that was given."""
        torch = self.torch
        given, _ = _flat(torch, self.module, args, keywords)
        device = next(leaf.device for leaf in given if isinstance(leaf, torch.Tensor))
        leaves = []
        for output, axis in zip(self.program.outputs, self.axes):
            if isinstance(output, Constant):
                leaves.append(output.value)
                continue
            array = outputs[output]
            if axis >= 0:  # [images, all axes]: put the images back where the module has them
                array = np.concatenate(list(array), axis=axis)
            leaves.append(torch.from_numpy(np.ascontiguousarray(array)).to(device))
        return torch.utils._pytree.tree_unflatten(leaves, self.program.returned)

    def _image_axes(self, example: Sequence[Any], batch: Sequence[Any]) -> list[int]:
        """For every leaf that the module returns: where its images are, -1 where the network has them first, too.

        `example` is two images, `batch` the first batch of calibration. WorkloadError where a leaf has no axis of images,
        or where an image's result depends on another image or on how many there are.
        """
        torch = self.torch
        alone, other = (self._float([_images(torch, leaf, n, n + 1) for leaf in example]) for n in (0, 1))
        both = self._float(example)
        start, whole = self._float([_images(torch, leaf, 0, 1) for leaf in batch]), self._float(batch)
        axes = []
        for number, output in enumerate(self.program.outputs):
            if isinstance(output, Constant):
                axes.append(-1)
                continue
            one, two = alone[number], both[number]
            moved = [axis for axis, (a, b) in enumerate(zip(one.shape, two.shape)) if a != b]
            shape, what = self.program.network.types[output].shape, f"{type(self.module).__name__}: result {number}"
            if len(moved) != 1 or shape not in (tuple(one.shape[1:]), tuple(one.shape)):
                raise self.program.refused or WorkloadError(
                    f"{what} has shapes {list(one.shape)} and {list(two.shape)} for one and two images, must have an axis of "
                    "images: return one value an image"
                )
            pairs = [(two, 0, one), (two, 1, other[number]), (whole[number], 0, start[number])]
            if not all(_alike(torch, many.narrow(moved[0], place, 1), lone) for many, place, lone in pairs):
                refused = self.program.refused
                if refused is not None and "PyTorch cannot export" not in str(refused):
                    raise refused
                raise WorkloadError(
                    f"{what} of an image depends on the other images or on their number, must not: the first axis is that "
                    "of the images (batch_first=True)"
                )
            axes.append(-1 if moved[0] == 0 and shape == tuple(one.shape[1:]) else moved[0])
        return axes

    def _float(self, leaves: Sequence[Any]) -> list[Any]:
        """The leaves of what the module itself returns."""
        was = self.module.training
        own = [leaf.clone() if isinstance(leaf, self.torch.Tensor) else leaf for leaf in leaves]
        args, keywords = self.torch.utils._pytree.tree_unflatten(own, self.structure)
        self.module.eval()
        try:
            with self.torch.no_grad():
                made = self.module(*args, **keywords)
        except Exception as error:  # the user's own code, whatever it does wrong
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise WorkloadError(f"{type(self.module).__name__}: its forward fails: {reason}") from None
        finally:
            self.module.train(was)
        found: list[Any] = self.torch.utils._pytree.tree_flatten(made)[0]
        return found


def _flat(torch: Any, module: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """(leaves, structure) of arguments, an argument by its place wherever it may stand there."""
    try:
        bound = inspect.signature(module.forward).bind(*args, **keywords)
    except TypeError as error:
        raise WorkloadError(f"{type(module).__name__}: {error}; call it as its forward is declared") from None
    leaves, structure = torch.utils._pytree.tree_flatten((bound.args, bound.kwargs))
    return [torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves], structure


def _constant(torch: Any, leaf: Any) -> Any:
    """The leaf, where it is no tensor; a tensor of another type or rank makes another network."""
    return (str(leaf.dtype), leaf.ndim) if isinstance(leaf, torch.Tensor) else leaf


def _first(torch: Any, leaf: Any, count: int) -> Any:
    """The first images, the last one again where there are fewer."""
    if not isinstance(leaf, torch.Tensor) or not leaf.ndim or not len(leaf):
        return leaf
    return reduce(lambda x, _: torch.cat([x, x[-1:]]), range(max(0, count - len(leaf))), leaf[:count])


def _images(torch: Any, leaf: Any, start: int, stop: int) -> Any:
    return leaf[start:stop] if isinstance(leaf, torch.Tensor) and leaf.ndim else leaf


def _unlike(torch: Any, example: Sequence[Any]) -> list[Any]:
    """Two images that are not the same: where they are, the second one is turned round, floats of it halved."""
    tensors = [leaf for leaf in example if isinstance(leaf, torch.Tensor) and leaf.ndim]
    if not all(torch.equal(leaf[0], leaf[1]) for leaf in tensors):
        return list(example)
    made = []
    for leaf in example:
        if isinstance(leaf, torch.Tensor) and leaf.ndim:
            turned = leaf[1:].flip(tuple(range(1, leaf.ndim)))
            leaf = torch.cat([leaf[:1], turned / 2 if leaf.is_floating_point() else turned])
        made.append(leaf)
    return made


def _alike(torch: Any, ours: Any, theirs: Any) -> bool:
    """Whether two results are the same but for the order of additions; what is no number is alike in both."""
    if ours.shape != theirs.shape:
        return False
    ours, theirs = ours.double(), theirs.double()
    finite = theirs[theirs.isfinite()].abs()
    most = float(finite.max()) if finite.numel() else 0.0
    return bool(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * most, equal_nan=True))


def _check_tensors(torch: Any, leaves: Sequence[Any], name: str) -> list[Any]:
    """The tensors of `leaves`. WorkloadError where they are not dense ones of as many images, of a type that is emulated."""
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    for leaf in tensors:
        if leaf.is_complex() or (leaf.is_floating_point() and leaf.dtype != torch.float32):
            raise WorkloadError(
                f"{name}: called with {leaf.dtype}, must be float32 or integers: model.float(), x.float()"
            )
        if leaf.layout != torch.strided:
            raise WorkloadError(f"{name}: called with a tensor of {leaf.layout}, must be dense: x.to_dense()")
    counts = {len(leaf) for leaf in tensors if leaf.ndim}
    if len(counts) != 1:
        shapes = ", ".join(str(list(leaf.shape)) for leaf in tensors)
        raise WorkloadError(
            f"{name}: tensors of shapes {shapes or 'none'}, the first axis of each must be as many images"
        )
    if 0 in counts:
        raise WorkloadError(f"{name}: called with no image, give at least one")
    return tensors
