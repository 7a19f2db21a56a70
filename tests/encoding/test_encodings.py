"""The four weight encodings, and one that a page of the manual adds, hold to the same properties."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import yaml
from pages import ROOT, blocks

import cimemu
from cimemu import plugins
from cimemu.encoding import BUILT_IN, find
from cimemu.macro.naive_encoding import levels_naive
from cimemu.testing import check_encoding

PAGE = ROOT / "cimemu/docs/extend/encoding.md"
CODE = next(block.body for block in blocks(PAGE) if block.label == "python" and "class " in block.body)
PROPERTIES = ["law", "product", "twins", "golden vectors", "training"]
TREE = {"rows": 16, "columns": 64, "weight": {"bits": 4, "encoding": "csd"}, "input": {"bits": 4}}


@pytest.fixture
def csd(tmp_path):
    """The file of the page, loaded."""
    path = tmp_path / "csd.py"
    path.write_text(CODE)
    cimemu.load_plugin(str(path))
    yield path
    plugins.forget(path)


def properties(name, **options):
    """What was checked; the training forward is left out with a reason where torch is not installed."""
    lines = check_encoding(name, **options)
    assert [line.partition(":")[0] for line in lines] == PROPERTIES
    assert ("left out" in lines[-1]) == (importlib.util.find_spec("torch") is None)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_encoding_holds_to_every_property(name):
    properties(name, macros=4)


@pytest.mark.slow
def test_every_block_of_the_page_runs_and_its_encoding_holds_to_every_property(csd, monkeypatch, capsys):
    monkeypatch.chdir(csd.parent)
    assert len(CODE.splitlines()) < 80
    (tree,) = [yaml.safe_load(block.body) for block in blocks(PAGE) if block.label == "yaml"]
    macro = cimemu.Macro.model_validate(TREE | {"rows": 8, **tree["macro"]})
    assert macro.weight.encoding == "csd"
    names = {}
    for block in blocks(PAGE):
        if block.label == "python" and block.body != CODE:
            exec(compile(block.body, PAGE.name, "exec"), names)
    assert names["arch"].macro.weight.encoding == "csd"
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed] == PROPERTIES
    assert "law: 9 widths" in printed


def test_no_two_neighbouring_digits_of_the_page_s_encoding_are_both_on(csd):
    for w in find("csd").values(8):
        levels = np.array(list(find("csd").digits(w, 8, 1)))
        on = levels[:8] + levels[8:]
        assert on.max() <= 1
        assert not (on[1:] & on[:-1]).any()


def test_levels_that_no_cell_holds_are_told_with_what_cells_hold(csd, monkeypatch):
    macro, kind = cimemu.Macro.model_validate(TREE), type(find("csd"))
    right = kind.digits
    monkeypatch.setattr(kind, "digits", lambda self, *given: [2 * level for level in right(self, *given)])
    with pytest.raises(
        cimemu.ArchError, match=r"encoding csd: weight 3 .*, must be the weight, of levels 0 \.\. 1; see"
    ):
        levels_naive(3, macro)


def test_an_encoding_is_named_by_its_file(tmp_path):
    path = tmp_path / "signed.py"
    path.write_text(CODE.replace('"csd"', '"signed"').replace("csd with", "signed with"))
    try:
        macro = cimemu.Macro.model_validate(TREE | {"weight": {"bits": 4, "encoding": f"{path}:CanonicalSignedDigits"}})
        assert macro.weight.encoding == "signed"
        assert cimemu.mvm(np.ones((1, 2), int), np.array([[-8], [7]]), macro).y.tolist() == [[-1]]
        arch = cimemu.load_arch("rram_128", {"macro.weight.encoding": "signed"})
        assert arch.macro.columns_per_output == 16
        with pytest.raises(cimemu.CimemuError, match=r"^[^\n]*signed with cell.bits = 2, needs cell.bits = 1$"):
            cimemu.load_arch("rram_128", {"macro.weight.encoding": "signed", "macro.cell.bits": 2})
    finally:
        plugins.forget(path)


def test_an_installed_package_brings_its_encoding(tmp_path):
    (tmp_path / "digits_of_csd.py").write_text(CODE)
    about = tmp_path / "digits_of_csd-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: digits-of-csd\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[cimemu.encoding]\ncsd = digits_of_csd:CanonicalSignedDigits\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"import cimemu, numpy as np; macro = cimemu.Macro.model_validate({TREE})\n"
        "from cimemu.plugins import origin_of\n"
        "print(origin_of(type(macro.encoding)), cimemu.mvm(np.ones((1, 2), int), np.array([[-8], [7]]), macro, path='naive').y)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.stdout == "digits-of-csd 1.2 [[-1]]\n", done.stderr


BROKEN = {
    "no parts": ("def parts", "def portions", "TypeError: encoding csd lacks parts"),
    "no values": ("def values", "def numbers", "encoding CanonicalSignedDigits lacks values"),
    "no summary": ("summary =", "about =", "encoding CanonicalSignedDigits lacks summary"),
    "a taken name": ('name = "csd"', 'name = "offset"', "'offset' has the name of one of cimemu itself"),
}
WRONG = {
    "a sign lost": ("half & digits\n", "w * 0\n", r"weight -8 is stored as levels .* decode to 0; levels must be 0 \.\. 1"),
    "too few sides": ("sides = 2", "sides = 1", r"digits\(\) gives 8 arrays .* must be 4"),
    "numpy alone": ("half = w >> 1", "half = w.astype(int) >> 1", r"AttributeError for weight.bits = 4.*; correct it"),
    "no range": ("return range(", "return list, (", r"values\(\) = .* must be an ascending range"),
    "one side": ("sides = 2", "sides = 2; one_side_at_a_time = True", "on both sides"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_defines_no_whole_encoding_is_one_line(case, tmp_path):
    before, after, said = BROKEN[case]
    path = tmp_path / "broken.py"
    path.write_text(CODE.replace(before, after))
    with pytest.raises(cimemu.CimemuError, match=rf"^plug-in [^\n]*{said}[^\n]*$"):
        cimemu.load_plugin(str(path))


@pytest.mark.parametrize("case", WRONG)
def test_an_encoding_that_contradicts_itself_is_refused_by_the_architecture_and_by_the_check(case, tmp_path):
    before, after, said = WRONG[case]
    path = tmp_path / "wrong.py"
    assert before in CODE
    path.write_text(CODE.replace(before, after))
    cimemu.load_plugin(str(path))
    try:
        with pytest.raises(cimemu.ArchError, match=rf"^Macro: encoding csd: [^\n]*{said}[^\n]*$"):
            cimemu.Macro.model_validate(TREE)
        with pytest.raises(AssertionError, match=r"^encoding csd: [^\n]*$"):
            check_encoding("csd")
    finally:
        plugins.forget(path)


def test_an_encoding_that_no_one_knows_is_named_with_those_that_are(csd):
    known = "'offset', 'twos_complement', 'differential', 'binary' or 'csd'"
    for name in ("cds", 3, None, ["offset"]):
        with pytest.raises(cimemu.ArchError, match=rf"^Macro: weight.encoding = .*, must be {known}$"):
            cimemu.Macro.model_validate(TREE | {"weight": {"bits": 4, "encoding": name}})
    with pytest.raises(cimemu.CimemuError, match=rf"^encoding 'cds': must be {known}"):
        check_encoding("cds")
    scheme = cimemu.scheme_of("layer", {"digits": "csd", "weights.bits": 4})
    arch = cimemu.load_arch("rram_128")
    assert scheme.overrides(arch.macro)["macro.weight.encoding"] == "csd"
    with pytest.raises(cimemu.WorkloadError, match=r"digits = 'binary', must be 'arch', 'offset', .* or 'csd'$"):
        cimemu.scheme_of("layer", {"digits": "binary"})
