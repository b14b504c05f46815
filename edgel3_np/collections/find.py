"""Find the recordings of a collection, and name the output file of each."""

import hashlib
import os
import zlib

from ..errors import EdgeL3Error

# File name extensions that count as audio inside directories; a file that is named directly is always taken
SUFFIXES = {f".{name}" for name in ("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc")}
SUFFIXES |= {f".{name}" for name in ("au", "snd", "caf", "w64", "rf64")}


def find_files(inputs, recursive=True, suffixes=SUFFIXES):
    """List the files named and the audio files inside the directories named, each once.

    Inside directories, names with a leading dot are ignored and links to directories are not followed. FIFOs, broken
    links and other special files are listed like regular files; the code that opens them reports what is wrong.

    Parameters
    ----------
    inputs : iterable of (str or Path)
        Files and directories.
    recursive : bool
        Search subdirectories as well.
    suffixes : set of str
        Extensions to take, in lower case, with the dot.

    Returns
    -------
    found : dict of str to str
        Maps each absolute path to its path relative to the directory that was named (for a file named directly: its
        base name). Sorted within each directory.
    unreadable : dict of str to str
        Maps each directory that cannot be listed to the reason.
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
    """Name the output file of each recording; no two names are equal, even when case is ignored.

    `a.wav` becomes `a.npz`. Recordings whose names clash (`a.wav` with `a.flac` or `A.wav`) keep their extension:
    `a.wav.npz`. If names still clash (the same relative path in two directories), a hash of the input path is added.

    Parameters
    ----------
    found : dict of str to str
        Recordings, as `find_files` returns them.
    output_dir : str or Path, optional
        Directory in which the tree of the inputs is mirrored; by default each output is next to its recording.
    suffix : str, optional
        Name outputs `a_suffix.npz` instead of `a.npz`.

    Returns
    -------
    outputs : dict of str to str
        Maps each key of `found` to the absolute path of its output.

    Raises
    ------
    EdgeL3Error
        `suffix` cannot be part of a file name.
    """
    if suffix is not None and (
        not isinstance(suffix, str) or not suffix or os.path.basename(suffix) != suffix or "\0" in suffix
    ):
        raise EdgeL3Error(f"suffix: expected text that can be part of a file name, found {suffix!r}")
    ending = f"_{suffix}.npz" if suffix else ".npz"

    def output(path, level):
        """Return the name at a level: 0 without the extension, 1 with it, 2 with a hash of the path as well."""
        base = path if output_dir is None else os.path.join(os.path.abspath(os.fsdecode(output_dir)), found[path])
        if level == 2:
            base += f".{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
        return (os.path.splitext(base)[0] if level == 0 else base) + ending

    outputs, levels, clashing = {path: output(path, 0) for path in found}, dict.fromkeys(found, 0), list(found)
    while clashing:
        inputs_of, clashing = {}, []
        for path, name in outputs.items():
            inputs_of.setdefault(name.casefold(), []).append(path)
        for paths in inputs_of.values():
            clashing += [path for path in paths if len(paths) > 1 and levels[path] < 2]
        for path in clashing:
            levels[path] += 1
            outputs[path] = output(path, levels[path])
    return outputs


def in_shard(output, output_dir, shard):
    """Tell whether an output belongs to a shard of the collection.

    The answer depends only on the path relative to `output_dir`, so every machine gives the same one.

    Parameters
    ----------
    output : str
        Path of the output, as `name_outputs` returns it.
    output_dir : str or Path or None
    shard : tuple of int (k, n)
        Part k of n, 1 <= k <= n.
    """
    part, parts = shard
    name = os.path.relpath(output, os.path.abspath(os.fsdecode(output_dir))) if output_dir is not None else output
    return zlib.crc32(os.fsencode(name)) % parts == part - 1


def make_directories(directory, root):
    """Make `root` and `directory`, which is below it; refuse links below `root`, which could lead elsewhere.

    Raises
    ------
    EdgeL3Error
        A part of the path below `root` is a link.
    OSError
        A directory cannot be made.
    """
    os.makedirs(root, exist_ok=True)
    path = root
    for name in os.path.relpath(directory, root).split(os.sep):
        path = os.path.normpath(os.path.join(path, name))
        if path != os.path.normpath(root) and os.path.islink(path):
            raise EdgeL3Error(f"{path}: expected a directory inside the output directory, found a link", kind="output")
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise


def stat_file(path):
    """Return `os.stat(path)`, or raise `EdgeL3Error` of the kind `unreadable`."""
    try:
        return os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeL3Error(f"{path}: cannot be read: {reason}", kind="unreadable") from error
