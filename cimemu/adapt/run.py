"""`adapt_network`: a float network trained with the macro in its forward pass, then written for the emulator."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cimemu.adapt.accuracy import accuracy_of
from cimemu.adapt.config import Method
from cimemu.adapt.images import ImageSet
from cimemu.adapt.library import repeatable
from cimemu.adapt.settings import TrainSettings
from cimemu.adapt.train import Hooks, Keep, MetricsRow, Progress, train
from cimemu.arch.load import load_arch
from cimemu.arch.schema import Arch
from cimemu.errors import WorkloadError
from cimemu.workload.network import Network


@dataclass(frozen=True, eq=False)
class Adapted:
    """A trained module, the file it was written to, and what was measured."""

    module: Any
    out: Path | None
    rows: tuple[MetricsRow, ...]  # one an epoch; accuracies are shares
    before: MetricsRow  # with first step sizes, before training


def adapt_network(
    arch: Arch | str | Path,
    network: Network,
    method: Method,
    data: ImageSet,
    settings: TrainSettings,
    *,
    tests: dict[str, ImageSet] | None = None,
    out: Path | None = None,
    keep: Keep | None = None,
    overwrite: bool = False,
    scheme_folder: Path | None = None,
    report: Callable[[MetricsRow], None] | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """Train the float `network` with `arch`'s macro and the method's scheme in its forward pass, and export it.

    First step sizes are found on the first `method.calibration` training images. `out` is a file that run, check and
    stress take. Raises WorkloadError or ArchError in one line.
    """
    from cimemu.adapt.convert import convert
    from cimemu.adapt.export import export
    from cimemu.adapt.psum_conv import has_bfloat16

    if out is not None and method.code_parity:
        raise WorkloadError(
            f"{out}: code_parity cannot be written, no chip holds it; leave --out out to compare accuracies"
        )
    if out is not None and out.exists() and not overwrite:
        raise WorkloadError(f"{out}: exists already, name another file or add --force")
    chip = load_arch(arch, method.set)
    scheme = method.scheme_record(scheme_folder)
    if method.vary and method.code_parity:
        raise WorkloadError("vary with code_parity: no chip holds its cells, train with one of them")
    if settings.gradient_type == "bfloat16" and settings.device == "cpu" and not has_bfloat16():
        warnings.warn(
            "train.gradient_type = bfloat16: this processor has no instructions for it, steps take several times longer; "
            "float32 is faster here",
            RuntimeWarning,
            stacklevel=2,
        )
    with repeatable(settings.threads):
        module = convert(
            network,
            chip,
            scheme,
            calibration=data.inputs(slice(0, min(method.calibration, len(data)))),
            gradient=method.gradient,
            code_parity=method.code_parity,
            smooth=method.smooth,
        )
        for macro in module.macros:
            macro.gradient_type = settings.gradient_type
        if method.vary:
            module.vary(method.vary, settings.seed)
        before = measured(module, tests or {}) if settings.evaluate_first else {}
    if report is not None and before:
        report({"epoch": 0, **before})
    identity = {
        "network_sha256": _sha256(network),
        "arch": chip.model_dump_json(),
        "method": method.model_dump(mode="json", include=set(Method.model_fields))
        | {"scheme": scheme.model_dump(mode="json")},
    }
    keep = replace(keep or Keep(), identity=identity)
    rows = train(
        module,
        data,
        settings,
        tests=tests,
        keep=keep,
        hooks=Hooks(before_step=_begin_step, after_epoch=report),
        progress=progress,
    )
    if out is not None:
        export(module, out, overwrite=overwrite)
    return Adapted(module, out, tuple(rows), before)


def _begin_step(module: Any, step: int, share: float) -> None:
    module.begin_step(step, share)


def measured(module: Any, tests: dict[str, ImageSet], device: Any = "cpu") -> MetricsRow:
    """Accuracy and its standard error by test set."""
    row: MetricsRow = {}
    for name, test in tests.items():
        found = accuracy_of(module, test, device=device)
        row |= {f"accuracy_{name}": found.share, f"standard_error_{name}": found.standard_error}
    return row


def _sha256(network: Network) -> str:
    """Of a network's weights."""
    digest = hashlib.sha256()
    for name in sorted(network.constants):
        digest.update(name.encode())
        digest.update(network.constants[name].tobytes())
    return digest.hexdigest()
