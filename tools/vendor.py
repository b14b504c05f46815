#!/usr/bin/env python3
"""Copy edgel3_np into another project: one folder that needs no installation.

    python tools/vendor.py myapp/_vendor                              # writes myapp/_vendor/edgel3_np, with pico-64
    python tools/vendor.py myapp/_vendor --models pico-64 sea-64 my.npz
    python tools/vendor.py myapp/_vendor --with collections commands
    python tools/vendor.py myapp/_vendor --classifier dogs.npz
    python tools/vendor.py myapp/_vendor --wav-only

The copy holds the engine: `load_model`, `embed`, `Stream` and the weights. Each other part of the package comes with
`--with`, together with the parts that it imports; a command says so if the copy lacks a part that it needs. The folder
can be moved, renamed, nested in another package, put into a zip file, and run from a read-only place. Its VENDORED.txt
says what it is, what it needs and which parts are left out. An earlier copy is replaced; anything else that stands in
its place is left alone.
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
except ImportError:  # a checkout that is not installed
    sys.path.insert(0, str(ROOT))
    import edgel3_np

from edgel3_np._files import read_file
from edgel3_np._version import CONTRACT
from edgel3_np.classify import classifier as classifiers
from edgel3_np.errors import EdgeL3Error
from edgel3_np.model import build_model
from edgel3_np.weights.format import MAX_FILE_BYTES, parse_weights
from edgel3_np.weights.locate import find_model
from edgel3_np.weights.registry import DEFAULT, is_bundled

NAME, NOTE = "edgel3_np", "VENDORED.txt"
MARK = f"{NAME}, vendored"  # the first words of the note, by which an earlier copy is recognised
ENGINE = ("audio", "features", "network", "weights")  # sub-packages; modules at the top also belong to it, except doors
NEEDS_PARTS = {  # every other part, and the parts that it imports; a command imports more, and says if that is missing
    "classify": ("collections",),
    "collections": (),
    "commands": ("collections",),
    "compat": ("collections",),
    "diagnostics": (),
    "live": ("collections",),
    "pages": ("collections",),
    "plotting": ("collections",),
    "released": ("collections",),
}
DOORS = {  # modules at the top that only import from a part
    "classify": ("classifier",),
    "collections": ("collection", "index", "jobs", "similar"),
    "commands": ("bench",),
    "compat": ("edgel3", "embedder", "hear", "models", "openl3", "transformer"),
    "plotting": ("plot",),
    "released": ("install",),
}
EXTRAS = {
    "classify": "scikit-learn (to train classifiers)",
    "collections": "pandas, pyarrow (for tables)",
    "compat": "torch (for hear), scikit-learn (for sklearn)",
    "live": "sounddevice (for the microphone)",
    "plotting": "matplotlib (for plotting)",
    "released": "h5py (for released)",
}
WAV_ONLY = ("WAV_ONLY = False", "WAV_ONLY = True")  # a line of audio/reading.py
CODE = (".py", ".typed", ".js", ".css")  # endings
READING = "audio/reading.py"
NEEDS = {"numpy": "1.19.5", "scipy": "1.5.4", "soundfile": "0.12.1"}  # as in setup.cfg


def choose_parts(names):
    """Return these parts and all that they import, in the order of `NEEDS_PARTS`.

    Examples
    --------
    >>> choose_parts(["compat"])
    ['collections', 'compat']
    """
    chosen = set(names).union(*(choose_parts(NEEDS_PARTS[name]) for name in names))
    return [part for part in NEEDS_PARTS if part in chosen]


def find_code(parts):
    """Find the modules of the engine and of some parts.

    Parameters
    ----------
    parts : list of str

    Returns
    -------
    found : dict of str to bytes
        By path in the folder, with slashes.
    """
    package = files(NAME)
    absent = {f"{door}.py" for part, doors in DOORS.items() if part not in parts for door in doors}
    found = {file.name: file.read_bytes() for file in _code_files(package) if file.name not in absent}
    for folder in (*ENGINE, *parts):
        found.update(_find_all(package.joinpath(folder), folder))
    return found


def _find_all(folder, name):
    """Return the contents of all modules in a folder and below it, by path."""
    found = {f"{name}/{file.name}": file.read_bytes() for file in _code_files(folder)}
    for inner in sorted(folder.iterdir(), key=lambda file: file.name):
        if inner.is_dir():
            found.update(_find_all(inner, f"{name}/{inner.name}"))
    return found


def _code_files(folder):
    return [file for file in sorted(folder.iterdir(), key=lambda file: file.name) if file.name.endswith(CODE)]


def find_models(models):
    """Read models and their golden embeddings.

    Parameters
    ----------
    models : list of str
        Names or paths.

    Returns
    -------
    found : dict of str to bytes
        By path in the folder, with slashes.
    weights : dict of str to Weights
        By the name under which the copy loads them.

    Raises
    ------
    EdgeL3Error
        A file is not a weight file, or two models would have the same name, or one has the name of a bundled model that
        it is not.
    """
    found, weights = {}, {}
    for model in models:
        path = Path(find_model(model))
        name, golden = path.stem, path.with_suffix(".golden.npy")
        content = read_file(path, MAX_FILE_BYTES)
        parsed = parse_weights(content, str(path))
        if is_bundled(name, parsed.sha256) is False:
            raise EdgeL3Error(f"{path}: expected the {name} of this version; give another model another name")
        if name in weights:
            raise EdgeL3Error(f"--models: expected models with different names, found {name} twice")
        weights[name], found[f"_weights/{name}.npz"] = parsed, content
        if golden.is_file():
            found[f"_weights/{golden.name}"] = golden.read_bytes()
    return found, weights


def find_classifiers(paths, weights):
    """Read classifiers, which the copy loads by the names of their files without `.npz`.

    Parameters
    ----------
    paths : list of str
    weights : dict of str to Weights
        Of the models in the copy.

    Returns
    -------
    found : dict of str to bytes
        By path in the folder, with slashes.

    Raises
    ------
    EdgeL3Error
        A file is not a classifier's, its model is not in the copy, or two have the same name.
    """
    found, models = {}, {parsed.sha256: name for name, parsed in weights.items()}
    for path in map(Path, paths):
        content = read_file(path, classifiers.MAX_FILE_BYTES)
        parsed = classifiers.parse_classifier(content, str(path))
        if models.get(parsed.model_sha256) != parsed.model_name:
            what = f"its model, {parsed.model_name} of sha256 {parsed.model_sha256[:16]}, among the models"
            raise EdgeL3Error(f"{path}: expected {what}, found {', '.join(weights)}; name it with --models")
        key = f"{classifiers.FOLDER}/{path.stem}.npz"
        if key in found:
            raise EdgeL3Error(f"--classifier: expected files with different names, found {path.stem} twice")
        found[key] = content
    return found


def collect(models, parts=(), wav_only=False, classifier_files=()):
    """Collect everything that goes into the folder.

    Parameters
    ----------
    models : list of str
        Names or paths.
    parts : list of str
        Parts to copy besides the engine; the parts that they import are added.
    wav_only : bool
        Whether the copy reads WAV files without soundfile, always.
    classifier_files : list of str
        Classifiers to copy, with the part `classify`.

    Returns
    -------
    found : dict of str to bytes
        By path in the folder, with slashes.
    weights : dict of str to Weights
        By the name under which the copy loads them.
    """
    parts = choose_parts([*parts, *(["classify"] if classifier_files else [])])
    found = {"LICENSE": (ROOT / "LICENSE").read_bytes(), **find_code(parts)}
    if wav_only:
        before, after = (line.encode() for line in WAV_ONLY)
        if found[READING].count(before) != 1:
            raise EdgeL3Error(f"{READING}: expected one line {WAV_ONLY[0]!r}; is it of another version?")
        found[READING] = found[READING].replace(before, after)
    packed, weights = find_models(models)
    found.update({**packed, **find_classifiers(classifier_files, weights)})
    found[NOTE] = format_note(found, weights, parts, wav_only).encode()
    return found, weights


def format_note(found, weights, parts, wav_only):
    """Format the text of VENDORED.txt.

    Parameters
    ----------
    found : dict of str to bytes
    weights : dict of str to Weights or ColumnWeights
        As `collect` returns them.
    parts : list of str
        Parts in the copy.
    wav_only : bool

    Returns
    -------
    text : str
    """
    sparse = [
        name
        for name, parsed in weights.items()
        if any(layer.algorithm == "sparse" for layer in build_model(parsed).network.layers)
    ]
    needs = ["Python >= 3.9", f"numpy >= {NEEDS['numpy']}"]
    needs.append(f"scipy >= {NEEDS['scipy']} ({'for ' + ', '.join(sparse) if sparse else 'not for these models'})")
    if not wav_only:
        needs.append(f"soundfile >= {NEEDS['soundfile']} (for sound files; without it, WAV files only)")
    needs += [EXTRAS[part] for part in parts if part in EXTRAS]
    lines = [
        f"{MARK} by tools/vendor.py",
        "",
        f"version           {edgel3_np.__version__}",
        f"numeric contract  {CONTRACT}",
        f"needs             {', '.join(needs)}",
        f"sound files       {'WAV, read by the copy itself' if wav_only else 'all that libsndfile reads'}",
        f"parts             {', '.join(['engine', *parts])}",
        f"left out          {', '.join(part for part in NEEDS_PARTS if part not in parts) or 'nothing'}",
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
    for path in (path for path in found if path.startswith(f"{classifiers.FOLDER}/")):
        lines += [f"classifier        {Path(path).stem} (load_classifier({Path(path).stem!r}))", ""]
    lines.append("sha256 and path of each file (compare with `sha256sum --check VENDORED.txt`):")
    lines += [f"{hashlib.sha256(content).hexdigest()}  {path}" for path, content in sorted(found.items())]
    return "\n".join(lines) + "\n"


def write(folder, found):
    """Write files into a new folder, completely or not at all; an earlier copy is replaced.

    Parameters
    ----------
    folder : Path
    found : dict of str to bytes

    Raises
    ------
    EdgeL3Error
        Something else than an earlier copy is there.
    OSError
        The folder cannot be written.
    """
    earlier = os.path.lexists(folder)
    if earlier and not _is_copy(folder):
        raise EdgeL3Error(f"{folder}: expected nothing, or an earlier copy, found something else; move it away")
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


def _is_copy(folder):
    with suppress(OSError, ValueError):
        return not folder.is_symlink() and (folder / NOTE).read_text(encoding="utf-8").startswith(MARK)
    return False


def main(arguments=None):
    """Run the command line; return its exit code: 0 done, 1 not done, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        description="Copy the engine of edgel3_np, with models, into one folder for another project.",
        epilog="Exit codes: 0 done, 1 not done, 2 wrong usage.",
    )
    add = parser.add_argument
    add("dest", metavar="DEST", type=Path, help=f"where to put the folder {NAME}; it is made if it is missing")
    add("--models", nargs="+", default=[DEFAULT], metavar="NAME|PATH", help=f"models to copy (default: {DEFAULT})")
    add(
        "--with",
        dest="parts",
        nargs="+",
        choices=list(NEEDS_PARTS),
        default=[],
        metavar="PART",
        help=f"parts to copy besides the engine ({', '.join(NEEDS_PARTS)}); the parts that they import come with them",
    )
    add("--classifier", nargs="+", default=[], metavar="FILE", help="classifiers to copy, with the part classify")
    add("--wav-only", action="store_true", help="the copy reads WAV files itself and never imports soundfile")
    options = parser.parse_args(arguments)
    folder = options.dest / NAME
    try:
        found, weights = collect(options.models, options.parts, options.wav_only, options.classifier)
        write(folder, found)
    except (EdgeL3Error, OSError) as error:
        print(f"vendor: {error}", file=sys.stderr)
        return 1
    size = sum(map(len, found.values()))
    print(f"{folder}: {edgel3_np.__version__}, {', '.join(weights)}; {len(found)} files, {size / 1000:.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
