"""A trained module is what the chip computes: codes, psums and outputs, integer for integer, for every scheme."""

import numpy as np
import pytest
from conftest import make_images
from morph_nets import tiny_resnet

import cimemu
from cimemu.adapt.library import repeatable
from cimemu.adapt.settings import Rates, TrainSettings
from cimemu.adapt.train import Hooks, train
from cimemu.errors import CimemuError
from cimemu.ptq.scheme import scheme_of

CHIP = {"macro.rows": 40, "macro.columns": 32, "macro.cell.bits": 2, "macro.input.dac_bits": 4}
UNIFORM = {"weights": {"bits": 4, "method": "mse"}, "activations": {"bits": 4, "method": "mse"}, "digits": "offset"}
TRAIN = TrainSettings(epochs=1, images_per_epoch=64, batch=16, rates=Rates(weights=0.01), threads=1)


ENDS = ("(first)", "(last)")


def granular(weight, psum, bits=3, **changes):
    tree = {**UNIFORM, "converter": {"granularity": psum, "bits": bits, "method": "mse"}, **changes}
    return {**tree, "weights": {**tree["weights"], "granularity": weight}}


SCHEMES = {
    "layer_layer": granular("layer", "layer"),
    "array_array": granular("array", "array"),
    "layer_column": granular("layer", "column"),
    "column_column": granular("column", "column", rows="whole_kernels"),
    "even_arrays": granular("column", "column", rows="grouped"),
    "one_bit_psums": granular("column", "column", bits=1),
    "three_levels": granular("column", "column", bits=1.5),
    "slice_scales": granular("column", "column", weights={**UNIFORM["weights"], "slice_scales": True}),
    "differential": granular("column", "column", digits="differential"),
    "twos_complement": granular("array", "column", digits="twos_complement"),
    "closed_form": {"weights": {"kind": "binary"}, "activations": {"bits": 2}, "converter": {"bits": 4}},
    "centred": {
        "weights": {"kind": "binary", "method": "centred"},
        "activations": {"bits": 2},
        "converter": {"bits": 4},
    },
    "xnor_channel": {
        "weights": {"kind": "binary", "method": "xnor", "granularity": "channel"},
        "activations": {"bits": 1},
        "converter": {"bits": 4},
    },
    "wide_sums": {
        "weights": {"kind": "binary"},
        "activations": {"bits": 1, "image_bits": 8, "digital_bits": 8},
        "converter": {"bits": 4},
    },
    "nonlinear": {**UNIFORM, "converter": {"kind": "nonlinear", "bits": 3, "granularity": "column"}},
    "as_the_chip": {**UNIFORM, "converter": {"kind": "arch"}},
    "ends_in_float": granular("column", "column", layers={end: {"place": "digital"} for end in ENDS}),
    "ends_in_8_bits": granular("column", "layer", layers={end: {"place": "digital", "bits": 8} for end in ENDS}),
    "layers_of_their_own": granular(
        "layer",
        "layer",
        bits=4,
        layers={
            "(first)": {
                "weights": {"bits": 2, "granularity": "column"},
                "converter": {"bits": 3, "granularity": "column"},
            },
            "(last)": {"activations": {"bits": 2}, "converter": {"granularity": "array"}},
        },
    ),
    "binary_between_float_ends": {
        "weights": {"kind": "binary"},
        "activations": {"bits": 4, "digital_bits": 8},
        "converter": {"bits": 5},
        "layers": {end: {"place": "digital"} for end in ENDS},
    },
}


@pytest.fixture(scope="module")
def network():
    return tiny_resnet(widths=(6, 8), blocks=1)


def convert(network, images, scheme, chip=CHIP, **options):
    from cimemu.adapt.convert import convert as made

    return made(network, cimemu.load_arch("rram_128", chip), scheme, calibration=images, **options)


def trained(module, data):
    train(module, data, TRAIN, hooks=Hooks(before_step=lambda m, number, share: m.begin_step(number, share)))
    return module.eval()


def differing(module, images):
    from cimemu.adapt.exact import compare_with_emulator

    rows = compare_with_emulator(module, images)
    assert len(rows) == len(module.macro_names)
    assert all(row.psums and row.codes and row.outputs for row in rows)
    return sum(row.differ for row in rows)


QUICK = (
    "ends_in_float",
    "layers_of_their_own",
    "array_array",
    "column_column",
    "one_bit_psums",
    "slice_scales",
    "differential",
    "closed_form",
    "nonlinear",
)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SCHEMES])
def test_inference_is_the_chip_to_the_integer(name, network, tiny_train, tiny_test):
    chip = CHIP | ({"macro.cell.bits": 1} if name == "twos_complement" else {})
    scheme = first_steps(name) if name in QUICK else SCHEMES[name]
    module = convert(network, tiny_train.inputs(slice(0, 32)), scheme_of({"name": name, **scheme}), chip)
    images = tiny_test.inputs(slice(0, 8))
    assert differing(module, images) == 0
    assert differing(trained(module, tiny_train), images) == 0


@pytest.fixture(scope="module")
def resnet20():
    """ResNet-20 in depth and widths (16, 32, 64 channels, 20 macro layers), for 8x8 images, weights drawn."""
    import torch

    from cimemu.adapt.resnet import make_resnet
    from cimemu.adapt.scratch import float_network

    torch.manual_seed(0)
    return float_network(make_resnet(20, classes=3), (3, 8, 8))


