"""The compiled event engine: the same start cycles as the SimPy model of `cimemu.timing.simpy_model`.

Every unit serves its waiting tasks by (ready cycle, image, task number). All tasks take at least a cycle, so
popping one global heap in that order serves every unit in its own right order.
"""

from cimemu.kernels.jit import kernel

# state = [entries in the heap, images]; causes are `cimemu.events.Cause`
DATA = 5


@kernel
def before(heap, a, b):
    """Whether heap entry a is served before b."""
    for k in range(3):
        if heap[a, k] != heap[b, k]:
            return heap[a, k] < heap[b, k]
    return False


@kernel
def push(heap, state, ready, image, task):
    """Add an entry to the binary heap."""
    at = state[0]
    state[0] += 1
    heap[at, 0] = ready
    heap[at, 1] = image
    heap[at, 2] = task
    while at > 0:
        up = (at - 1) // 2
        if not before(heap, at, up):
            break
        for k in range(3):
            heap[at, k], heap[up, k] = heap[up, k], heap[at, k]
        at = up


@kernel
def pop(heap, state, out):
    """Move the first entry into `out`."""
    for k in range(3):
        out[k] = heap[0, k]
    state[0] -= 1
    last = state[0]
    for k in range(3):
        heap[0, k] = heap[last, k]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= last:
            break
        if child + 1 < last and before(heap, child + 1, child):
            child += 1
        if not before(heap, child, at):
            break
        for k in range(3):
            heap[at, k], heap[child, k] = heap[child, k], heap[at, k]
        at = child


@kernel
def prepare(slot, first, waits_here, waits_before, pending, ready, cause, start):
    """Reset a slot for an image that is not admitted yet (one more wait each: the gate)."""
    for t in range(waits_here.shape[0]):
        pending[slot, t] = waits_here[t] + 1 + (0 if first else waits_before[t])
        ready[slot, t] = 0
        cause[slot, t] = DATA
        start[slot, t] = -1


@kernel
def arrive(image, task, when, why, graph, slots, heap, state, stack):
    """One wait of (image, task) ends at `when`; meeting points (no unit) pass it on at once."""
    unit, first_edge, successor, lag, edge_cause = graph
    pending, ready, cause, left, last_end = slots
    window = pending.shape[0]
    top = 0
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = image, task, when, why
    while top >= 0:
        image, task, when, why = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
        top -= 1
        slot = image % window
        if when > ready[slot, task]:
            ready[slot, task] = when
            cause[slot, task] = why
        elif when == ready[slot, task] and why < cause[slot, task]:
            cause[slot, task] = why
        pending[slot, task] -= 1
        if pending[slot, task] > 0:
            continue
        at = ready[slot, task]
        if unit[task] >= 0:
            push(heap, state, at, image, task)
            continue
        left[slot] -= 1
        last_end[slot] = max(last_end[slot], at)
        for e in range(first_edge[task], first_edge[task + 1]):
            if image + lag[e] < state[1]:
                top += 1
                stack[top, 0], stack[top, 1] = image + lag[e], successor[e]
                stack[top, 2], stack[top, 3] = at, edge_cause[e]


@kernel
def admit(image, when, graph, slots, heap, state, stack):
    """Open the gate of `image` at cycle `when`."""
    for t in range(slots[0].shape[1]):
        arrive(image, t, when, DATA, graph, slots, heap, state, stack)


@kernel
def serve(duration, dynamic, table, layer, graph, slots, start, heap, state, stack, books):
    """Serve tasks until an image is done (its number) or none is left (-1)."""
    unit, first_edge, successor, lag, edge_cause = graph
    left, last_end = slots[3], slots[4]
    free, busy, stalls, operations, layer_stalls = books
    window = left.shape[0]
    entry = stack[stack.shape[0] - 1]
    while state[0] > 0:
        pop(heap, state, entry)
        ready, image, task = entry[0], entry[1], entry[2]
        slot, u = image % window, unit[task]
        cycles = table[image, dynamic[task]] if dynamic[task] >= 0 else duration[task]
        begin = max(ready, free[u])
        if begin > free[u]:
            why = slots[2][slot, task]
            stalls[u, why] += begin - free[u]
            layer_stalls[layer[task], why] += begin - free[u]
        end = begin + cycles
        free[u] = end
        busy[u] += cycles
        operations[u] += 1
        start[slot, task] = begin
        left[slot] -= 1
        last_end[slot] = max(last_end[slot], end)
        for e in range(first_edge[task], first_edge[task + 1]):
            if image + lag[e] < state[1]:
                arrive(image + lag[e], successor[e], end, edge_cause[e], graph, slots, heap, state, stack)
        if left[slot] == 0:
            return image
    return -1
