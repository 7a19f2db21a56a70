"""`simulate`: a plan through time, phase by phase."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cimemu.bounds import MOST_CYCLE
from cimemu.errors import CimemuError, MappingError
from cimemu.events import Cause, Counter, Kind
from cimemu.mapping.cycles import op_cycles
from cimemu.mapping.plan import Plan
from cimemu.timing.build import Written, phase_template, programming_template
from cimemu.timing.compiled import run_compiled
from cimemu.timing.durations import Nonzero, RowPulses, duration_table, with_writings
from cimemu.timing.flow import interconnect_flow
from cimemu.timing.graph import Template
from cimemu.timing.spans import is_macro
from cimemu.timing.timeline import Events, Ledger, Sink, Timeline, Times

LONGEST_OPERATION = 2**31 - 1
PROGRAMMING_IMAGE = -1  # the image of events that belong to no image


class Simulation:
    """The task graphs of a plan, ready to be run."""

    def __init__(self, plan: Plan, written: Written | None = None, images: int = 1) -> None:
        """Build the graphs; `written` counts write pulses of blocks that took more than one, `images` are how many the sums
        of a layer larger than the chip must be kept for.

        Raises MappingError where a window does not fit a buffer."""
        self.plan, self.written, self.images = plan, written, images
        units: dict[str, int] = {}
        self.programming: list[Template | None] = []
        self.phases: list[Template] = []
        for phase in range(plan.phases):
            self.programming.append(programming_template(plan, phase, units, written) if plan.phases > 1 else None)
            self.phases.append(phase_template(plan, phase, units, images))
        self.units = units
        longest = op_cycles(plan.arch.macro, plan.arch.macro.rows, plan.arch.macro.columns)
        if longest > LONGEST_OPERATION:
            raise MappingError(
                f"an operation of the whole macro takes {longest} cycles, must be <= {LONGEST_OPERATION}; make "
                "macro.timing, macro.adc.cycles or the number of its steps smaller"
            )

    def traffic_counts(self) -> NDArray[np.int64]:
        """Counts of one image [layers, len(Counter)]: bits moved, stored, and digital operations."""
        made: NDArray[np.int64] = np.sum([template.counts for template in self.phases], axis=0)
        return made

    def programming_counts(self) -> NDArray[np.int64]:
        """Counts of the run's reprogramming [layers, len(Counter)]; all 0 where everything fits at once."""
        zero = np.zeros((len(self.plan.layers), len(Counter)), dtype=np.int64)
        return zero + sum(template.counts for template in self.programming if template is not None)

    def run(
        self,
        images: int,
        *,
        detail: str = "ops",
        engine: str = "auto",
        nonzero: Nonzero | None = None,
        sink: Sink | None = None,
        progress: Callable[[int, int], None] | None = None,
        repeat: bool = True,
        pulses: RowPulses | None = None,
    ) -> Timeline:
        """All images through all phases; events go to `sink`, image by image.

        `engine` "simpy" or "compiled" (the same cycles; `auto`: compiled for detail ops). `nonzero` gives the driven
        steps where the macro skips zero slices (None: nothing is skipped). `repeat` False has the compiled engine
        simulate also the images for which the chip is proven to repeat itself. `pulses` counts, for every image, the write
        pulses of rows that hold an activation (None: one a row).
        """
        if self.plan.cut and images != self.images:
            again = Simulation(
                self.plan, self.written, images
            )  # where sums wait depends on how many images wait with them
            return again.run(
                images,
                detail=detail,
                engine=engine,
                nonzero=nonzero,
                sink=sink,
                progress=progress,
                repeat=repeat,
                pulses=pulses,
            )
        if detail not in ("ops", "cycles"):
            raise CimemuError(f"detail = {detail!r}, must be ops or cycles")
        if engine not in ("auto", "simpy", "compiled") or (engine == "compiled" and detail == "cycles"):
            raise CimemuError(f"engine = {engine!r}, must be auto, simpy or (detail ops) compiled")
        templates = [*self.phases, *(template for template in self.programming if template is not None)]
        if images * sum(int(template.duration.sum()) for template in templates) > MOST_CYCLE:
            raise MappingError(f"{images} images take more than {MOST_CYCLE} cycles, run fewer or make steps shorter")
        names = dict(self.units)
        adc_of = {}
        if detail == "cycles":
            macros = sorted({int(u) for t in self.phases for u in t.unit[t.block >= 0]})
            order = list(self.units)
            adc_of = {u: names.setdefault(f"{order[u]}/adc", len(names)) for u in macros}
        record = _Record(self._ledger(names), images, sink)
        now = 0
        programming = 0
        phases = [with_writings(template) for template in self.phases] if pulses else self.phases
        for phase, template in enumerate(phases):
            writes = self.programming[phase]
            if writes is not None:
                for times in run_compiled(writes, 1, now, None, record.ledger):
                    record.take(writes, times, PROGRAMMING_IMAGE)
                    programming += times.done - now
                    now = times.done
            table: NDArray[np.int32] | None = None
            driven = nonzero if self.plan.arch.macro.timing.skip_zero_slices else None
            if driven is not None or pulses:
                table = duration_table(self.plan, template, driven or {}, images, pulses)
            runs: Iterator[Times]
            if detail == "cycles" or engine == "simpy":
                from cimemu.timing.simpy_model import run_simpy  # SimPy is imported where it runs
                from cimemu.timing.unfold import Unfold
            if detail == "cycles":
                unfold = Unfold(self.plan, template, adc_of, driven)
                runs = run_simpy(template, images, now, table, record.ledger, unfold)
            elif engine == "simpy":
                runs = run_simpy(template, images, now, table, record.ledger)
            else:
                runs = run_compiled(template, images, now, table, record.ledger, repeat=repeat)
            for times in runs:
                record.take(template, times, times.image)
                now = max(now, times.done)
                if progress is not None:
                    progress(phase * images + times.image + 1, images * self.plan.phases)
            record.offset += template.tasks
        unused = self._unused_cycles(now)
        flows = np.array([interconnect_flow(template) for template in self.phases]).sum(axis=0) * images
        return record.timeline(now, detail, tuple(names), adc_of, programming, (int(flows[0]), int(flows[1])), unused)

    def _ledger(self, names: Mapping[str, int]) -> Ledger:
        """Nothing done yet; macros are switched off where the chip has gating."""
        made, gating = Ledger.new(len(names), len(self.plan.layers)), self.plan.arch.power.gating
        if gating is not None:
            made.switch_off(
                [unit for name, unit in names.items() if is_macro(name)], gating.after_cycles, gating.wake_cycles
            )
        return made

    def _unused_cycles(self, cycles: int) -> int:
        """Cycles in which macros that never work are off, in a run of `cycles`."""
        arch = self.plan.arch
        if arch.power.gating is None:
            return 0
        return (arch.macros - sum(map(is_macro, self.units))) * max(0, cycles - arch.power.gating.after_cycles)


