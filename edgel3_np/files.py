"""Find recordings, and say what file each becomes."""

import hashlib
import os
import zlib

from .errors import EdgeL3Error

# What counts as audio in a directory (a file that is named itself is tried whatever its name)
SUFFIXES = {f".{name}" for name in ("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc")}
SUFFIXES |= {f".{name}" for name in ("au", "snd", "caf", "w64", "rf64")}


def find_files(inputs, recursive=True, suffixes=SUFFIXES):
    """Files named, and audio files in directories named, once each.

    In directories, names that begin with a dot are passed over, and links to directories are not followed. FIFOs,
    broken links and the like are found like files: whoever opens them will say what is wrong.

    Parameters
    ----------
    inputs : iterable of (str or Path)
    recursive : bool
        Look into the directories of directories too.
    suffixes : set of str
        Of what is taken, in lower case.

    Returns
    -------
    found : dict of str to str
        Absolute path, and the path relative to the directory that was named (of a file, its name); in order.
    unreadable : dict of str to str
        Directories that could not be listed, and why.
    """
    found, unreadable = {}, {}
    for entry in inputs:
        root = os.path.abspath(os.fsdecode(entry))
        if not os.path.isdir(root):
            found.setdefault(root, os.path.basename(root))
            continue
        walk = os.walk(root, onerror=lambda error: unreadable.update({error.filename: error.strerror}))
        for directory, directories, names in walk:
            directories[:] = sorted(name for name in directories if recursive and not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes:
                    path = os.path.join(directory, name)
                    found.setdefault(path, os.path.relpath(path, root))
    return found, unreadable


def name_outputs(found, output_dir=None, suffix=None):
    """The output of each recording, no two the same.

    `a.wav` becomes `a.npz`; where that clashes (with `a.flac`, or `A.wav`), all of them keep their extension:
    `a.wav.npz`; where that still clashes (the same name below two directories), a hash of their path follows.

    Parameters
    ----------
    found : dict of str to str
        As `find_files` returns it.
    output_dir : str or Path, optional
        Where the tree is mirrored; next to each recording by default.
    suffix : str, optional
        `a_suffix.npz` instead.

    Returns
    -------
    outputs : dict of str to str
        Absolute paths, for those in `found`.
    """
    if suffix is not None and (not suffix or os.path.basename(suffix) != suffix or "\0" in suffix):
        raise EdgeL3Error(f"suffix: expected text for a file's name, found {suffix!r}")
    ending = f"_{suffix}.npz" if suffix else ".npz"

    def output(path, level):
        base = path if output_dir is None else os.path.join(os.path.abspath(os.fsdecode(output_dir)), found[path])
        if level == 2:
            base += f".{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
        return (os.path.splitext(base)[0] if level == 0 else base) + ending

    outputs, levels, clashing = {path: output(path, 0) for path in found}, dict.fromkeys(found, 0), list(found)
    while clashing:
        holders, clashing = {}, []
        for path, name in outputs.items():
            holders.setdefault(name.casefold(), []).append(path)
        for paths in holders.values():
            clashing += [path for path in paths if len(paths) > 1 and levels[path] < 2]
        for path in clashing:
            levels[path] += 1
            outputs[path] = output(path, levels[path])
    return outputs


def in_shard(output, output_dir, shard):
    """Whether a part K of N, `shard`, of a collection has this output: the same one wherever it is asked."""
    part, parts = shard
    name = os.path.relpath(output, os.path.abspath(os.fsdecode(output_dir))) if output_dir is not None else output
    return zlib.crc32(os.fsencode(name)) % parts == part - 1


def make_directories(directory, root):
    """Make `directory`, below `root`, which may be made too; refuse links on the way, which could lead elsewhere.

    Raises
    ------
    EdgeL3Error
        A part of the path below `root` is a link.
    OSError
        It cannot be made.
    """
    os.makedirs(root, exist_ok=True)
    path = root
    for name in os.path.relpath(directory, root).split(os.sep):
        path = os.path.normpath(os.path.join(path, name))
        if path != os.path.normpath(root) and os.path.islink(path):
            raise EdgeL3Error(f"{path}: expected a directory of the output directory, found a link", kind="output")
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


def printable(text):
    """A name as it can be shown: one may hold anything, even what a terminal obeys."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
