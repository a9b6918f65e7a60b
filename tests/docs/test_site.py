"""The site: it builds without a warning, asks nothing of any other server, and its reference is complete."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from study.settings.schema import ArmConfig, StudyConfig
from tests.docs.blocks import ROOT
from trainables.cohort.pairs import GRID_TOLERANCE

MKDOCS = Path(sys.executable).with_name("mkdocs")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run([MKDOCS, "build", "--strict", "--site-dir", out], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in (*pages, *site.rglob("*.css")):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*\bsrc="?([^" >]+)|<link[^>]*\bhref="?([^" >]+)', text)
        loaded += [(url, "") for url in re.findall(r"url\(([^)]+)\)|@import ", text)]
        assert not [url for pair in loaded for url in pair if re.match(r"['\"]?(https?:)?//", url)], page.name


def test_the_reference_has_every_key_and_every_command(site):
    configuration = (site / "configuration.html").read_text(encoding="utf-8")
    for key in (*StudyConfig.model_fields, *ArmConfig.model_fields):
        assert f"<code>{key}</code>" in configuration
    assert "Under how many of the study's seeds" in configuration  # what the source says below the key
    assert "largest deviation of the coils" in configuration  # and beside it
    commands = (site / "commands.html").read_text(encoding="utf-8")
    for name in ("run", "estimate", "launch", "cohort check"):
        assert f'id="cov-study-{name.replace(" ", "-")}"' in commands


def test_what_is_written_by_hand_is_in_the_navigation_and_nothing_twice():
    navigation = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(navigation) == sorted(set(navigation))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= set(navigation)


def test_the_page_on_files_says_how_far_grids_may_differ():
    page = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
    assert f"up to {GRID_TOLERANCE:g} of the smallest voxel side" in page
