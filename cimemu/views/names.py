"""Names of layers short enough for a chart, and still apart from each other."""

from collections import Counter
from collections.abc import Sequence

from cimemu.fitted import shortened

LONGEST = 28


def short_names(names: Sequence[str]) -> list[str]:
    """A short name for each of `names`, all different where those are.

    Of a fused layer (`a;b;c`) the last part counts. Parts of paths that all names share are left out, and those behind
    which a name is alone already; what is still too long is shortened in the middle.
    """
    paths = [tuple(name.rpartition(";")[2].split("/")) for name in names]
    shared = 0
    while len({path[: shared + 1] for path in paths}) == 1 and all(len(path) > shared + 1 for path in paths):
        shared += 1
    begun = Counter(path[:depth] for path in paths for depth in range(1, len(path) + 1))
    made = []
    for path in paths:
        alone = (depth for depth in range(shared + 1, len(path)) if begun[path[:depth]] == 1)
        made.append(shortened("/".join(path[shared : next(alone, len(path))]), LONGEST))
    met = Counter(made)
    return [short if met[short] == 1 else shortened(name, 2 * LONGEST) for short, name in zip(made, names)]
