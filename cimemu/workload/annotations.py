"""What a standard ONNX file cannot say about a network for macros, as one JSON text in its metadata.

Converters, column scales, the scheme and the arch keys that go with them, and products that stay on the digital unit. Real
numbers are written so that the same float64 is read back.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from cimemu.adc import Adc
from cimemu.errors import WorkloadError
from cimemu.layer.column_scale import GRANULARITIES, ColumnScale
from cimemu.layer.macro_layer import MacroLayer
from cimemu.workload.network import Network

KEY = "cimemu"
VERSION = 1
_ADC: TypeAdapter[Any] = TypeAdapter(Adc)


def annotation_text(network: Network) -> str | None:
    """The JSON text of a network's converters, column scales, scheme and arch keys; None where it has none."""
    scales = {
        layer.name: layer.column_scale
        for layer in network.layers
        if isinstance(layer, MacroLayer) and layer.column_scale is not None
    }
    shares = {layer.name: layer.shares for layer in network.layers if isinstance(layer, MacroLayer) and layer.shares}
    if not (network.converters or scales or network.overrides or network.scheme or shares or network.digital):
        return None
    tree = {
        "version": VERSION,
        "overrides": dict(network.overrides),
        "scheme": network.scheme,
        "converters": {name: adc.model_dump(mode="json") for name, adc in network.converters.items()},
        "column_scales": {name: _plain(scale) for name, scale in scales.items()},
        **({"shares": shares} if shares else {}),
        **({"digital": sorted(network.digital)} if network.digital else {}),
    }
    return json.dumps(tree, allow_nan=False, sort_keys=True, separators=(",", ":"))


def read_annotation(text: str) -> dict[str, Any]:
    """Fields of a Network from `annotation_text`'s result. Raises WorkloadError."""
    try:
        tree = json.loads(text)
        if not isinstance(tree, dict) or tree.get("version") != VERSION:
            version = tree.get("version") if isinstance(tree, dict) else None
            raise WorkloadError(
                f"metadata '{KEY}' of version {version!r}, this cimemu reads {VERSION}: quantise the network again"
            )
        return {
            "overrides": dict(tree["overrides"]),
            "scheme": tree["scheme"],
            "converters": {name: _ADC.validate_python(value) for name, value in tree["converters"].items()},
            "column_scales": {name: _scale(value) for name, value in tree["column_scales"].items()},
            "shares": {str(name): str(value) for name, value in tree.get("shares", {}).items()},
            "digital": frozenset(str(name) for name in tree.get("digital", ())),
        }
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise WorkloadError(
            f"metadata '{KEY}': converter {where}: {first['msg']}; quantise the network again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkloadError(f"metadata '{KEY}' cannot be read ({error}); quantise the network again") from None


def _plain(scale: ColumnScale) -> dict[str, Any]:
    return {
        "scale": scale.scale.tolist(),
        "offset": None if scale.offset is None else scale.offset.tolist(),
        "row_starts": list(scale.row_starts),
        "granularity": scale.granularity,
        "slices": scale.slices,
    }


def _scale(tree: Mapping[str, Any]) -> ColumnScale:
    scale = np.array(tree["scale"], dtype=np.float64)
    offset = None if tree["offset"] is None else np.array(tree["offset"], dtype=np.float64)
    if scale.ndim != 2 or (offset is not None and (offset.ndim != 2 or not bool(np.isfinite(offset).all()))):
        raise ValueError("a column scale is no matrix of numbers")
    if tree["granularity"] not in GRANULARITIES:
        raise ValueError(f"granularity {tree['granularity']!r}")
    return ColumnScale(
        scale=scale,
        offset=offset,
        row_starts=tuple(int(start) for start in tree["row_starts"]),
        granularity=str(tree["granularity"]),
        slices=bool(tree["slices"]),
    )
