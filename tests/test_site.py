"""The site of the pages, and what goes with a release: every page is in it, and it builds without a warning."""

import re
import subprocess
import sys
from importlib.util import find_spec

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
