"""The training loop: the same bytes for the same seed, also when it was interrupted in between."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any, TypedDict, Unpack, assert_never

from cimemu.adapt.checkpoint import generator_states, load_checkpoint, restore_generators, save_checkpoint
from cimemu.adapt.held_back import Answers, Held, Judge, Score, Trained
from cimemu.adapt.images import ImageSet, batches, draw_epoch
from cimemu.adapt.library import device_of, repeatable, torch_of
from cimemu.adapt.metrics_log import Board, write_rows
from cimemu.adapt.settings import TrainSettings
from cimemu.errors import WorkloadError
from cimemu.keywords import filled

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
    limit: Callable[[Any, float], None] | None = (
        None  # (module, most) of gradients: learned steps' within `most` of them
    )
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
    start: MetricsRow = field(default_factory=dict)  # on held-back images, before training
    kept_epoch: int = 0
    kept_score: dict[str, Any] = field(default_factory=dict)


def rate_factor(step: int, steps: int, settings: TrainSettings, steps_per_epoch: int) -> float:
    """What the highest learning rate is multiplied by at `step` of `steps`."""
    warm = settings.warmup_epochs * steps_per_epoch
    if step < warm:
        return (step + 1) / warm if warm > 1 else 1.0
    match settings.schedule:
        case "constant":
            return 1.0
        case "cosine":
            return 0.5 * (1 + cos(pi * (step - warm) / max(1.0, steps - warm)))
        case other:
            assert_never(other)


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


@dataclass(frozen=True)
class Course:
    """What accompanies a training run and changes none of its steps, but for the hooks of its method.

    `tests` are images that accuracy is measured on, by name; `keep` says what is kept on disk; `hooks` are called by the
    loop; `progress` is called with (stage, done, of how many).
    """

    tests: Mapping[str, ImageSet] | None = None
    keep: Keep | None = None
    hooks: Hooks | None = None
    progress: Progress | None = None


class CourseKeywords(TypedDict, total=False):
    """Every field of `Course`, as a keyword."""

    tests: Mapping[str, ImageSet] | None
    keep: Keep | None
    hooks: Hooks | None
    progress: Progress | None


def train(
    model: Any, data: ImageSet, settings: TrainSettings, course: Course = Course(), **given: Unpack[CourseKeywords]
) -> list[MetricsRow]:
    """`train_and_keep` without held-back images: the model ends as the last epoch left it; a row for every epoch."""
    return train_and_keep(model, data, settings, course=course, **given).rows


def train_and_keep(
    model: Any,
    data: ImageSet,
    settings: TrainSettings,
    *,
    held: Held | None = None,
    before: MetricsRow | None = None,
    judge: Judge | None = None,
    course: Course = Course(),
    **given: Unpack[CourseKeywords],
) -> Trained:
    """Train `model` in place; it ends as the epoch left it that did best on `held`, perhaps the start (None: as the last).

    `before` is what is known of the start, `judge` measures accuracy on the course's tests. Keywords (tests, keep, hooks,
    progress) are fields of `course`.

    Below `keep.folder` lie checkpoint.pt (model, optimizer, random generators, place in the epoch) and metrics.csv. With
    `keep.resume` a run goes on from its checkpoint and ends with the very bytes that it would have had undisturbed (same
    device kind and number of threads: sums in another order differ in the last bit). Raises WorkloadError for a
    checkpoint of other settings, and for a loss that is no number.
    """
    (course,) = filled("train", given, course)
    device = device_of(settings.device)
    with repeatable(settings.threads):
        keep = course.keep or Keep()
        run = _Run(model, data, settings, course.tests or {}, keep, device, course.hooks or Hooks(), course.progress)
        run.held, run.judge = held, judge or Judge()
        if keep.resume:
            run.load()
        elif keep.folder is not None and (keep.folder / CHECKPOINT).exists():
            raise WorkloadError(
                f"{keep.folder / CHECKPOINT}: is there from an earlier run, add --resume or name another folder"
            )
        if run.state.epoch == run.state.step == 0:
            run.measure_start()
        board = Board(keep.tensorboard)
        try:
            while run.state.epoch < settings.epochs:
                run.epoch()
                board.add(run.state.rows[-1])
        finally:
            board.close()
        return run.finish(before or {})


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
        self.augment = data.suited(settings.augment)
        self.held: Held | None = None
        self.judge = Judge()
        self.kept: dict[str, Any] | None = None  # the best epoch's state
        self.answers: Answers = {}  # of test images, by the epoch `answered`
        self.answered: int | None = None
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
        self.state, self.kept = _State(**kept["state"]), kept["kept"]

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
                "kept": self.kept,
            },
        )
        if self.state.rows:
            write_rows(self.folder / METRICS, self.state.rows)

    def measure_start(self) -> None:
        """The start competes with the epochs."""
        self.state.start = {"epoch": 0, **self.measure(0)}

    def measure(self, epoch: int) -> MetricsRow:
        """Accuracy on held-back images; the best epoch so far is kept."""
        state = self.state
        if self.held is None:
            state.kept_epoch = epoch
            return {}
        score = self.held.judge.score(self.model, self.held.images, self.device)
        if not state.kept_score or score.better_than(Score(**state.kept_score)):
            state.kept_epoch, state.kept_score = epoch, vars(score)
            self.kept = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        return {"held_back_accuracy": score.share, "held_back_loss": score.loss}

    def finish(self, before: MetricsRow) -> Trained:
        """The best epoch's state in the model and in the checkpoint."""
        state = self.state
        if self.kept is not None:
            self.model.load_state_dict(self.kept)
            self.model.train(self.model.training)  # a chip of other weights is forgotten
            self.save()
        start = before | state.start
        kept = dict(start if state.kept_epoch == 0 else state.rows[state.kept_epoch - 1])
        if self.tests and self.answered != state.kept_epoch:
            kept |= self.test(state.kept_epoch)
        return Trained(state.rows, start, kept, self.answers)

    def test(self, epoch: int) -> MetricsRow:
        """Accuracy on test images; the answers are kept."""
        self.answers, self.answered = {}, epoch
        return self.judge.row(self.model, self.tests, self.device, self.answers)

    def epoch(self) -> None:
        """What is left of the present epoch."""
        torch = torch_of()
        state, settings = self.state, self.settings
        drawn = draw_epoch(len(self.data), self.images, self.augment, settings.seed, state.epoch)
        kept_at = clock = time.monotonic()
        self.model.train()
        for inputs, labels in batches(self.data, drawn, self.augment, settings.batch, state.step):
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
        row = self.row() | self.measure(state.epoch + 1)
        if state.epoch + 1 == settings.epochs or (
            settings.evaluate_every and (state.epoch + 1) % settings.evaluate_every == 0
        ):
            row |= self.test(state.epoch + 1)
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
        if int(labels.max()) >= scores.shape[1]:
            raise WorkloadError(
                f"{self.data.name}: label {int(labels.max())}, but the network tells {scores.shape[1]} classes apart (0 .. "
                f"{scores.shape[1] - 1}): set label_offset or train another network"
            )
        loss = torch.nn.functional.cross_entropy(scores, labels, label_smoothing=settings.label_smoothing)
        whole = loss if self.hooks.penalty is None else loss + self.hooks.penalty(self.model)
        value = float(whole.detach())
        if not isfinite(value):
            self._refuse("loss", value)
        self.optimizer.zero_grad(set_to_none=True)
        whole.backward()
        self._limit(factor)
        if settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if not bool(norm.isfinite()):
            self._refuse("gradient", float(norm))
        self.optimizer.step()
        if self.hooks.after_step is not None:
            self.hooks.after_step(self.model)
        state.loss += float(loss.detach()) * len(labels)
        state.right += int((scores.detach().argmax(1) == labels).sum())
        state.seen += len(labels)

    def _refuse(self, what: str, value: float) -> None:
        raise WorkloadError(
            f"the {what} is {value} at step {self.state.step} of epoch {self.state.epoch + 1}: lower rates.weights or "
            "rates.scales, or set gradient_clip"
        )

    def _limit(self, factor: float) -> None:
        """One gradient changes a learned step by `step_change` at most, by all that momentum makes of it."""
        settings = self.settings
        rate = settings.rates.scales * factor
        if self.hooks.limit is not None and settings.step_change is not None and rate > 0:
            self.hooks.limit(self.model, settings.step_change * (1 - settings.momentum) / rate)

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
