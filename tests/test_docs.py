"""The documentation builds without a warning, its links lead somewhere, and the README stays a page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)")


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "runner" / "halts" / "index.html").exists()


def test_the_readme_is_a_page_whose_links_exist():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 160
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_the_tree_in_the_readme_names_every_room():
    tree = (ROOT / "README.md").read_text("utf-8").split("## The tree\n")[1].split("\n## ")[0]
    rooms = {path.parent.name for path in (ROOT / "delta_arb").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"^ {8}(\w+)/", tree, flags=re.MULTILINE))


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "rooms").glob("*.md")), ids=lambda page: page.stem)
def test_the_modules_that_a_rooms_page_sends_a_reader_to_exist(page):
    start = page.read_text("utf-8").partition("Start with ")[2].split("\n\n")[0]
    room = ROOT / "delta_arb" / page.stem
    known = {str(path.relative_to(room).with_suffix("")) for path in room.rglob("*.py")}
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)?)`", start)
    assert named and set(named) <= known


def test_every_room_has_a_page():
    rooms = {path.parent.name for path in (ROOT / "delta_arb").glob("*/__init__.py")}
    assert rooms == {page.stem for page in (ROOT / "docs" / "rooms").glob("*.md")}
