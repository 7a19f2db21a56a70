"""PyTorch weights (.safetensors, .pt, .pth) with the module that uses them, by way of PyTorch's own ONNX export.

A file of weights holds no network, so the caller names one: a module, or a function that makes it. Weight
files are data and are never unpickled as code; the module is the caller's own code and does run.
"""

import importlib
import importlib.util
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

from cimemu.errors import WorkloadError
from cimemu.given_file import MIB, refuse_input
from cimemu.importer.from_onnx import load_onnx
from cimemu.importer.torch_quantized import holds_codes, register, translations
from cimemu.workload.network import Network

COUNTERS = "num_batches_tracked"  # of BatchNorm while training; files leave them out, inference never reads them


def load_torch(
    path: str | Path, module: "str | Callable[[], Any] | Any | None", input_shape: Sequence[int] | None
) -> Network:
    """The network of `module` with the weights in `path`, exported in eval mode for any number of images.

    `module` is a torch.nn.Module, a function without arguments that makes one, or the name of either as
    "FILE.py:NAME" or "package.module:NAME"; `input_shape` is that of one image, such as (3, 32, 32). Every key
    must fit; a key's leading "module." (DataParallel) is dropped. Raises WorkloadError in one line.
    """
    path = Path(path)
    if module is None:
        raise WorkloadError(f"{path}: holds weights without a network, give the module too: --module FILE.py:NAME")
    if input_shape is None or not input_shape or min(input_shape) < 1:
        raise WorkloadError(f"{path}: input shape {input_shape}: give that of one image, such as (3, 32, 32)")
    torch = torch_of()
    built = _build(torch, module)
    _fill(path, built, _state(torch, path))
    return replace(_network(torch, path, built, tuple(input_shape)), name=path.stem)


