"""Stage 1, shrink: batch-normalisation scales under a penalty that is priced by macro columns, until few enough are left."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cimemu.adapt.library import torch_of
from cimemu.adapt.morph.channels import Mask, Width, carried, widths_of
from cimemu.adapt.morph.price import Prices
from cimemu.arch.macro import Macro
from cimemu.fitting.channels import trace_channels
from cimemu.layer.norm import BatchNormalization
from cimemu.workload.network import Network

RAMP = 0.7  # share of the steps after which the target is to be reached
HALVINGS = 30  # of the interval in which a step's lambda is looked for


@dataclass(frozen=True, eq=False)
class Goal:
    """What a shrink is to reach."""

    columns: int  # at the end
    ramp: float = RAMP  # share of the steps in which columns fall to that
    penalty: Literal["count", "log"] = "count"
    live_factor: bool = True  # prices are columns; else kernel areas


class Shrink:
    """The penalty of one run as a wrapper module and a hook of the trainer.

    The loss is `CE + lambda sum_c price_c f(g_c)`, its second part applied as a proximal step behind each step of the
    optimizer, on the root mean square g_c of a decision's m scales (those of all layers that a residual addition joins).
    `f = [g_c != 0]` ("count"): scales with `g_c^2 <= 2 lambda price_c / m` become 0, the others stay. `f = log g_c`
    ("log", MorphNet's l1 norm reweighted by 1 / g_c): `g_c^2` falls by that much. `price_c` are the columns that the
    channel takes with those living now; without `live_factor` they are kernel areas, as a public summary of arXiv 2510.14379
    has it: `K^2 (sum of the layer's live scales + sum of the previous layer's)`. Lambda is the smallest, step by step, that
    keeps the columns on a straight line down to the target; from there on it is 0, and the dead stay dead. Reconstructed
    after MorphNet (Gordon et al. 2018) and arXiv 2510.14379; the count is ours, for training that is too short to undo the
    bias of a norm.
    """

    def __init__(self, network: Network, macro: Macro, goal: Goal) -> None:
        from cimemu.adapt.module import from_network

        torch = torch_of()
        self.network, self.goal = network, goal
        self.channels = trace_channels(network)
        self.widths = widths_of(network, self.channels)
        self.prices = Prices(network, self.channels, macro)
        self.first = self.prices.columns({})
        layers = {layer.name: layer for layer in network.layers if isinstance(layer, BatchNormalization)}
        self.scales = {w.root: [layers[name].inputs[1] for name in w.norms] for w in self.widths}
        self.biases = {w.root: [layers[name].inputs[2] for name in w.norms] for w in self.widths}

        class Shrinking(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.inner = from_network(network)
                self.register_buffer("reached", torch.tensor(False))

            def forward(self, x: Any) -> Any:
                return self.inner(x)

        self.module = Shrinking()

    def before_step(self, module: Any, step: int, share: float) -> None:
        """The trainer's hook: the penalty's step, where the target is not reached yet."""
        torch = torch_of()
        with torch.no_grad():
            alive = self.alive(module)
            if bool(module.reached):
                self.silence(module, alive)
                return
            counts = self.counts(alive)
            if self.prices.columns(counts) <= self.goal.columns:
                module.reached.fill_(True)
            else:
                line = self.first + (self.goal.columns - self.first) * min(1.0, share / self.goal.ramp)
                self.fall(module, counts, max(line, self.goal.columns))
                alive = self.alive(module)
            self.silence(module, alive)

    def fall(self, module: Any, counts: Mapping[int, int], line: float) -> None:
        """The smallest proximal step after which at most `line` columns are left."""
        squares = {w.root: self._stack(module, self.scales[w.root]).double().square().mean(dim=0) for w in self.widths}
        flat = {root: value.cpu().numpy() for root, value in squares.items()}
        price = (lambda root: self.prices.price(root, counts)) if self.goal.live_factor else self.prices.kernel_areas
        prices = {w.root: 2 * price(w.root) / len(w.makers) for w in self.widths}

        def left(strength: float) -> dict[int, Mask]:
            return {w.root: self._spared(w, flat[w.root], strength * prices[w.root]) for w in self.widths}

        if self.prices.columns(self.counts(left(0.0))) <= line:
            return
        low, high = 0.0, max(float(flat[root].max()) / max(prices[root], 1e-12) for root in flat)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if self.prices.columns(self.counts(left(middle))) <= line:
                high = middle
            else:
                low = middle
        spared = left(high)
        for width in self.widths:
            before = flat[width.root]
            fall = {"log": high * prices[width.root], "count": 0.0}[self.goal.penalty]
            after = np.maximum(before - fall, 0)
            after = np.where(spared[width.root] & (after == 0), before, after)  # the last channel of a width stays
            factor = np.sqrt(after / np.maximum(before, 1e-300)) * spared[width.root]
            for name in self.scales[width.root]:
                value = module.inner.value(name)
                value.mul_(torch_of().from_numpy(factor).to(value))

    def _spared(self, width: Width, squares: Any, fall: float) -> Mask:
        """Channels that are left; a width without which nothing is left keeps its largest."""
        mask: Mask = squares > fall
        if not width.droppable and not mask.any():
            mask[int(squares.argmax())] = True
        return mask

    def alive(self, module: Any) -> dict[int, Mask]:
        """By root: channels with a scale that is not 0."""
        found: dict[int, Mask] = {}
        for width in self.widths:
            scales = self._stack(module, self.scales[width.root])
            found[width.root] = (scales != 0).any(dim=0).cpu().numpy()
        return found

    def counts(self, alive: Mapping[int, Mask]) -> dict[int, int]:
        """Widths that are left, with what shortcuts carry."""
        return {root: int(mask.sum()) for root, mask in carried(self.network, self.channels, alive).items()}

    def silence(self, module: Any, alive: Mapping[int, Mask]) -> None:
        """Set scale and bias of all other channels to 0."""
        torch = torch_of()
        with torch.no_grad():
            for width in self.widths:
                keep = torch.from_numpy(alive[width.root].astype(np.float32))
                for name in self.scales[width.root] + self.biases[width.root]:
                    value = module.inner.value(name)
                    value.mul_(keep.to(value.device))

    def importance(self, module: Any) -> dict[int, Any]:
        """By root: root mean square of each channel's scales over the layers that make it."""
        return {
            w.root: self._stack(module, self.scales[w.root]).square().mean(dim=0).sqrt().detach().cpu().numpy()
            for w in self.widths
        }

    def finish(self, module: Any, threshold: float) -> dict[int, Mask]:
        """Channels to keep: scales of at least `threshold`, and the worst go until the target's columns are reached."""
        sizes = self.importance(module)
        alive = {root: (size >= threshold) & self.alive(module)[root] for root, size in sizes.items()}
        for width in self.widths:
            if not width.droppable and not alive[width.root].any():
                alive[width.root][sizes[width.root].argmax()] = True
        while self.prices.columns(self.counts(alive)) > self.goal.columns:
            worst = self._worst(alive, sizes)
            if worst is None:
                break
            alive[worst[0]][worst[1]] = False
        self.silence(module, alive)
        return alive

    def _worst(self, alive: Mapping[int, Mask], sizes: Mapping[int, Any]) -> tuple[int, int] | None:
        """The living channel whose scale is smallest for its price."""
        counts = self.counts(alive)
        best, found = np.inf, None
        for width in self.widths:
            mask = alive[width.root]
            if mask.sum() > (0 if width.droppable else 1):
                price = max(self.prices.price(width.root, counts) / len(width.makers), 1e-12)
                worth = np.where(mask, sizes[width.root] / price, np.inf)
                if worth.min() < best:
                    best, found = float(worth.min()), (width.root, int(worth.argmin()))
        return found

    def _stack(self, module: Any, names: list[str]) -> Any:
        torch = torch_of()
        return torch.stack([module.inner.value(name).abs() for name in names])
