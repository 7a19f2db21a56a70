"""The training loop: the same bytes for the same seed, also when it was interrupted in between."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any

from cimemu.adapt.accuracy import accuracy_of
from cimemu.adapt.checkpoint import generator_states, load_checkpoint, restore_generators, save_checkpoint
from cimemu.adapt.images import ImageSet, batches, draw_epoch
from cimemu.adapt.library import device_of, repeatable, torch_of
from cimemu.adapt.metrics_log import Board, write_rows
from cimemu.adapt.settings import TrainSettings
from cimemu.errors import WorkloadError

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.csv"
FREE = ("device", "threads", "checkpoint_minutes", "evaluate_first")  # what a resumed run may have changed
FOLDERS = ("folder", "tensorboard")
Progress = Callable[[str, int, int], None]
MetricsRow = dict[str, float | int | None]


@dataclass(frozen=True)
class Hooks:
    """What a method does beside the loop; `share` is how much of all steps is done, 0 .. 1."""

    before_step: Callable[[Any, int, float], None] | None = None  # (module, step, share)
    after_step: Callable[[Any], None] | None = None  # (module)
    penalty: Callable[[Any], Any] | None = None  # added to the loss, of the module
    after_epoch: Callable[[MetricsRow], None] | None = None


@dataclass(frozen=True)
class Keep:
    """What of a run is kept where, so that it can go on after an interruption."""

    folder: Path | None = None  # of checkpoint.pt and metrics.csv
    resume: bool = False
    tensorboard: Path | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)  # of network and scheme: must be the same when resumed

    def below(self, name: str) -> "Keep":
        """The same in folders `name` below: each stage and run has a log of its own."""
        inner = {key: None if top is None else top / name for key, top in vars(self).items() if key in FOLDERS}
        return replace(self, **inner)  # type: ignore[arg-type]


@dataclass
class _State:
    """Where a run is."""

    epoch: int = 0
    step: int = 0  # in the epoch
    loss: float = 0.0  # sums over the epoch so far
    right: int = 0
    seen: int = 0
    seconds: float = 0.0  # of the whole run
    epoch_seconds: float = 0.0
    rows: list[MetricsRow] = field(default_factory=list)


def rate_factor(step: int, steps: int, settings: TrainSettings, steps_per_epoch: int) -> float:
    """What the highest learning rate is multiplied by at `step` of `steps`."""
    warm = settings.warmup_epochs * steps_per_epoch
    if step < warm:
        return (step + 1) / warm if warm > 1 else 1.0
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + cos(pi * (step - warm) / max(1.0, steps - warm)))


def is_scale(name: str) -> bool:
    """Whether a parameter is a learned step size or a converter's learned zero, by its name."""
    return name.rpartition(".")[2].endswith(("scale", "step", "zero"))


