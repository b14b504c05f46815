#!/usr/bin/env python3
"""Check what is in a wheel and an sdist: exactly what should be.

    python tools/check_dist.py dist

The wheel must hold every module, `py.typed`, the weights with their pinned hashes, and the licence; the sdist, every
file that git tracks. Prints sizes; exit codes: 0 as expected, 1 not.
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
    """What is wrong with a wheel: texts. `pinned`: sha256 of each model that ships."""
    expected = {f"edgel3_np/{file.name}" for file in (ROOT / "edgel3_np").glob("*.py")} | {"edgel3_np/py.typed"}
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
    """What is wrong with an sdist: texts."""
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2] for member in archive if member.isfile()}
    found = {name for name in members if not GENERATED.fullmatch(name)}
    yield from differences(path.name, found, tracked - NOT_SHIPPED)


def differences(where, found, expected):
    """Texts that tell two sets of names apart."""
    yield from (f"{where}: expected {name}, found none" for name in sorted(expected - found))
    yield from (f"{where}: expected no {name}, found one" for name in sorted(found - expected))


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Check what is in the one wheel and the one sdist of a directory.")
    parser.add_argument("dist", type=Path, help="the directory")
    folder = parser.parse_args(arguments).dist
    sys.path.insert(0, str(ROOT))
    from edgel3_np.metadata import SHIPPED

    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if (len(wheels), len(sdists)) != (1, 1):
        print(f"{folder}: expected one wheel and one sdist, found {len(wheels)} and {len(sdists)}", file=sys.stderr)
        return 1
    problems = list(wheel_problems(wheels[0], SHIPPED))
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
