"""The site of the pages, and what goes with a release: every page is in it, and it builds without a warning."""

import importlib.util
import re
import subprocess
import sys
from importlib.util import find_spec
from xml.etree import ElementTree

import pytest
import yaml
from pages import ROOT

import cimemu

DOCS = ROOT / "cimemu/docs"


def pages_of(nav):
    for entry in nav:
        for value in entry.values():
            yield from pages_of(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_site_once():
    config = yaml.safe_load((ROOT / ".mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(pages_of(config["nav"]))
    assert len(listed) == len(set(listed))
    kept = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert set(listed) == kept | {"index.md", "reference.md"}  # these two are made by .site/hooks.py


@pytest.mark.slow
@pytest.mark.skipif(find_spec("material") is None, reason="needs the extra docs")
def test_the_site_builds_without_a_warning(tmp_path):
    words = [
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        str(ROOT / ".mkdocs.yml"),
        "--site-dir",
        str(tmp_path),
    ]
    ran = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    front = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="manual/first-run/"' in front
    reference = (tmp_path / "reference/index.html").read_text(encoding="utf-8")
    assert [name for name in cimemu.__all__ if name != "__version__" and name not in reference] == []


def test_all_places_that_name_the_version_name_this_one():
    cited = yaml.safe_load((ROOT / ".github/CITATION.cff").read_text(encoding="utf-8"))
    assert str(cited["version"]) == cimemu.__version__
    (bibtex,) = re.findall(r"version = \{([^}]*)\}", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert bibtex == cimemu.__version__


def test_the_image_copies_what_the_package_is_built_of():
    text = (ROOT / ".docker/Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (.+) \S+$", text, re.M)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
    packaged = re.findall(r'^"(\w+)" = "cimemu/_presets', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert set(packaged) <= set(" ".join(copied).split())


DRAWINGS = sorted((DOCS / "figures").glob("*.svg"))


def drawing_script():
    spec = importlib.util.spec_from_file_location("draw", ROOT / ".site/draw.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_drawings_are_what_the_script_draws_and_each_stands_in_a_page_with_a_text():
    script = drawing_script()
    assert {path.stem for path in DRAWINGS} == set(script.DRAWINGS)
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    for path in DRAWINGS:
        assert path.read_text(encoding="utf-8") == script.DRAWINGS[path.stem]().svg(), "run: python .site/draw.py"
        assert re.search(rf"!\[.{{40,}}\]\(\.\./figures/{path.name}\)", pages), path.name


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_a_drawings_texts_lie_inside_it(path):
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    *_, width, height = map(float, root.get("viewBox").split())
    texts = list(root.iter("{http://www.w3.org/2000/svg}text"))
    assert len(texts) > 5
    for text in texts:
        x, y, long = float(text.get("x")), float(text.get("y")), len(text.text) * int(text.get("font-size")) * 0.56
        start = x - {"start": 0, "middle": long / 2, "end": long}[text.get("text-anchor")]
        assert start >= 0, text.text
        assert start + long <= width, text.text
        assert 0 < y < height, text.text


@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
def test_a_drawings_colours_can_be_told_from_its_ground(place):
    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    colours = {name: light(pair[place]) for name, pair in drawing_script().COLOURS.items()}
    for ground in ("ground", "box"):
        for name, least in {"ink": 7, "soft": 4.5, "line": 3, "blue": 3, "orange": 3, "green": 3, "violet": 3}.items():
            high, low = sorted((colours[name], colours[ground]), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (name, ground)
