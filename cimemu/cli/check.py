"""`cimemu check`: every tensor against another runtime."""

from typing import Annotated

import typer

from cimemu.cli.app import (
    ArchName,
    CalibrateOption,
    ChipOption,
    FloatLayersOption,
    ImagesOption,
    JsonOption,
    ModuleOption,
    NetworkOption,
    PathOption,
    SetOption,
    WorkloadName,
    app,
    arch_of,
    drawn,
    refuse_fixed,
    workload_of,
)
from cimemu.cli.bare import (
    CalibrationOption,
    InputShapeOption,
    InputsOption,
    InputValueOption,
    LabelsOption,
    given_of,
    print_notes,
    told,
)
from cimemu.errors import CimemuError
from cimemu.terminal import print_json


@app.command()
def check(
    arch: ArchName,
    workload: WorkloadName,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="onnxruntime|litert|torch|FILE",
            help="a runtime, or an .npz with a name per tensor; default: LiteRT for integer TFLite, PyTorch for quantised "
            ".pt2, else ONNX Runtime",
        ),
    ] = None,
    images: ImagesOption = None,
    overrides: SetOption = None,
    calibrate_adc: CalibrateOption = None,
    network_file: NetworkOption = None,
    module: ModuleOption = None,
    inputs_file: InputsOption = None,
    labels_from: LabelsOption = None,
    calibration_file: CalibrationOption = None,
    input_shape: InputShapeOption = None,
    input_value: InputValueOption = None,
    float_layers: FloatLayersOption = None,
    chip_file: ChipOption = None,
    path: PathOption = "serial",
    as_it_is: Annotated[
        bool,
        typer.Option("--float", help="compare a float .tflite file as it is, before it is quantised, with LiteRT"),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare every tensor with another runtime (lossless converter), and say how far the chip's converter and cells move them."""
    from cimemu.check.network import check_network
    from cimemu.cli.check_report import print_check
    from cimemu.loading.load import network_of
    from cimemu.mapping.place import make_plan
    from cimemu.prepare import quantized_network

    given = given_of(inputs_file, labels_from, calibration_file, input_shape, module, input_value)
    chip, work = arch_of(arch, overrides), workload_of(workload, network_file, given, float_layers)
    inputs, _ = work.inputs(images)
    if as_it_is:
        if chip_file is not None:
            raise CimemuError("--chip with --float: a float network has no cells, leave one of them out")
        from cimemu.check.float_network import check_float

        network = network_of(work, module)
        found = check_float(network, work.network, inputs)
    else:
        network = quantized_network(work, chip, converters=calibrate_adc, module=module)
        refuse_fixed(network, overrides)
        models = drawn(chip_file, None)
        plan = make_plan(network, chip) if models else None
        found = check_network(network, chip.macro, inputs, against=against, path=path, plan=plan, vary=models)
    if as_json:
        print_json({**found.as_dict(), **({} if as_it_is else told(work, network))})
    else:
        print_check(found)
        if not as_it_is:
            print_notes(work, network)
    if found.failed:
        raise typer.Exit(1)