def load_program(path: str | Path) -> Network:
    """The network in a `.pt2` file, a program of `torch.export`, by way of PyTorch's own ONNX export.

    The file is read as data: nothing in it is run. A program that PyTorch's PT2E quantiser made is an integer network, whose
    `origin` is the file. Raises WorkloadError in one line.
    """
    path, torch = Path(path), torch_of()
    program = read_program(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_program(torch, path, program, {}, "", file)
        try:
            origin = path if holds_codes(program) else None
            return replace(load_onnx(file), origin=origin, name=path.stem)
        except WorkloadError as error:
            raise WorkloadError(str(error).replace(str(file), str(path))) from None


def read_program(path: Path) -> Any:
    """The program in a `.pt2` file, read as data. WorkloadError in one line."""
    torch = torch_of()
    register()
    try:
        with warnings.catch_warnings(), silence():
            warnings.simplefilter("ignore")
            return _as_data(torch.export.load, path)
    except Exception as error:  # the reader's kinds are many
        reason = " ".join(str(_cause(error)).split())[:160] or type(error).__name__
        raise WorkloadError(
            f"{path}: not a whole program of torch.export ({reason}); save it with torch.export.save"
        ) from None


def _cause(error: BaseException) -> BaseException:
    """The first of the exceptions that led to one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _as_data(load: Callable[[Path], Any], path: Path) -> Any:
    """What `load` gives, with torch's own switch that lets its pickles hold tensors and plain values alone."""
    switch, was = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ[switch] = "1"
    try:
        return load(path)
    finally:
        if was is None:
            del os.environ[switch]
        else:
            os.environ[switch] = was


def network_of_module(module: Any, input_shape: Sequence[int]) -> Network:
    """The network of a torch.nn.Module with its present weights, in eval mode, for images of `input_shape`.

    The module is left in the mode it was in. Raises WorkloadError in one line.
    """
    torch, was = torch_of(), module.training
    name = type(module).__name__
    try:
        return replace(_network(torch, Path(name), module, tuple(input_shape)), name=name)
    finally:
        module.train(was)


def _network(torch: Any, path: Path, module: Any, shape: tuple[int, ...]) -> Network:
    """By way of ONNX; `path` is what messages name."""
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        _export(torch, path, module, shape, file)
        return replace(load_onnx(file), origin=None)


def torch_of() -> Any:
    """The torch package. WorkloadError where the extra `torch` is not installed."""
    try:
        importlib.import_module("onnxscript")  # what torch.onnx.export stands on
        torch = importlib.import_module("torch")
        importlib.import_module("torch.export")
        return torch
    except ImportError as error:
        raise WorkloadError(f'{error.name} is not installed: pip install "cimemu[torch]"') from None


def _build(torch: Any, module: Any) -> Any:
    """The torch.nn.Module that `module` is, makes or names."""
    made = _named(module) if isinstance(module, str) else module
    if not isinstance(made, torch.nn.Module) and callable(made):
        try:
            made = made()
        except TypeError as error:
            raise WorkloadError(f"module {module}: {error}; name a function that needs no arguments") from None
    if not isinstance(made, torch.nn.Module):
        raise WorkloadError(f"module {module}: gives {type(made).__name__}, must be or make a torch.nn.Module")
    return made


def _named(name: str) -> Any:
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise WorkloadError(f"module {name}: must be FILE.py:NAME or package.module:NAME")
    found = _module_file(Path(place)) if place.endswith(".py") else _installed(place)
    if not hasattr(found, attribute):
        raise WorkloadError(f"module {name}: {place} has no '{attribute}'")
    return getattr(found, attribute)


def _module_file(file: Path) -> ModuleType:
    refuse_input(file, WorkloadError, "a Python file with the module", most=MIB)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code, whatever it does wrong
        raise WorkloadError(f"module file {file}: {type(error).__name__}: {error}") from None
    return module


def _installed(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise WorkloadError(f"module {name}: {error}; install it or name a FILE.py:NAME") from None


def _state(torch: Any, path: Path) -> dict[str, Any]:
    """The state dict in a file. A .pt that needs code to be unpickled is refused."""
    refuse_input(path, WorkloadError, "a file of weights")
    try:
        if path.suffix.lower() == ".safetensors":
            state = importlib.import_module("safetensors.torch").load_file(str(path))
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise WorkloadError('safetensors is not installed: pip install "cimemu[torch]"') from None
    except Exception as error:  # each reader has its own kinds
        reason = str(error).split("\n")[0][:160]
        raise WorkloadError(
            f"{path}: not a whole file of weights ({reason}); save module.state_dict(), not the module"
        ) from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WorkloadError(f"{path}: holds no state dict of tensors; save module.state_dict()")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _fill(path: Path, module: Any, state: dict[str, Any]) -> None:
    """Load every weight; a key too many, too few or of another shape is one line."""
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith(COUNTERS)]
    unknown = [key for key in state if key not in own]
    if missing or unknown:
        what = f"'{missing[0]}' is missing" if missing else f"'{unknown[0]}' is not in the module"
        raise WorkloadError(
            f"{path}: {what} ({len(missing)} missing, {len(unknown)} unknown keys): these weights are another module's"
        )
    for key, value in state.items():
        if tuple(value.shape) != tuple(own[key].shape):
            raise WorkloadError(
                f"{path}: '{key}' has shape {list(value.shape)}, the module's is {list(own[key].shape)}"
            )
    module.load_state_dict(state, strict=False)
    module.float()


def _export(torch: Any, path: Path, module: Any, shape: tuple[int, ...], file: Path) -> None:
    """Write the module as ONNX for images of `shape`."""
    given = {
        "args": (torch.zeros(2, *shape),),
        "input_names": ["input"],
        "dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},),
    }
    write_program(torch, path, module, given, f" for images of {list(shape)}", file)


def write_program(torch: Any, path: Path, source: Any, given: Mapping[str, Any], what: str, file: Path) -> None:
    """Write a module or an exported program as ONNX with functions inlined and constants folded, and nothing fused.

    Batch normalisation is folded into weights by our own rule, as for every ONNX file, so that both give the same integers.
    """
    optimizer = importlib.import_module("onnxscript.optimizer")
    with warnings.catch_warnings(), silence():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own internals
        try:
            table = translations(torch)
            program = torch.onnx.export(
                source, **given, dynamo=True, optimize=False, verbose=False, custom_translation_table=table
            )
            optimizer.inline(program.model)
            optimizer.fold_constants(program.model, onnx_shape_inference=True)
            optimizer.remove_unused_nodes(program.model)
            program.save(str(file), external_data=False)
        except Exception as error:  # the exporter's kinds are many and the cause is in the last line
            reason = " ".join(str(_cause(error)).split())[:300]
            raise WorkloadError(f"{path}: PyTorch cannot export the module{what}: {reason}") from error


@contextmanager
def silence() -> Iterator[None]:
    """What PyTorch prints and logs of its own doings is not shown: what went wrong is told by an exception."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(level)
