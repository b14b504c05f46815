"""The blocks of README.md run as they are printed, in order, from a clone; what they print is what the page shows."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import edgel3_np

README = ROOT / "README.md"
# What needs the network, a microphone, or minutes: the other tests run make, the installation and listen
NOT_HERE = ("make ", "pip install ", "edgel3-np install ", "edgel3-np listen ", "arecord ")


def blocks():
    """Return the blocks of the page: pairs of a kind and a text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.M | re.S)


def run_shell(text, folder):
    """Run the lines of a block of commands in a folder; return what they print."""
    printed = ""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if not words or line.startswith(NOT_HERE):
            continue
        assert words[0] in ("python", "edgel3-np"), line
        words = [sys.executable, *(["-m", "edgel3_np"] if words[0] == "edgel3-np" else []), *words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
        ran = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
        assert ran.returncode == 0, f"{line}: {ran.stderr}"
        printed += ran.stdout
    return printed


def test_every_block_runs_and_prints_what_the_page_shows(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="the page draws a picture")
    pytest.importorskip("sklearn", reason="the page trains a classifier")
    monkeypatch.chdir(tmp_path)
    for name in ("tools", "docs"):
        os.symlink(ROOT / name, tmp_path / name)
    printed, namespace, kinds = "", {}, []
    for kind, text in blocks():
        kinds.append(kind)
        if kind == "sh":
            printed = run_shell(text, tmp_path)
        elif kind == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, f"README.md: {text[:200]!r}", "exec"), namespace)
            printed = out.getvalue()
        elif kind == "text":
            missing = [line for line in text.splitlines() if line not in printed.splitlines()]
            assert not missing, printed
    assert kinds.count("python") >= 3 and kinds.count("sh") >= 3 and kinds.count("text") >= 3
    assert {"siren.png", "table.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_code_fits_into_80_columns():
    for page in (README, ROOT / "docs" / "tutorial.md", ROOT / "docs" / "detector.md"):
        for _, text in re.findall(r"^```(sh|python|console)\n(.*?)^```$", page.read_text("utf-8"), flags=re.M | re.S):
            long = [line for line in text.splitlines() if len(line) > 80]
            assert not long, page


def test_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (ROOT / target).exists(), target
