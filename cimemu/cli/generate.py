"""`cimemu generate`: tokens by a decoder, whose caches are fed back."""

from typing import Annotated

import typer

from cimemu.cli.app import (
    ArchName,
    FloatLayersOption,
    JsonOption,
    NetworkOption,
    SeedOption,
    SetOption,
    TrialOption,
    VaryOption,
    WorkloadName,
    app,
    arch_of,
    refuse_fixed,
    whole,
    workload_of,
)
from cimemu.cli.bare import (
    CalibrationOption,
    InputShapeOption,
    InputsOption,
    InputValueOption,
    given_of,
    once,
    print_each,
    product_notes,
)
from cimemu.errors import WorkloadError
from cimemu.terminal import make_console, print_json


@app.command()
def generate(
    arch: ArchName,
    workload: WorkloadName,
    prompt: Annotated[
        str, typer.Option("--prompt", metavar="NAME=5,17,2", help="the prompt's tokens, and the input that takes them")
    ],
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", callback=whole(1, 65536), help="tokens that are written behind it")
    ] = 32,
    feedback: Annotated[
        list[str] | None,
        typer.Option(
            "--feedback",
            metavar="OUTPUT=INPUT",
            help="an output that is an input of the next step, again for more; default: by the names, present and past",
        ),
    ] = None,
    position: Annotated[
        str | None,
        typer.Option("--position", metavar="INPUT", help="the input that counts the steps; default: by its name"),
    ] = None,
    stop: Annotated[
        int | None, typer.Option("--stop", metavar="TOKEN", callback=whole(0, 2**31), help="the token that ends a text")
    ] = None,
    overrides: SetOption = None,
    network_file: NetworkOption = None,
    inputs_file: InputsOption = None,
    calibration_file: CalibrationOption = None,
    input_shape: InputShapeOption = None,
    input_value: InputValueOption = None,
    float_layers: FloatLayersOption = None,
    vary: VaryOption = None,
    seed: SeedOption = 0,
    trial: TrialOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Have a decoder write tokens behind a prompt, a token a step, and say what they take."""
    from cimemu.generation import generate as write
    from cimemu.growing import lengths_of
    from cimemu.prepare import quantized_network

    name, given_tokens = _prompt(prompt)
    given = given_of(inputs_file, None, calibration_file, input_shape, None, input_value)
    chip, work = arch_of(arch, overrides), workload_of(workload, network_file, given, float_layers)
    texts = {name: [given_tokens]}
    fed_back = None if feedback is None else once("--feedback", [_pair(text) for text in feedback])
    lengths = lengths_of(work, chip, texts, tokens, feedback=fed_back, position=position)
    network = lengths.at(0) if lengths else quantized_network(work, chip)
    refuse_fixed(network, overrides)
    made = write(
        chip,
        lengths or network,
        texts,
        tokens,
        feedback=fed_back,
        position=position,
        stop=stop,
        seed=seed,
        trial=trial,
        vary=vary or (),
    )
    written = [int(token) for token in made.tokens[0]]
    summary = {
        "tokens": written,
        "steps": made.steps,
        "cycles": made.cycles,
        "energy_uj": made.energy_uj,
        "cycles_per_token": made.cycles / made.steps,
        "energy_uj_per_token": made.energy_uj / made.steps,
        "macs": made.macs,
    }
    notes = product_notes(network)
    if lengths and lengths.observed and calibration_file is None:
        notes.append(
            "ranges of activations are those of the text that the float network writes behind the prompt; give other texts "
            "with --calibration FILE.npz"
        )
    if as_json:
        print_json({**summary, **({"notes": notes} if notes else {})})
        return
    for key, value in summary.items():
        shown = ",".join(map(str, written)) if key == "tokens" else value
        make_console().print(f"{key}: {shown}", highlight=False, markup=False, soft_wrap=True)
    print_each(notes)


def _prompt(text: str) -> tuple[str, list[int]]:
    """(input, tokens) of NAME=5,17,2."""
    name, _, numbers = text.rpartition("=")
    try:
        tokens = [int(number) for number in numbers.split(",")]
    except ValueError:
        tokens = []
    if not name or not tokens or not all(0 <= token < 2**31 for token in tokens):
        raise WorkloadError(f"--prompt {text}: must be NAME=5,17,2, an input of the network and tokens from 0")
    return name, tokens


def _pair(text: str) -> tuple[str, str]:
    output, _, name = text.partition("=")
    if not output or not name:
        raise WorkloadError(f"--feedback {text}: must be OUTPUT=INPUT")
    return output, name
