"""The code of pages in docs/, run from top to bottom in an empty directory, prints what the pages show."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import edgel3_np

RUNNER = '''\
"""Runs blocks of [kind, code] in one namespace; writes what each printed. In a file: worker processes import it."""
import contextlib, io, json, subprocess, sys

if __name__ == "__main__":
    namespace, printed = {"__name__": "__main__"}, []
    for number, (kind, code) in enumerate(json.load(open("blocks.json"))):
        out = io.StringIO()
        if kind == "python":
            with contextlib.redirect_stdout(out):
                exec(compile(code, f"block {number}: {code[:200]!r}", "exec"), namespace)
        elif kind == "csv":
            open("page-labels.csv", "w").write(code)
        else:
            for command in json.loads(code):
                out.write(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout)
        printed.append(out.getvalue())
    json.dump(printed, open("printed.json", "w"))
'''


def sections(page):
    """Yield the title of each section and its blocks, which are pairs of a kind and a text."""
    for section in re.split(r"^## ", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.M)[1:]:
        yield section.partition("\n")[0], re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.M | re.S)


def command(line):
    """Turn a line of a console into arguments for this Python, this copy of the package and this checkout's tools."""
    words = line.split()
    words = [sys.executable, "-m", "edgel3_np", *words[1:]] if words[0] == "edgel3-np" else words
    words[0] = sys.executable if words[0] == "python" else words[0]
    return [str(ROOT / word) if word.startswith("tools/") else word for word in words]


@pytest.mark.parametrize("page", ["tutorial.md", "detector.md"])
def test_a_page_runs_from_top_to_bottom(page, tmp_path):
    for package in ("sklearn", "distributed", "pandas", "pyarrow"):
        pytest.importorskip(package, reason="the tutorial uses it")
    code, expected = [], []
    for title, blocks in sections(page):
        for kind, text in blocks:
            assert kind in ("python", "console", "text", "csv"), title
            if kind == "text":
                expected[-1] += text
            elif kind in ("python", "csv"):
                code.append((kind, text))
                expected.append("")
            else:
                lines = text.splitlines(keepends=True)
                code.append((kind, json.dumps([command(line[2:]) for line in lines if line.startswith("$ ")])))
                expected.append("".join(line for line in lines if not line.startswith("$ ")))
    (tmp_path / "run.py").write_text(RUNNER)
    (tmp_path / "blocks.json").write_text(json.dumps(code))
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    ran = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    printed = json.loads((tmp_path / "printed.json").read_text())
    for number, (kind, _) in enumerate(code):
        if kind == "console" and not expected[number]:  # the page does not show what a command prints
            expected[number] = printed[number]
    assert printed == expected
    shown = sum(kind == "text" for _, blocks in sections(page) for kind, _ in blocks)
    assert len(printed) >= 8 and sum(map(bool, printed)) >= shown >= 2  # otherwise this test misses blocks