def first_steps(name):
    """The scheme with first steps that are found at once: how they are found is not what is held here."""
    tree = {part: dict(keys) if isinstance(keys, dict) else keys for part, keys in SCHEMES[name].items()}
    for part in ("weights", "activations"):
        if tree.get(part, {}).get("method") == "mse":
            del tree[part]["method"]
    return tree


SOME = ("column_column", "differential", "closed_form", "nonlinear")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in SOME)) for name in SCHEMES]
)
def test_a_resnet20_is_the_chip_to_the_integer_on_many_images(name, resnet20, tiny_train):
    """Before and after four steps of training, in arrays of 128 rows: codes, psums and outputs of every layer."""
    chip = {"macro.cell.bits": 1 if name == "twos_complement" else 2, "macro.input.dac_bits": 4}
    images = make_images(64 if name == "column_column" else 16, 2).inputs()
    with repeatable(threads=1):
        module = convert(
            resnet20, tiny_train.inputs(slice(0, 16)), scheme_of({"name": name, **first_steps(name)}), chip
        )
        assert len(module.macro_names) + len(module.digital_names) == 20
        assert differing(module, images) == 0
        assert differing(trained(module, tiny_train), images) == 0


@pytest.mark.parametrize("changes", [{"macro.input.dac_bits": 1}, {"macro.cell.bits": 4}, {"macro.active_rows": 16}])
def test_bit_serial_inputs_whole_weights_and_raised_groups_are_exact(changes, network, tiny_train, tiny_test):
    module = convert(network, tiny_train.inputs(slice(0, 32)), SCHEMES["column_column"], CHIP | changes)
    assert differing(trained(module, tiny_train), tiny_test.inputs(slice(0, 4))) == 0


def test_the_training_forward_is_the_chip_but_for_rounding(network, tiny_train, tiny_test):
    import torch

    fine = granular("column", "column", bits=8)
    module = convert(
        network,
        tiny_train.inputs(slice(0, 64)),
        {**fine, "activations": {"bits": 8}},
        CHIP | {"macro.input.dac_bits": 8},
    )
    x = torch.from_numpy(tiny_test.inputs(slice(0, 32)))
    chip = module(x)
    module.train()
    for macro in module.macros:
        if macro.norm is not None:
            macro.norm.eval()
    with torch.no_grad():
        soft = module(x)
    assert float((soft - chip).abs().mean()) < 0.03 * float(chip.std())


def test_an_exported_file_runs_as_the_module_does(network, tiny_train, tiny_test, tmp_path):
    import torch

    from cimemu.adapt.export import export
    from cimemu.compute.forward import Emulator
    from cimemu.importer import load_network
    from cimemu.lower import lower

    module = convert(network, tiny_train.inputs(slice(0, 32)), SCHEMES["column_column"])
    export(module, tmp_path / "network.onnx")
    images = tiny_test.inputs(slice(0, 16))
    emulator = Emulator(lower(load_network(tmp_path / "network.onnx")), module.arch.macro)
    (output,) = emulator.network.outputs
    assert np.array_equal(emulator.run([images]).tensors[output], module(torch.from_numpy(images)).numpy())


def test_training_lowers_the_loss_and_gradients_reach_every_parameter(network, tiny_train):
    module = convert(network, tiny_train.inputs(slice(0, 32)), SCHEMES["slice_scales"])
    first = {name: value.detach().clone() for name, value in module.named_parameters()}
    rows = train(module, tiny_train, TRAIN.model_copy(update={"epochs": 3, "images_per_epoch": 192}))
    assert rows[-1]["loss"] < rows[0]["loss"]
    still = [name for name, value in module.named_parameters() if bool((value.detach() == first[name]).all())]
    assert still == []


def test_public_gradient_reaches_weights_through_the_lowest_slice_alone(network):
    import torch

    from cimemu.adapt.digits import seen_by_converters

    macro = cimemu.load_arch("rram_128", CHIP | {"macro.weight.bits": 4}).macro
    for gradient, wanted in (("public", [1.0, 0.0]), ("proper", [0.5, 0.125])):
        w = torch.tensor([[-3.0, 5.0]], requires_grad=True)
        seen = seen_by_converters(w, macro, gradient).digits
        slopes = [torch.autograd.grad(seen[0, v, 0], w, retain_graph=True)[0][0, 0].item() for v in range(2)]
        assert slopes == wanted
        assert seen[0, :, 0].tolist() == [1.0, 1.0]  # -3 + 8 = 5
        assert seen[0, :, 1].tolist() == [1.0, 3.0]  # 5 + 8 = 13


def test_code_parity_trains_but_is_never_exported(network, tiny_train, tmp_path):
    from cimemu.adapt.export import export

    module = convert(network, tiny_train.inputs(slice(0, 32)), SCHEMES["column_column"], code_parity=True)
    module.train()
    module(__import__("torch").from_numpy(tiny_train.inputs(slice(0, 4)))).sum().backward()
    with pytest.raises(CimemuError, match="code_parity = true: every array sees all channels"):
        export(module, tmp_path / "network.onnx")


def test_what_cannot_be_trained_is_one_line(network, tiny_train):
    images = tiny_train.inputs(slice(0, 8))
    with pytest.raises(CimemuError, match="gradient = 'full', must be one of proper, public"):
        convert(network, images, SCHEMES["layer_layer"], gradient="full")
    with pytest.raises(
        CimemuError, match=r"weights\.method = exact has no gradient: train closed_form, centred or xnor"
    ):
        convert(network, images, {"weights": {"kind": "binary", "method": "exact"}})
    with pytest.raises(CimemuError, match="model: int given"):
        convert(3, images, SCHEMES["layer_layer"])
