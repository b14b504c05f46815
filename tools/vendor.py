#!/usr/bin/env python3
"""Copy edgel3_np into another project: one folder that needs no installation.

    python tools/vendor.py myapp/_vendor                              # writes myapp/_vendor/edgel3_np, with pico-64
    python tools/vendor.py myapp/_vendor --models pico-64 sea-64 my.npz
    python tools/vendor.py myapp/_vendor --wav-only

The folder can be moved, renamed, nested in another package, put into a zip file and run from where nothing can be
written. Its VENDORED.txt says what it is and what it needs. An earlier copy is replaced; anything else is left alone.
"""

import argparse
import hashlib
import os
import shutil
import sys
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
try:
    import edgel3_np
except ImportError:  # a checkout that has not been installed
    sys.path.insert(0, str(ROOT))
    import edgel3_np

from edgel3_np.locate import DEFAULT, find_model
from edgel3_np.metadata import CONTRACT, SHIPPED
from edgel3_np.npz import read_file
from edgel3_np.plan import plan
from edgel3_np.weights import MAX_FILE_BYTES, parse_weights

NAME, NOTE = "edgel3_np", "VENDORED.txt"
MARK = f"{NAME}, vendored"  # how an earlier copy is told: the beginning of its note
# modules that need h5py, a network, matplotlib, torch or scikit-learn
LEFT_OUT = ("convert", "download", "install", "columns", "plot", "hear", "transformer")
WAV_ONLY = ("WAV_ONLY = False", "WAV_ONLY = True")  # a line of audio.py
NEEDS = {"numpy": "1.19.5", "scipy": "1.5.4", "soundfile": "0.12.1"}  # as in setup.cfg


def contents(models, wav_only):
    """Everything that goes into the folder, but the note.

    Parameters
    ----------
    models : list of str
        Names or paths.
    wav_only : bool

    Returns
    -------
    found : dict of str to bytes
        By path in the folder, with slashes.
    weights : dict of str to Weights
        By name under which the copy loads them.
    """
    found, weights = {"LICENSE": (ROOT / "LICENSE").read_bytes()}, {}
    for module in sorted(files(NAME).iterdir(), key=lambda file: file.name):
        name, _, ending = module.name.rpartition(".")
        if ending in ("py", "typed") and name not in LEFT_OUT:
            found[module.name] = module.read_bytes()
    if wav_only:
        before, after = (line.encode() for line in WAV_ONLY)
        if found["audio.py"].count(before) != 1:
            raise edgel3_np.EdgeL3Error(f"audio.py: expected one line {WAV_ONLY[0]!r}: is it of another version?")
        found["audio.py"] = found["audio.py"].replace(before, after)
    for model in models:
        path = Path(find_model(model))
        name, golden = path.stem, path.with_suffix(".golden.npy")
        content = read_file(path, MAX_FILE_BYTES)
        parsed = parse_weights(content, str(path))
        if SHIPPED.get(name) not in (None, parsed.sha256):
            raise edgel3_np.EdgeL3Error(f"{path}: expected the {name} of this version; give another one another name")
        if name in weights:
            raise edgel3_np.EdgeL3Error(f"--models: expected models of different names, found {name} twice")
        weights[name], found[f"_weights/{name}.npz"] = parsed, content
        if golden.is_file():
            found[f"_weights/{golden.name}"] = golden.read_bytes()
    return found, weights


def note(found, weights, wav_only):
    """The text of VENDORED.txt."""
    sparse = [
        name for name, parsed in weights.items() if any(layer.kernel == "sparse" for layer in plan(parsed).layers)
    ]
    needs = [f"numpy >= {NEEDS['numpy']}"]
    needs.append(f"scipy >= {NEEDS['scipy']} ({'for ' + ', '.join(sparse) if sparse else 'not for these models'})")
    if not wav_only:
        needs.append(f"soundfile >= {NEEDS['soundfile']} (for sound files; without it, WAV files only)")
    lines = [
        f"{MARK} by tools/vendor.py",
        "",
        f"version           {edgel3_np.__version__}",
        f"numeric contract  {CONTRACT}",
        f"needs             Python >= 3.9, {', '.join(needs)}",
        f"sound files       {'WAV, read by the copy itself' if wav_only else 'what libsndfile reads'}",
        f"left out          modules that need more: {', '.join(LEFT_OUT)}",
        "",
    ]
    for name, parsed in weights.items():
        lines += [
            f"model             {name}",
            f"  sha256          {parsed.sha256}",
            f"  licence         {parsed.provenance['license']}",
            f"  citation        {parsed.provenance['citation']}",
            "",
        ]
    lines.append("sha256 and path of each file (compare with `sha256sum --check VENDORED.txt`):")
    lines += [f"{hashlib.sha256(content).hexdigest()}  {path}" for path, content in sorted(found.items())]
    return "\n".join(lines) + "\n"


def write(folder, found):
    """Write files into a new folder, whole or not at all; an earlier copy makes place for it.

    Raises
    ------
    EdgeL3Error
        There is something else.
    OSError
        It cannot be written.
    """
    earlier = os.path.lexists(folder)
    if earlier and not _is_ours(folder):
        raise edgel3_np.EdgeL3Error(
            f"{folder}: expected nothing, or an earlier copy, found something else; move it away"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = os.urandom(8).hex()
    new, old = (folder.with_name(f".{NAME}.{token}.{end}") for end in ("new", "old"))
    try:
        for path, content in found.items():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            (new / path).write_bytes(content)
        if earlier:
            os.rename(folder, old)
        try:
            os.rename(new, folder)
        except BaseException:
            if earlier:
                os.rename(old, folder)
            raise
    finally:
        for rest in (new, old):
            shutil.rmtree(rest, ignore_errors=True)


def _is_ours(folder):
    with suppress(OSError, ValueError):
        return not folder.is_symlink() and (folder / NOTE).read_text(encoding="utf-8").startswith(MARK)
    return False


def main(arguments=None):
    """Run the command line; return its exit code: 0 done, 1 not done, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        description="Copy edgel3_np, with models, into one folder for another project.",
        epilog="Exit codes: 0 done, 1 not done, 2 wrong usage.",
    )
    parser.add_argument("dest", metavar="DEST", type=Path, help=f"where to put the folder {NAME}; made if missing")
    parser.add_argument(
        "--models", nargs="+", default=[DEFAULT], metavar="NAME|PATH", help=f"to take along (default: {DEFAULT})"
    )
    parser.add_argument(
        "--wav-only", action="store_true", help="the copy reads WAV itself and never asks for soundfile"
    )
    options = parser.parse_args(arguments)
    folder = options.dest / NAME
    try:
        found, weights = contents(options.models, options.wav_only)
        found[NOTE] = note(found, weights, options.wav_only).encode()
        write(folder, found)
    except (edgel3_np.EdgeL3Error, OSError) as error:
        print(f"vendor: {error}", file=sys.stderr)
        return 1
    size = sum(map(len, found.values()))
    print(f"{folder}: {edgel3_np.__version__}, {', '.join(weights)}; {len(found)} files, {size / 1000:.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
