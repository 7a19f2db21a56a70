"""Where tensors live between layers: the global buffer, or off-chip where they do not fit or cross a phase."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cimemu.errors import MappingError
from cimemu.mapping.parts import layer_parts
from cimemu.mapping.plan import LayerPlan, Plan
from cimemu.timing.rings import Ring, rings_of, shared_out

MAX_IN_FLIGHT = 8


@dataclass(frozen=True)
class Storage:
    """Tensors by producing layer (below 0: the network's inputs, from -1 down): which are off-chip, and how many images are on
    the chip together.

    `sums_offchip` are the layers larger than the chip whose sums wait off-chip for their next phase. On a pipelined chip
    `held` are the rows that the global buffer has for a tensor; one that is not named has room for every image on the chip.
    `rings` say what each needs at least.
    """

    offchip: frozenset[int]
    in_flight: int
    sums_offchip: frozenset[int] = frozenset()
    held: Mapping[int, int] = field(default_factory=dict)
    rings: Mapping[int, Ring] = field(default_factory=dict)


def place_tensors(plan: Plan, phase: int, images: int = 1) -> Storage:
    """Live tensors against the global buffer, on a pipelined chip their rows in flight; the largest go off-chip until the rest
    fits.

    All `images` go through a phase before the next: sums that wait for a later phase are kept in the global buffer where
    those of all images fit.
    """
    members = [layer for layer in plan.layers if phase in layer.phases]
    last_use = _last_use(members)
    crossing = {
        producer
        for layer in plan.layers
        for producer in layer.inputs
        if producer >= 0 and any(plan.layers[producer].phase != number for number in layer.phases)
    }
    offchip = set(crossing)
    capacity = int(plan.arch.chip.global_buffer.size_kib * 8192)
    sums_offchip = set()
    held = 0
    for layer in plan.layers:
        if layer.geometry is None or len(layer.phases) == 1:
            continue
        parts = layer_parts(plan, layer)
        if any(parts[number].finished for number in layer.phases[:-1]):
            offchip.add(layer.index)  # some of its outputs wait for the others
        each = images * layer.geometry.positions
        if each * max(part.held_bits for part in parts.values()) > capacity:
            sums_offchip.add(layer.index)
        elif phase in parts:
            held += each * parts[phase].held_bits
    capacity = max(0, capacity - held)
    bits = {layer.index: sum(t.bits for t in layer.output_types) for layer in plan.layers}
    for layer in plan.layers:
        for kind, producer in zip(layer.input_types, layer.inputs):
            if producer < 0:
                bits[producer] = max(bits.get(producer, 0), kind.bits)
    if plan.arch.schedule == "pipelined":
        return _in_flight(members, phase, bits, frozenset(offchip), frozenset(sums_offchip), capacity)
    for layer in members:
        while True:
            live = [p for p, last in last_use.items() if p <= layer.index <= last and p not in offchip]
            live = sorted({*live, layer.index} - offchip)
            total = sum(bits[p] for p in live)
            if total <= capacity:
                break
            offchip.add(max(live, key=lambda p: (bits[p], p)))
    return Storage(frozenset(offchip), 1, frozenset(sums_offchip))


def _in_flight(
    members: list[LayerPlan],
    phase: int,
    bits: Mapping[int, int],
    offchip: frozenset[int],
    sums_offchip: frozenset[int],
    capacity: int,
) -> Storage:
    """A pipelined chip: rings of rows in the global buffer. The tensors that need most go off-chip until the rest fits."""
    read = {producer for layer in members for producer in layer.inputs}
    made = {layer.index for layer in members if layer.phase == phase}
    rings = rings_of(members, bits, {p for p in read | made if p not in offchip and (p < 0 or p in made)})
    away = set(offchip)

    def least(producer: int) -> int:
        return rings[producer].fewest * rings[producer].row_bits

    needed = sum(map(least, rings))
    for producer in sorted(rings, key=lambda p: (-least(p), -p)):
        if needed <= capacity:
            break
        needed -= least(producer)
        away.add(producer)
    kept = {producer: ring for producer, ring in rings.items() if producer not in away}
    return Storage(frozenset(away), MAX_IN_FLIGHT, sums_offchip, shared_out(kept, capacity, MAX_IN_FLIGHT), kept)


def _last_use(members: list[LayerPlan]) -> dict[int, int]:
    return {producer: layer.index for layer in members for producer in layer.inputs}


def buffer_rows(layer: LayerPlan, what: str, bits_per_row: int, size_kib: float, sharers: int, needed: int) -> int:
    """Rows that fit one of `sharers` parts of a tile buffer; MappingError where not even the `needed` ones do."""
    rows = int(size_kib * 8192) // sharers // max(1, bits_per_row)
    if rows < needed:
        kib = needed * bits_per_row * sharers / 8192
        raise MappingError(
            f"layer {layer.name}: tile.{what}.size_kib = {size_kib:g}, its window needs {kib:.4g}; "
            f"use tile.{what}.size_kib >= {kib:.4g}"
        )
    return rows
