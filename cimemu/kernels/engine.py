"""The compiled event engine: the same start cycles as the SimPy model of `cimemu.timing.simpy_model`.

Every unit serves its waiting tasks by (ready cycle, image, task number). All tasks take at least a cycle, so
popping one global heap in that order serves every unit in its own right order.
"""

from cimemu.kernels.jit import kernel

# state = [entries in the heap, images]; causes are `cimemu.events.Cause`
DATA = 5
NEVER = 1 << 62


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
def prepare(slot, first, graph, waits, slots, start):
    """Reset a slot for an image that is not admitted yet (one more wait each: the gate)."""
    pending, ready, cause, began, earlier, left, last_end, layer_ready = slots
    here, before_ = waits
    for t in range(here.shape[0]):
        pending[slot, t] = here[t] + 1 + (0 if first else before_[t])
        ready[slot, t] = -1
        cause[slot, t] = DATA
        began[slot, t] = 0
        earlier[slot, t] = DATA
        start[slot, t] = -1
    layer_ready[slot, :] = NEVER
    left[slot] = here.shape[0]
    last_end[slot] = 0


@kernel
def arrive(image, task, when, why, since, earlier_why, graph, slots, heap, state, stack):
    """One wait of (image, task) ends at `when`; meeting points (no unit) pass it on at once.

    `why` is the cause of waiting for the predecessor, which worked from `since` and itself waited for `earlier_why`.
    Of several waits that end together the smallest (cause, since, earlier cause) is kept.
    """
    unit, layer, first_edge, successor, lag, edge_cause = graph
    pending, ready, cause, began, earlier, left, last_end, layer_ready = slots
    window = pending.shape[0]
    top = 0
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = image, task, when, why
    stack[0, 4], stack[0, 5] = since, earlier_why
    while top >= 0:
        image, task, when, why = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
        since, earlier_why = stack[top, 4], stack[top, 5]
        top -= 1
        slot = image % window
        newer = when > ready[slot, task]
        if when == ready[slot, task]:
            if why != cause[slot, task]:
                newer = why < cause[slot, task]
            elif since != began[slot, task]:
                newer = since < began[slot, task]
            else:
                newer = earlier_why < earlier[slot, task]
        if newer:
            ready[slot, task] = when
            cause[slot, task] = why
            began[slot, task] = since
            earlier[slot, task] = earlier_why
        pending[slot, task] -= 1
        if pending[slot, task] > 0:
            continue
        at = ready[slot, task]
        if unit[task] >= 0:
            layer_ready[slot, layer[task]] = min(layer_ready[slot, layer[task]], at)
            push(heap, state, at, image, task)
            continue
        left[slot] -= 1
        last_end[slot] = max(last_end[slot], at)
        for e in range(first_edge[task], first_edge[task + 1]):
            if image + lag[e] < state[1]:
                top += 1
                stack[top, 0], stack[top, 1] = image + lag[e], successor[e]
                stack[top, 2], stack[top, 3] = at, edge_cause[e]
                stack[top, 4], stack[top, 5] = began[slot, task], earlier[slot, task]


@kernel
def admit(image, when, graph, slots, heap, state, stack):
    """Open the gate of `image` at cycle `when`."""
    for t in range(slots[0].shape[1]):
        arrive(image, t, when, DATA, when, DATA, graph, slots, heap, state, stack)


@kernel
def charge(gap, free, layer_ready, began, why, earlier_why, stalls):
    """stalls[cause] += the cycles of a wait that began at `free`: until the layer had anything to do (DATA), while the
    predecessor waited itself (its cause), while it worked (`why`)."""
    idle = min(gap, max(0, layer_ready - free))
    behind = min(gap - idle, max(0, began - free - idle))
    stalls[DATA] += idle
    stalls[earlier_why] += behind
    stalls[why] += gap - idle - behind


@kernel
def serve(duration, dynamic, table, graph, slots, start, heap, state, stack, books):
    """Serve tasks until an image is done (its number) or none is left (-1)."""
    unit, layer, first_edge, successor, lag, edge_cause = graph
    _pending, _ready_at, cause, began, earlier, left, last_end, layer_ready = slots
    free, busy, stalls, operations, layer_stalls = books
    window = left.shape[0]
    entry = stack[stack.shape[0] - 1]
    while state[0] > 0:
        pop(heap, state, entry)
        ready, image, task = entry[0], entry[1], entry[2]
        slot, u = image % window, unit[task]
        cycles = table[image, dynamic[task]] if dynamic[task] >= 0 else duration[task]
        begin = max(ready, free[u])
        why = cause[slot, task]
        if begin > free[u]:
            for books_of in (stalls[u], layer_stalls[layer[task]]):
                charge(
                    begin - free[u],
                    free[u],
                    layer_ready[slot, layer[task]],
                    began[slot, task],
                    why,
                    earlier[slot, task],
                    books_of,
                )
        end = begin + cycles
        free[u] = end
        busy[u] += cycles
        operations[u] += 1
        start[slot, task] = begin
        left[slot] -= 1
        last_end[slot] = max(last_end[slot], end)
        for e in range(first_edge[task], first_edge[task + 1]):
            if image + lag[e] < state[1]:
                arrive(
                    image + lag[e],
                    successor[e],
                    end,
                    edge_cause[e],
                    begin,
                    why,
                    graph,
                    slots,
                    heap,
                    state,
                    stack,
                )
        if left[slot] == 0:
            return image
    return -1
