"""A macro operation step by step: wordlines, converter rounds, shift-add, each an event (detail: cycles)."""

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from cimemu.events import Kind
from cimemu.mapping.cycles import drive_cycles
from cimemu.mapping.plan import Plan
from cimemu.timing.durations import Nonzero, block_steps
from cimemu.timing.graph import Template

Rows = list[tuple[int, ...]]


class Unfold:
    """What every macro operation of a template unfolds into; conversions run on units of their own (`adc_of`)."""

    def __init__(self, plan: Plan, template: Template, adc_of: dict[int, int], nonzero: Nonzero | None) -> None:
        """`adc_of` gives the converter unit of each macro unit, `nonzero` which steps are driven (None: all)."""
        self.plan, self.template, self.adc_of, self.nonzero = plan, template, adc_of, nonzero
        self.cache: dict[tuple[int, int], NDArray[np.bool_]] = {}

    def operate(self, env: simpy.Environment, image: int, task: int, rows: Rows) -> Generator[Any, Any, None]:
        """One macro operation; an empty one still takes a cycle."""
        template, macro = self.template, self.plan.arch.macro
        timing, layer = macro.timing, int(template.layer[task])
        block = self.plan.layers[layer].blocks[int(template.block[task])]
        unit = int(template.unit[task])
        rounds, each = min(macro.columns_per_adc, block.columns_used), macro.adc.conversion_cycles()
        begun = env.now

        def note(where: int, kind: Kind, start: float) -> None:
            rows.append((where, task, int(kind), layer, image, int(start), int(env.now)))

        def drive(driven: bool) -> Generator[Any, Any, None]:
            start, cycles = env.now, drive_cycles(macro) if driven else timing.skip_cycles
            if cycles:
                yield env.timeout(cycles)
                note(unit, Kind.DRIVE if driven else Kind.SKIP, start)

        def convert() -> Generator[Any, Any, None]:
            for _ in range(rounds):
                start = env.now
                yield env.timeout(each)
                note(self.adc_of[unit], Kind.CONVERT, start)

        def convert_held(held: Any, converter: simpy.Resource, driven: bool) -> Generator[Any, Any, None]:
            if driven:
                yield from convert()
            converter.release(held)

        if timing.overlap:
            # Two sample-and-holds a column: the next slice is driven while this one is converted.
            converter = simpy.Resource(env, 1)
            last = None
            for driven in self._steps(image, task, layer, block.index, block.rows_used):
                yield from drive(driven)
                held = converter.request()
                yield held
                last = env.process(convert_held(held, converter, driven))
            yield last
        else:
            for driven in self._steps(image, task, layer, block.index, block.rows_used):
                yield from drive(driven)
                if driven:
                    yield from convert()
        start = env.now
        if timing.shift_add_cycles:
            yield env.timeout(timing.shift_add_cycles)
            note(unit, Kind.SHIFT_ADD, start)
        if env.now == begun:
            yield env.timeout(1)

    def _steps(self, image: int, task: int, layer: int, block: int, rows_used: int) -> list[bool]:
        """Driven or skipped, groups outer, slices inner."""
        macro = self.plan.arch.macro
        if self.nonzero is None:
            return [True] * (-(-rows_used // macro.raised_rows) * macro.steps_per_group)
        key = (layer, block)
        if key not in self.cache:
            self.cache[key] = block_steps(self.plan, self.nonzero, layer, block)
        geometry = self.plan.layers[layer].geometry
        assert geometry is not None
        steps = self.cache[key][image * geometry.positions + int(self.template.position[task])]
        return [bool(step) for step in steps.ravel()]