def parameter_groups(model: Any, settings: TrainSettings) -> list[dict[str, Any]]:
    """The optimizer's groups: weights (decayed), biases and normalisation, learned scales."""
    groups: dict[str, list[Any]] = {"weights": [], "others": [], "scales": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "scales" if is_scale(name) else "weights" if parameter.ndim > 1 else "others"
            groups[kind].append(parameter)
    rates = {"weights": settings.rates.weights, "others": settings.rates.weights, "scales": settings.rates.scales}
    return [
        {
            "name": kind,
            "params": parameters,
            "lr": rates[kind],
            "highest": rates[kind],
            "weight_decay": settings.weight_decay if kind == "weights" else 0.0,
        }
        for kind, parameters in groups.items()
        if parameters
    ]


def train(
    model: Any,
    data: ImageSet,
    settings: TrainSettings,
    *,
    tests: Mapping[str, ImageSet] | None = None,
    keep: Keep | None = None,
    hooks: Hooks | None = None,
    progress: Progress | None = None,
) -> list[MetricsRow]:
    """Train `model` in place; a row of metrics for every epoch.

    Below `keep.folder` lie checkpoint.pt (model, optimizer, random generators, place in the epoch) and metrics.csv. With
    `keep.resume` a run goes on from its checkpoint and ends with the very bytes that it would have had undisturbed (same
    device kind and number of threads: sums in another order differ in the last bit). Raises WorkloadError for a
    checkpoint of other settings, and for a loss that is no number.
    """
    device = device_of(settings.device)
    with repeatable(settings.threads):
        keep = keep or Keep()
        run = _Run(model, data, settings, tests or {}, keep, device, hooks or Hooks(), progress)
        if keep.resume:
            run.load()
        elif keep.folder is not None and (keep.folder / CHECKPOINT).exists():
            raise WorkloadError(
                f"{keep.folder / CHECKPOINT}: is there from an earlier run, add --resume or name another folder"
            )
        board = Board(keep.tensorboard)
        try:
            while run.state.epoch < settings.epochs:
                run.epoch()
                board.add(run.state.rows[-1])
        finally:
            board.close()
    return run.state.rows


class _Run:
    """A run in progress."""

    def __init__(
        self,
        model: Any,
        data: ImageSet,
        settings: TrainSettings,
        tests: Mapping[str, ImageSet],
        keep: Keep,
        device: Any,
        hooks: Hooks,
        progress: Progress | None,
    ) -> None:
        torch = torch_of()
        self.identity = {**settings.model_dump(mode="json"), **keep.identity}
        self.data, self.settings, self.tests, self.folder = data, settings, tests, keep.folder
        self.device, self.hooks, self.progress = device, hooks, progress
        self.model = model.to(device=device, memory_format=torch.channels_last)
        self.images = min(settings.images_per_epoch or len(data), 10**9)
        self.steps_per_epoch = -(-self.images // settings.batch)
        self.steps = self.steps_per_epoch * settings.epochs
        self.optimizer = torch.optim.SGD(
            parameter_groups(model, settings),
            lr=settings.rates.weights,
            momentum=settings.momentum,
            nesterov=settings.nesterov and settings.momentum > 0,
        )
        self.state = _State()
        torch.manual_seed(settings.seed)

    def load(self) -> None:
        """Go on from the checkpoint."""
        if self.folder is None:
            raise WorkloadError("--resume without a folder of checkpoints: name it with --checkpoints")
        path = self.folder / CHECKPOINT
        kept = load_checkpoint(path, self.device)
        for key, value in self.identity.items():
            if key not in FREE and kept["settings"].get(key) != value:
                raise WorkloadError(
                    f"{path}: was made with {key} = {kept['settings'].get(key)}, now it is {value}; use the first or start anew"
                )
        try:
            self.model.load_state_dict(kept["model"])
            self.optimizer.load_state_dict(kept["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise WorkloadError(f"{path}: is another network's ({' '.join(str(error).split())[:120]})") from None
        restore_generators(kept["generators"], self.device)
        self.state = _State(**kept["state"])

    def save(self) -> None:
        """Write the checkpoint and the metrics."""
        if self.folder is None:
            return
        save_checkpoint(
            self.folder / CHECKPOINT,
            {
                "settings": self.identity,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "generators": generator_states(self.device),
                "state": vars(self.state),
            },
        )
        if self.state.rows:
            write_rows(self.folder / METRICS, self.state.rows)

    def epoch(self) -> None:
        """What is left of the present epoch."""
        torch = torch_of()
        state, settings = self.state, self.settings
        drawn = draw_epoch(len(self.data), self.images, settings.augment, settings.seed, state.epoch)
        kept_at = clock = time.monotonic()
        self.model.train()
        for inputs, labels in batches(self.data, drawn, settings.augment, settings.batch, state.step):
            x = torch.from_numpy(inputs).to(
                self.device, memory_format=torch.channels_last if inputs.ndim == 4 else None
            )
            self.step(x, torch.from_numpy(labels).to(self.device))
            state.step += 1
            now = time.monotonic()
            state.seconds, state.epoch_seconds = state.seconds + now - clock, state.epoch_seconds + now - clock
            clock = now
            if self.progress is not None:
                self.progress("images", state.epoch * self.images + state.seen, self.images * settings.epochs)
            if now - kept_at > 60 * settings.checkpoint_minutes:
                self.save()
                kept_at = clock = time.monotonic()
        row = self.row()
        if state.epoch + 1 == settings.epochs or (
            settings.evaluate_every and (state.epoch + 1) % settings.evaluate_every == 0
        ):
            for name, test in self.tests.items():
                found = accuracy_of(self.model, test, device=self.device)
                row |= {f"accuracy_{name}": found.share, f"standard_error_{name}": found.standard_error}
        state.rows.append(row)
        state.epoch, state.step, state.loss, state.right, state.seen, state.epoch_seconds = (
            state.epoch + 1,
            0,
            0.0,
            0,
            0,
            0.0,
        )
        self.save()
        if self.hooks.after_epoch is not None:
            self.hooks.after_epoch(row)

    def step(self, x: Any, labels: Any) -> None:
        """One step of the optimizer."""
        torch = torch_of()
        state, settings = self.state, self.settings
        number = state.epoch * self.steps_per_epoch + state.step
        factor = rate_factor(number, self.steps, settings, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["highest"] * factor
        if self.hooks.before_step is not None:
            self.hooks.before_step(self.model, number, number / self.steps)
        scores = self.model(x).flatten(1)
        loss = torch.nn.functional.cross_entropy(scores, labels, label_smoothing=settings.label_smoothing)
        whole = loss if self.hooks.penalty is None else loss + self.hooks.penalty(self.model)
        value = float(whole.detach())
        if not isfinite(value):
            raise WorkloadError(
                f"the loss is {value} at step {state.step} of epoch {state.epoch + 1}: lower rates.weights or rates.scales, "
                "or set gradient_clip"
            )
        self.optimizer.zero_grad(set_to_none=True)
        whole.backward()
        if settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        self.optimizer.step()
        if self.hooks.after_step is not None:
            self.hooks.after_step(self.model)
        state.loss += float(loss.detach()) * len(labels)
        state.right += int((scores.detach().argmax(1) == labels).sum())
        state.seen += len(labels)

    def row(self) -> MetricsRow:
        """The epoch's metrics but for accuracy on test images."""
        state = self.state
        return {
            "epoch": state.epoch + 1,
            "loss": state.loss / state.seen,
            "train_accuracy": state.right / state.seen,
            "rate": self.optimizer.param_groups[0]["lr"],
            "images": state.seen,
            "seconds": state.epoch_seconds,
            "total_seconds": state.seconds,
        }
