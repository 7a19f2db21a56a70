"""The open door: what a converter, variation, encoding, operator, estimator, exporter or subcommand of your own derives from.

Write a class, and name it by its file (`--plugin FILE.py`, `cimemu.load_plugin("FILE.py")`, `--vary FILE.py:Model:param=1`,
`model: FILE.py:Class` in an architecture) or by an entry point of your package:

| kind | base | entry-point group | must define |
|---|---|---|---|
| converter | `Converter` | `cimemu.adc` | `model`, `thresholds`, `levels` |
| variation | `Variation` | `cimemu.variation` | `model`, `write(block, stream)` |
| weight encoding | `Encoding` | `cimemu.encoding` | `name`, `summary`, `values`, and `parts` or `digits` |
| ONNX operator | `Operator` | `cimemu.operator` | `operator`, `infer(types)`, `forward(arrays)` |
| estimator | `Estimator` | `cimemu.cost` | `model`, `estimate(site)` |
| export format | `Exporter` | `cimemu.export` | `name`, `suffix`, `write(trace, events, path)` |
| subcommand | `Command` | `cimemu.command` | `name`, `run(...)` |

`cimemu.testing` holds the properties that cimemu's own classes have, for yours. The pages `cimemu docs extend/adc` and so
on have a whole example each.
"""

from cimemu.adc.base import ConverterBase as Converter
from cimemu.bases import Command, Exporter
from cimemu.cost.site import Estimate, Site
from cimemu.cost.site import Estimator as _Estimator
from cimemu.encoding import Encoding
from cimemu.layer.base import TensorType
from cimemu.layer.operator import Operator
from cimemu.record import Record
from cimemu.variation.base import Block, Stream
from cimemu.variation.base import VariationBase as Variation


class Estimator(Record, _Estimator):
    """Numbers of a component of the cost table: a field `model` with its name, parameters as fields, and `estimate`.

    `estimate(site)` gives an `Estimate`: pJ of one event, um2 and uW of one instance, and a text that says where they come
    from. What an event and an instance are is said by the component's key in the architecture file. `site` has the
    component's name, node (nm), supply (V), the macro's rows and columns, and the times of a step (ns). A ValueError is
    one line that names the component.
    """


__all__ = [
    "Block",
    "Command",
    "Converter",
    "Encoding",
    "Estimate",
    "Estimator",
    "Exporter",
    "Operator",
    "Record",
    "Site",
    "Stream",
    "TensorType",
    "Variation",
]
