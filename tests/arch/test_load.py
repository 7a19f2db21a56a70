"""Architecture files: presets, overrides, and every mistake in one line."""

import pytest

import cimemu
from cimemu.arch.load import parse_override, preset_folder

PUBLISHED = ["cityu_imadc_2026", "isaac_isca_2016", "jia_jssc_2020", "kim_isocc_2019", "neurram_like"]
PUBLISHED += ["sinangil_jssc_2021", "wang_vlsi_2022"]
PRESETS = sorted(["digital_cim", "fefet_128", "isaac", "nycu_256", "rram_128", "sram_128", "sram_256", *PUBLISHED])


def test_the_presets_are_these():
    assert [name for name, _ in cimemu.list_archs()] == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_loads_by_name_and_by_path_and_says_where_its_numbers_come_from(name):
    arch = cimemu.load_arch(name)
    assert arch == cimemu.load_arch(preset_folder() / f"{name}.yaml")
    assert arch == cimemu.Arch.model_validate(arch.model_dump(mode="json"))
    assert arch.name == name
    assert len(arch.source) > 40
    assert arch.title


def test_the_default_is_what_the_specification_says():
    macro = cimemu.load_arch("rram_128").macro
    assert (macro.rows, macro.columns, macro.active_rows, macro.columns_per_adc) == (128, 128, 128, 8)
    assert (macro.cell.bits, macro.input.dac_bits, macro.weight.bits, macro.input.bits) == (1, 1, 8, 8)
    assert macro.weight.encoding == "offset"


def test_the_other_presets_are_what_they_say():
    sram = cimemu.load_arch("sram_256").macro
    assert (sram.rows, sram.columns, sram.raised_rows) == (256, 256, 256)
    isaac = cimemu.load_arch("isaac")
    assert (isaac.macro.cell.bits, isaac.macro.adc.bits, isaac.macro.columns_per_adc) == (2, 8, 128)
    # one conversion a cycle at 1.28 GS/s: 128 columns in 100 ns
    assert isaac.macro.adc.conversion_cycles() * 128 * isaac.clock_ns == pytest.approx(100)
    digital = cimemu.load_arch("digital_cim").macro
    assert (digital.cell.kind, digital.adc.model) == ("digital", "ideal")


def test_overrides_are_dotted_and_a_mapping_replaces_the_whole_sub_tree():
    arch = cimemu.load_arch("rram_128", {"macro.adc.bits": 6, "clock_ns": 2})
    assert (arch.macro.adc.bits, arch.macro.adc.lsb, arch.clock_ns) == (6, 1, 2)
    arch = cimemu.load_arch("rram_128", {"macro.adc": {"model": "linear", "bits": 5}})
    assert arch.macro.adc.bits == 5
    arch = cimemu.load_arch("rram_128", {"macro.timing": {"overlap": True}})
    assert arch.macro.timing.wordline_cycles == 1
    assert cimemu.load_arch("rram_128", {"macro.adc": "ideal"}).macro.adc.model == "ideal"


def test_an_override_on_the_command_line_is_yaml():
    assert parse_override("macro.adc.bits=6") == ("macro.adc.bits", 6)
    assert parse_override("macro.timing={overlap: true}") == ("macro.timing", {"overlap": True})
    with pytest.raises(cimemu.ArchError, match="KEY=VALUE"):
        parse_override("macro.adc.bits")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"macro.rows": 0}, "arch/rram_128.yaml: macro.rows = 0, must be >= 1"),
        ({"macro.rowz": 4}, "macro.rowz = 4, no such key; did you mean rows?"),
        ({"macro.adc.bitz": 4}, "macro.adc.bitz = 4, no such key; did you mean bits?"),
        ({"macro.rows": "many"}, "macro.rows = 'many'"),
        ({"macro.active_rows": 200}, "active_rows = 200, must be <= rows = 128"),
        ({"macro.adc.model": "flash"}, "model: one of ideal, linear, nonlinear"),
        ({"macro.adc.lsb": 0}, "lsb = 0.0 must be > 0"),
        ({"macro.weight.bits": 10}, "macro.weight.bits = 10, must be <= 9"),
        ({"macro.input.signed": True, "macro.input.dac_bits": 2}, "dac_bits = 2, need dac_bits = 1"),
        ({"clock_ns": -1}, "clock_ns = -1, must be > 0"),
        ({"schedule": "magic"}, "schedule = 'magic'"),
        ({"clock_ns.x": 1}, "has no keys below it"),
        ({"macro.cell.kind": "digital"}, "needs adc: ideal"),
    ],
)
def test_a_wrong_override_names_file_key_value_and_rule(overrides, message):
    with pytest.raises(cimemu.ArchError) as caught:
        cimemu.load_arch("rram_128", overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BOMB = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b]\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "aliases are not allowed"),
        ("- 1\n- 2\n", "must be an architecture file"),
        ("name: x\nname: y\n", "given twice"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("a: [1, 2\n", "not valid YAML at line"),
        ("[" * 5000, "not valid YAML"),
        ("", "must be an architecture file"),
        ("name: x\n", "missing"),
        (b"\xff\xfe\x00\x81", "cannot be read as text"),
        ("# " + "x" * 2_000_000, "must be <= 1048576"),
    ],
)
def test_a_hostile_or_broken_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "chip.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(cimemu.ArchError) as caught:
        cimemu.load_arch(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "no/such.yaml"])
def test_a_missing_file_or_preset_says_what_there_is(name):
    with pytest.raises(cimemu.ArchError, match=r"presets"):
        cimemu.load_arch(name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("macro.input.bits", True),
        ("clock_ns", True),
        ("macro.active_rows", False),
        ("name", True),
        ("chip.tiles", True),
    ],
)
def test_a_yes_or_no_is_no_number(key, value):
    with pytest.raises(cimemu.ArchError, match=f"{key.split('.')[-1]} = {str(value).lower()}, must be a (number|text)"):
        cimemu.load_arch("rram_128", {key: value})
