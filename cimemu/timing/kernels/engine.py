"""The compiled event engine: the same start cycles as the SimPy model of `cimemu.timing.simpy_model`.

Every unit serves its waiting tasks by (ready cycle, image, task number), after everything else that happens in the
cycle has happened. All state lies in a few integer arrays, one row a task, unit or image, so that it can be compared
and shifted in time as a whole (`cimemu.timing.state`).
"""

import numpy as np

from cimemu.lanes.jit import kernel

NEVER = 1 << 62  # as `cimemu.timing.timeline` has it
TASK = (1 << 32) - 1  # of a key: image << 32 | task
DATA = 5  # `cimemu.events.Cause`

# Columns of nodes (a task of the template) and edges.
UNIT, LAYER, DURATION, FIRST_EDGE, DYNAMIC = 0, 1, 2, 3, 4
SUCCESSOR, LAG, CAUSE = 0, 1, 2
# Columns of tasks (a task of an image on the chip); -1 where there is no cycle yet. WHY = 16 x cause + earlier cause. WOKEN: 1
# where its unit was off and is switched on first; it starts behind that.
PENDING, WHY, WOKEN, READY, SINCE, START = 0, 1, 2, 3, 4, 5
# Columns of units; HEAD to ROOM are where the unit's ring in the queue lies. RUNNING is a key. AFTER: idle cycles after which
# it is off (NEVER: it never is), WAKE: cycles to switch it on, OFF: cycles that it was off, up to the last time it was woken.
FREE, BUSY, OPERATIONS, RUNNING, TOUCHED, HEAD, WAITING, BASE, ROOM = 0, 1, 2, 3, 4, 5, 6, 7, 8
AFTER, WAKE, OFF = 9, 10, 11
# Columns of images (one on the chip); the rest says since when each layer has had something to do.
LEFT, LAST_END, LAYERS = 0, 1, 2
# Entries of control.
NOW, HEAPED, TOUCHES, IMAGES, WINDOW = 0, 1, 2, 3, 4


@kernel
def push(heap, control, when, unit):
    """Add (when, unit) to the binary heap of running units."""
    at = control[HEAPED]
    control[HEAPED] += 1
    while at > 0:
        up = (at - 1) // 2
        if heap[up, 0] <= when:
            break
        heap[at, 0], heap[at, 1] = heap[up, 0], heap[up, 1]
        at = up
    heap[at, 0], heap[at, 1] = when, unit


@kernel
def pop(heap, control):
    """Remove the first entry of the heap; its unit."""
    unit = heap[0, 1]
    control[HEAPED] -= 1
    last = control[HEAPED]
    when, moved = heap[last, 0], heap[last, 1]
    at = 0
    while 2 * at + 1 < last:
        child = 2 * at + 1
        if child + 1 < last and heap[child + 1, 0] < heap[child, 0]:
            child += 1
        if when <= heap[child, 0]:
            break
        heap[at, 0], heap[at, 1] = heap[child, 0], heap[child, 1]
        at = child
    heap[at, 0], heap[at, 1] = when, moved
    return unit


@kernel
def enqueue(queue, unit, ready, key):
    """Put (ready, key) into the ring of `unit` (its row of units), in order; `ready` is never less than before."""
    room, base, at = unit[ROOM], unit[BASE], unit[HEAD] + unit[WAITING]
    unit[WAITING] += 1
    if at >= room:
        at -= room
    while at != unit[HEAD]:
        before = at - 1 if at > 0 else room - 1
        if queue[base + before, 0] < ready or queue[base + before, 1] < key:
            break
        queue[base + at, 0], queue[base + at, 1] = queue[base + before, 0], queue[base + before, 1]
        at = before
    queue[base + at, 0], queue[base + at, 1] = ready, key


@kernel
def dequeue(queue, unit):
    """Take the first key out of the ring of `unit`; an empty ring starts afresh."""
    key = queue[unit[BASE] + unit[HEAD], 1]
    unit[WAITING] -= 1
    unit[HEAD] += 1
    if unit[HEAD] == unit[ROOM] or unit[WAITING] == 0:
        unit[HEAD] = 0
    return key


@kernel
def touch(touched, units, control, unit):
    """Have `unit` looked at before time goes on."""
    if units[unit, TOUCHED] == 0:
        units[unit, TOUCHED] = 1
        touched[control[TOUCHES]] = unit
        control[TOUCHES] += 1


@kernel
def keep_last(row, when, why, since):
    """Note a wait that ended at `when` in a row of tasks; of several that end together the smallest is kept, compared by
    (cause, since when the predecessor worked, what that one waited for)."""
    newer = when > row[READY]
    if when == row[READY]:
        if why >> 4 != row[WHY] >> 4:
            newer = why < row[WHY]
        elif since != row[SINCE]:
            newer = since < row[SINCE]
        else:
            newer = why < row[WHY]
    if newer:
        row[READY], row[WHY], row[SINCE] = when, why, since
    row[PENDING] -= 1
    return row[PENDING] == 0


