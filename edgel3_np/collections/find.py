"""Find the recordings of a collection, and name the output file of each."""

import hashlib
import os
import zlib
from collections import Counter
from unicodedata import normalize

from .._files import open_regular
from .._foreign import is_foreign_audio
from ..audio.kinds import HEAD, kind_at
from ..errors import EdgeL3Error

LATEST = (1 << 63) - 1  # nanoseconds


def _endings(names):
    return frozenset(f".{name}" for name in names.split())


# File name extensions that count as audio inside directories; a file that is named directly is always taken
SUFFIXES = _endings("wav wave bwf bw64 amb flac ogg oga opus spx mp3 mp2 mp1 mpga aif aiff aifc au snd caf w64 rf64")
SUFFIXES |= _endings("voc sph nist ircam sf paf iff 8svx 16svx pvf avr sds")
# Of audio that libsndfile does not read
FOREIGN = _endings("m4a m4b mp4 aac 3gp wma webm mka mkv wv ape tta mpc amr dsf dff ac3 eac3 ra rm alac mov")
# Of other files that lie beside audio. Every other file is audio if it begins like one.
OTHERS = _endings(
    "npz npy txt csv tsv json jsonl md xml html htm pdf png jpg jpeg gif svg h5 hdf5 parquet zip gz py log ini"
)
OTHERS |= _endings("cfg yaml yml textgrid mat m3u cue nfo db sqlite")


def find_files(inputs, recursive=True, suffixes=None):
    """List the files named and the audio files inside the directories named, each once.

    Inside directories, names with a leading dot are ignored. Where recordings are looked for, links to directories are
    followed, each directory once. FIFOs, broken links and other special files are listed like regular files; the code
    that opens them reports what is wrong.

    Parameters
    ----------
    inputs : iterable of (str or Path)
        Files and directories.
    recursive : bool
        Search subdirectories as well.
    suffixes : set of str, optional
        Extensions to take, in lower case, with the dot. By default everything that libsndfile reads, by its extension
        or, where that is unknown, by its first bytes.

    Returns
    -------
    found : dict of str to str
        Maps each absolute path to its path relative to the directory that was named (for a file named directly: its
        base name). Sorted within each directory.
    unreadable : dict of str to str
        Maps each directory that cannot be listed to the reason.
    passed : list of str
        Audio files inside directories that libsndfile does not read.
    """
    found, unreadable, passed = {}, {}, []
    for entry in inputs:
        root = os.path.abspath(os.fsdecode(entry))
        if not os.path.isdir(root):
            found.setdefault(root, os.path.basename(root))
            continue
        seen = set()
        _first_time(root, seen)
        walk = os.walk(
            root,
            onerror=lambda error: unreadable.update({error.filename: error.strerror}),
            followlinks=suffixes is None,
        )
        for directory, directories, names in walk:
            inside = (name for name in directories if recursive and not name.startswith("."))
            directories[:] = [name for name in sorted(inside) if _first_time(os.path.join(directory, name), seen)]
            for name in sorted(names):
                path, ending = os.path.join(directory, name), os.path.splitext(name)[1].lower()
                if name.startswith("."):
                    continue
                kind = _kind_of(path, ending, suffixes)
                if kind == "sound":
                    found.setdefault(path, os.path.relpath(path, root))
                elif kind == "foreign":
                    passed.append(path)
    return found, unreadable, list(dict.fromkeys(passed))


def count_files(inputs):
    """Return how many files of each extension lie in directories, and how many directories: for a message.

    At most 10,000 entries are looked at.

    Parameters
    ----------
    inputs : iterable of (str or Path)

    Returns
    -------
    counts : collections.Counter
        By extension, with the dot; `directory` counts directories.
    """
    counts = Counter()
    for entry in inputs:
        for _, directories, names in os.walk(entry):
            counts["directory"] += len(directories)
            counts.update(os.path.splitext(name)[1].lower() or "without an extension" for name in names)
            if sum(counts.values()) > 10_000:
                break
    return +counts


def _first_time(path, seen):
    """Tell whether a directory was not met before on the way down: links may lead in circles."""
    try:
        info = os.stat(path)
    except OSError:
        return True  # listing it tells what is wrong
    key = info.st_dev, info.st_ino
    if key in seen:
        return False
    seen.add(key)
    return True


def _kind_of(path, ending, suffixes):
    """Return what a file is: `sound`, `foreign` sound that libsndfile does not read, or nothing of interest (``).

    A file of an unknown extension that cannot be read is sound: the code that opens it reports what is wrong.
    """
    if ending in (suffixes or SUFFIXES):
        return "sound"
    if suffixes is not None or ending in OTHERS:
        return ""
    if ending in FOREIGN:
        return "foreign"
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
    except EdgeL3Error:
        return "sound" if os.path.islink(path) or os.path.isfile(path) else ""
    if head.startswith((b"ID3", b"OggS")) or kind_at(lambda start, count: head[start : start + count], 0):
        return "sound"
    return "foreign" if is_foreign_audio(head) else ""


def name_outputs(found, output_dir=None, suffix=None):
    """Name the output file of each recording; no file system takes two of the names for the same.

    Some ignore the case of letters, or in which of Unicode's ways an accent is written.

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
    outputs = {path: output_names(path, below, output_dir, suffix)[0] for path, below in found.items()}
    levels, clashing = dict.fromkeys(found, 0), list(found)
    while clashing:
        inputs_of, clashing = {}, []
        for path, name in outputs.items():
            inputs_of.setdefault(_caseless(name), []).append(path)
        for paths in inputs_of.values():
            clashing += [path for path in paths if len(paths) > 1 and levels[path] < 2]
        for path in clashing:
            levels[path] += 1
            outputs[path] = output_names(path, found[path], output_dir, suffix)[levels[path]]
    return outputs


def output_names(path, below, output_dir=None, suffix=None):
    """Return the names that an output may have: without the recording's extension, with it, with a hash as well.

    Parameters
    ----------
    path, below : str
        Absolute path of the recording, and its path below the directory that was named.
    output_dir, suffix
        As for `name_outputs`.
    """
    ending = f"_{suffix}.npz" if suffix else ".npz"
    base = path if output_dir is None else os.path.join(os.path.abspath(os.fsdecode(output_dir)), below)
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return tuple(name + ending for name in (os.path.splitext(base)[0], base, f"{base}.{digest}"))


def _caseless(name):
    """Return a name in the form in which Unicode compares without case (Unicode 15.0, section 3.13, D145)."""
    return normalize("NFD", normalize("NFD", name).casefold())


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
    return zlib.crc32(os.fsencode(name.replace(os.sep, "/"))) % parts == part - 1


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


def clamped(stamp):
    """Return a modification time in nanoseconds as int64 holds it: the nearest one, beyond the years 1677 and 2262."""
    return max(-LATEST - 1, min(stamp, LATEST))
