"""A place in golden vectors in the terms of the network: image, position of the output, output channel, input row, slice."""

from cimemu.golden.format import FolderEntry, MacroEntry, Manifest


def network_terms(manifest: Manifest, entry: FolderEntry, name: str, where: dict[str, int]) -> dict[str, int | str]:
    """What an index by op, column, output or row stands for."""
    made: dict[str, int | str] = {}
    places = manifest.places
    if "op" in where:
        added = where["op"] - (entry.ops - places.added_operations)
        position, image = _position(places.positions, entry, where["op"])
        if added >= 0:
            made["added operation"] = added
        else:
            made["image"] = image
        if added < 0 and places.positions > 1:
            made["output position"] = position
            if places.width > 1 and places.positions > places.width:
                made |= {"output row": position // places.width, "output column": position % places.width}
    if "output" in where:
        made["output channel"] = entry.first_output + where["output"]
    if not isinstance(entry, MacroEntry):
        return made
    shared = name in ("thresholds.hex", "levels.hex") and entry.files[name].shape[0] == 1
    if "column" in where and not shared:
        programmed = name in ("cells.hex", "flipped.hex")  # whose columns are physical ones
        each = (entry.physical_columns if programmed else entry.columns) // entry.outputs
        output, number = divmod(where["column"], each)
        made["output channel"] = entry.first_output + output
        seen = None if programmed else manifest.conversions[number]
        if seen is not None and seen.slice is not None and len(manifest.conversions) > 1:
            made["weight slice"] = seen.slice
        if seen is not None and seen.side:
            made["side"] = seen.side
    if "row" in where:
        made["input row"] = entry.first_row + where["row"]
    return made


def _position(positions: int, entry: FolderEntry, op: int) -> tuple[int, int]:
    """(output position, image) of an operation; of R replicas, replica r works at the positions p with p mod R = r."""
    count, number = (entry.replicas, entry.replica) if isinstance(entry, MacroEntry) else (1, 0)
    mine = -(-(positions - number) // count)
    image, nth = divmod(op, max(1, mine))
    return nth * count + number, image
