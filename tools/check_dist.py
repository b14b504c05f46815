#!/usr/bin/env python3
"""Check that a wheel and an sdist hold all files that they should hold, and no others.

    python tools/check_dist.py dist

The wheel should hold every module, the scripts and styles of pages, `py.typed`, the weights with their pinned hashes,
and the licence; the sdist should hold every file that git tracks. The tool also prints sizes. Exit codes: 0 if both are
as expected, 1 otherwise.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = re.compile(r"PKG-INFO|edgel3_np\.egg-info/.*")
NOT_SHIPPED = {".gitignore"}


def wheel_problems(path, pinned):
    """Find what is wrong with a wheel.

    Parameters
    ----------
    path : Path
    pinned : dict of str to str
        sha256 of the weight file of each bundled model.

    Yields
    ------
    problem : str
    """
    modules = [file for ending in ("py", "js", "css") for file in (ROOT / "edgel3_np").rglob(f"*.{ending}")]
    expected = {file.relative_to(ROOT).as_posix() for file in modules} | {"edgel3_np/py.typed"}
    expected |= {f"edgel3_np/_weights/{file.name}" for file in (ROOT / "weights").iterdir() if file.is_file()}
    info = "-".join(path.name.split("-")[:2]) + ".dist-info"
    names = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    expected |= {f"{info}/{name}" for name in names}
    with zipfile.ZipFile(path) as archive:
        yield from differences(path.name, set(archive.namelist()), expected)
        for name, sha256 in pinned.items():
            member = f"edgel3_np/_weights/{name}.npz"
            if member in archive.namelist() and hashlib.sha256(archive.read(member)).hexdigest() != sha256:
                yield f"{path.name}: {member}: expected sha256 {sha256}, found another"


def sdist_problems(path, tracked):
    """Yield what is wrong with an sdist, which should hold the files that git tracks."""
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2] for member in archive if member.isfile()}
    found = {name for name in members if not GENERATED.fullmatch(name)}
    yield from differences(path.name, found, tracked - NOT_SHIPPED)


def differences(where, found, expected):
    """Yield a text for each name that is missing, and for each that should not be there."""
    yield from (f"{where}: expected {name}, found none" for name in sorted(expected - found))
    yield from (f"{where}: expected no {name}, found one" for name in sorted(found - expected))


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Check the files in the wheel and the sdist of a directory.")
    parser.add_argument("dist", type=Path, help="directory that holds one wheel and one sdist")
    folder = parser.parse_args(arguments).dist
    sys.path.insert(0, str(ROOT))
    from edgel3_np.weights.registry import BUNDLED_SHA256

    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if (len(wheels), len(sdists)) != (1, 1):
        print(f"{folder}: expected one wheel and one sdist, found {len(wheels)} and {len(sdists)}", file=sys.stderr)
        return 1
    problems = list(wheel_problems(wheels[0], BUNDLED_SHA256))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if listed.returncode == 0:
        problems += sdist_problems(sdists[0], set(listed.stdout.split("\n")) - {""})
    else:
        print("not a git checkout: the sdist is not compared", file=sys.stderr)
    for problem in problems:
        print(f"check_dist: {problem}", file=sys.stderr)
    for path in (*wheels, *sdists):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