@kernel
def arrive(image, task, why, since, graph, chip, stack):
    """One wait of (image, task) ends now; meeting points (no unit) pass it on at once.

    `why` holds the cause of waiting for the predecessor, which worked from `since`, and what that one waited for.
    """
    nodes, edges = graph
    tasks, units, images, queue, _heap, touched, control = chip
    now = control[NOW]
    top = 0
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = image, task, why, since
    while top >= 0:
        image, task, why, since = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
        top -= 1
        slot = image % control[WINDOW]
        row = tasks[slot, task]
        if not keep_last(row, now, why, since):
            continue
        unit, layer = nodes[task, UNIT], nodes[task, LAYER]
        if unit >= 0:
            images[slot, LAYERS + layer] = min(images[slot, LAYERS + layer], now)
            enqueue(queue, units[unit], now, (image << 32) | task)
            if units[unit, RUNNING] < 0:
                touch(touched, units, control, unit)
            continue
        images[slot, LEFT] -= 1
        images[slot, LAST_END] = now
        for e in range(nodes[task, FIRST_EDGE], nodes[task + 1, FIRST_EDGE]):
            if image + edges[e, LAG] < control[IMAGES]:
                top += 1
                stack[top, 0], stack[top, 1] = image + edges[e, LAG], edges[e, SUCCESSOR]
                stack[top, 2], stack[top, 3] = 16 * edges[e, CAUSE] + (row[WHY] & 15), row[SINCE]


@kernel
def admit(image, roots, graph, chip, stack):
    """Open the gate of `image` now. Only tasks that wait for none of their own image can tell."""
    now = chip[6][NOW]
    for task in roots:
        arrive(image, task, 17 * DATA, now, graph, chip, stack)


@kernel
def charge(gap, free, layer_ready, began, why, stalls):
    """stalls[cause] += the cycles of a wait that began at `free`: until the layer had anything to do (DATA), while the
    predecessor waited itself (why & 15), while it worked (why >> 4)."""
    idle = min(gap, max(0, layer_ready - free))
    behind = min(gap - idle, max(0, began - free - idle))
    stalls[DATA] += idle
    stalls[why & 15] += behind
    stalls[why >> 4] += gap - idle - behind


@kernel
def begin(unit, nodes, table, chip, stalls, layer_stalls):
    """An idle unit takes its first waiting task."""
    tasks, units, images, queue, heap, _touched, control = chip
    now = control[NOW]
    key = dequeue(queue, units[unit])
    image, task = key >> 32, key & TASK
    slot = image % control[WINDOW]
    row, free, layer = tasks[slot, task], units[unit, FREE], nodes[task, LAYER]
    if now > free:
        charge(now - free, free, images[slot, LAYERS + layer], row[SINCE], row[WHY], stalls[unit])
        charge(now - free, free, images[slot, LAYERS + layer], row[SINCE], row[WHY], layer_stalls[layer])
    cycles = nodes[task, DURATION]
    if nodes[task, DYNAMIC] >= 0:
        cycles = table[image, nodes[task, DYNAMIC]]
    waking = 0
    if now - free > units[unit, AFTER]:
        waking = units[unit, WAKE]
        units[unit, OFF] += now - free - units[unit, AFTER]
        row[WOKEN] = 1
    row[START] = now + waking
    units[unit, RUNNING] = key
    units[unit, FREE] = now + waking + cycles
    units[unit, BUSY] += waking + cycles
    units[unit, OPERATIONS] += 1
    push(heap, control, now + waking + cycles, unit)


@kernel
def finish(unit, graph, chip, stack):
    """What the unit ran is over: tell the successors."""
    nodes, edges = graph
    tasks, units, images, _queue, _heap, touched, control = chip
    key = units[unit, RUNNING]
    image, task = key >> 32, key & TASK
    slot = image % control[WINDOW]
    units[unit, RUNNING] = -1
    touch(touched, units, control, unit)
    images[slot, LEFT] -= 1
    images[slot, LAST_END] = control[NOW]
    began, earlier = tasks[slot, task, START], tasks[slot, task, WHY] >> 4
    for e in range(nodes[task, FIRST_EDGE], nodes[task + 1, FIRST_EDGE]):
        if image + edges[e, LAG] < control[IMAGES]:
            arrive(
                image + edges[e, LAG],
                np.int64(edges[e, SUCCESSOR]),
                16 * edges[e, CAUSE] + earlier,
                began,
                graph,
                chip,
                stack,
            )


@kernel
def advance(image, table, graph, chip, stack, stalls, layer_stalls):
    """Let time go on until `image` is done (True) or nothing is left that could happen (False)."""
    _tasks, units, images, _queue, heap, touched, control = chip
    while True:
        for number in range(control[TOUCHES]):
            unit = touched[number]
            units[unit, TOUCHED] = 0
            if units[unit, RUNNING] < 0 and units[unit, WAITING] > 0:
                begin(unit, graph[0], table, chip, stalls, layer_stalls)
        control[TOUCHES] = 0
        if control[HEAPED] == 0:
            return False
        control[NOW] = heap[0, 0]
        while control[HEAPED] > 0 and heap[0, 0] == control[NOW]:
            finish(pop(heap, control), graph, chip, stack)
        if images[image % control[WINDOW], LEFT] == 0:
            return True
