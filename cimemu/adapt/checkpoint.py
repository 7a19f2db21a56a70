"""Checkpoints: a file that is whole or not there, with all that an undisturbed run would have had."""

from pathlib import Path
from typing import Any

from cimemu.adapt.library import torch_of
from cimemu.errors import WorkloadError
from cimemu.given_file import is_file
from cimemu.whole_file import whole_file

FORMAT = 2


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values) over the checkpoint at `path` in one step."""
    torch = torch_of()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkloadError(
            f"{path}: cannot be written ({error.strerror or error}), name a writable folder with --checkpoints"
        ) from None
    with whole_file(path, WorkloadError, overwrite=True) as made, open(made, "wb") as file:
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """The state in a checkpoint; no code in it is ever run. WorkloadError where it is missing or no checkpoint."""
    torch = torch_of()
    if not is_file(path):
        raise WorkloadError(f"{path}: no checkpoint to resume, start without --resume")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch's readers have their own kinds
        reason = str(error).split("\n")[0][:160]
        raise WorkloadError(f"{path}: is no checkpoint ({reason}), remove it and start without --resume") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise WorkloadError(f"{path}: is no checkpoint of this version, remove it and start without --resume")
    return state


def generator_states(device: Any) -> dict[str, Any]:
    """The random generators' states."""
    torch = torch_of()
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: dict[str, Any], device: Any) -> None:
    """Set the random generators to `states`."""
    torch = torch_of()
    torch.set_rng_state(states["cpu"].cpu())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)