class _Record:
    """Gathers what the engines yield."""

    def __init__(self, ledger: Ledger, images: int, sink: Sink | None) -> None:
        self.ledger, self.images, self.sink = ledger, images, sink
        self.offset = 0  # task numbers of earlier phases and of programming
        self.layer_cycles = np.zeros(len(ledger.layer_stalls), dtype=np.int64)
        self.wake_ups = np.zeros((images, len(ledger.layer_stalls)), dtype=np.int64)
        self.programming_wake_ups = np.zeros(len(ledger.layer_stalls), dtype=np.int64)
        self.image_start = np.full(images, np.iinfo(np.int64).max)
        self.image_end = np.zeros(images, dtype=np.int64)
        self.adc_busy = np.zeros(len(ledger.busy), dtype=np.int64)
        self.adc_count = np.zeros(len(ledger.busy), dtype=np.int64)
        self.adc_free = np.zeros(len(ledger.busy), dtype=np.int64)
        self.columns: dict[tuple[int, bool], tuple[NDArray[np.int64], Events]] = {}
        self.repeated: dict[int, tuple[NDArray[np.int64], NDArray[np.int64], int]] = {}  # spans, by the array of starts
        self.wanted = images  # images before it have their events taken
        self.plans: dict[int, tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = {}

    def take(self, template: Template, times: Times, image: int) -> None:
        """Spans of an image, and its events to the sink."""
        if id(template) not in self.plans:
            real = np.flatnonzero(template.unit >= 0)
            order = real[np.argsort(template.layer[real], kind="stable")]
            layers, first = np.unique(template.layer[order].astype(np.int64), return_index=True)
            self.plans[id(template)] = (order, layers, first)
        if image >= 0:
            layers, cycles, start = self._spans(template, times)
            self.layer_cycles[layers] += cycles
            self.image_start[image] = min(self.image_start[image], start + times.later)
            self.image_end[image] = max(self.image_end[image], times.done)
        if times.woken is not None:
            wakes = np.bincount(template.layer[times.woken], minlength=self.wake_ups.shape[1])
            counted = self.programming_wake_ups if image < 0 else self.wake_ups[image]
            counted += wakes
        if times.steps is not None:
            chosen = times.steps["kind"] == Kind.CONVERT
            units, cycles = times.steps["unit"][chosen], (times.steps["end"] - times.steps["start"])[chosen]
            np.add.at(self.adc_busy, units, cycles)
            np.add.at(self.adc_count, units, 1)
        if self.sink is not None and image < self.wanted and self.sink(self._events(template, times, image)) is False:
            self.wanted = image
        if image < 0:
            self.offset += template.tasks

    def _spans(self, template: Template, times: Times) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """(layers, cycles of each from its first start to its last end, the image's first start, without `later`)."""
        order, layers, first = self.plans[id(template)]
        kept = self.repeated.get(id(times.first_start))
        if kept is None:
            start, end = times.first_start[order], times.first_end[order]
            cycles = np.maximum.reduceat(end, first) - np.minimum.reduceat(start, first)
            kept = (times.first_start, cycles, int(start.min()))
            if times.later:  # its cycles come again, and so does their array, which is held here
                self.repeated[id(times.first_start)] = kept
        return layers, kept[1], kept[2]

    def _events(self, template: Template, times: Times, image: int) -> Events:
        key = (id(template), times.steps is None)
        if key not in self.columns:
            chosen = template.unit >= 0
            if times.steps is not None:
                chosen &= template.block < 0
            ids = np.flatnonzero(chosen)
            names = ("unit", "kind", "layer")
            self.columns[key] = (ids, {"op": ids + self.offset, **{n: getattr(template, n)[ids] for n in names}})
        ids, same = self.columns[key]
        events = {
            **same,
            "image": np.full(len(ids), image, dtype=np.int32),
            "start": times.start[ids],
            "end": times.end[ids],
        }
        pieces = [events]
        if times.steps is not None:
            pieces.append({**times.steps, "op": times.steps["op"] + self.offset})
        if times.woken is not None and times.woken.any():
            pieces.append(self._wakings(template, times, image))
        return events if len(pieces) == 1 else {name: np.concatenate([p[name] for p in pieces]) for name in events}

    def _wakings(self, template: Template, times: Times, image: int) -> Events:
        """A macro that was off is switched on, right before the operation that it is woken for."""
        assert times.woken is not None
        ids = np.flatnonzero(times.woken)
        start, many = times.start[ids], len(ids)
        return {
            "op": ids + self.offset,
            "unit": template.unit[ids],
            "kind": np.full(many, int(Kind.WAKE), dtype=np.int8),
            "layer": template.layer[ids],
            "image": np.full(many, image, dtype=np.int32),
            "start": start - self.ledger.wake[template.unit[ids]],
            "end": start,
        }

    def timeline(
        self,
        cycles: int,
        detail: str,
        units: tuple[str, ...],
        adc_of: dict[int, int],
        programming: int,
        noc_bits: tuple[int, int],
        unused: int,
    ) -> Timeline:
        """Everything, with each unit's last wait charged to DONE (and a converter's, whose waits are the macro's).

        `unused` are the cycles in which macros that never work are off."""
        ledger = self.ledger
        off = ledger.off + np.maximum(0, cycles - ledger.free - ledger.after)
        ledger.stalls[:, Cause.DONE] += cycles - ledger.free
        for macro, adc in adc_of.items():
            ledger.busy[adc] = self.adc_busy[adc]
            ledger.operations[adc] = self.adc_count[adc]
            ledger.stalls[adc] = ledger.stalls[macro]
            ledger.stalls[adc, Cause.DATA] += int(ledger.busy[macro]) - int(self.adc_busy[adc])
        spread = cycles // self.images  # in phases all images wait for the last one of a phase
        if self.images > 1 and not programming:
            spread = int(self.image_end[-1] - self.image_end[0]) // (self.images - 1)
        return Timeline(
            cycles=cycles,
            images=self.images,
            detail=detail,
            units=units,
            busy=ledger.busy,
            stalls=ledger.stalls,
            operations=ledger.operations,
            layer_stalls=ledger.layer_stalls,
            layer_cycles=self.layer_cycles,
            image_start=self.image_start,
            image_end=self.image_end,
            programming_cycles=programming,
            image_cycles=spread,
            noc_bits=noc_bits,
            wake_ups=self.wake_ups,
            programming_wake_ups=self.programming_wake_ups,
            off=off,
            gated_cycles=int(off.sum()) + unused,
        )
