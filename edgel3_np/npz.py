"""Read and write npz archives that nobody vouches for.

A weight file may be broken or hostile, and neither `numpy.load` nor `scipy.sparse.load_npz` expects that. Here every
member's name, dtype, shape and size is compared with what the caller expects, from the zip directory and the npy
header, before any memory is taken for it; nothing is unpickled, and nothing is read that was not asked for.
"""

import io
import os
import re
import stat
import zipfile
from contextlib import contextmanager

import numpy as np

from .errors import EdgeL3Error

MAX_ABS = 1e6  # of a number in a weight file; trained ones are far below
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<|][fu]\d)', 'fortran_order': False, 'shape': \((\d{1,12}(?:, \d{1,12})*,?)\), \} *\n"
)
MAX_HEADER_BYTES = 10 + 1024  # more than any header that the pattern can match


def read_file(path, max_bytes):
    """Return the content of the regular file `path`, or raise `EdgeL3Error` if it is missing, odd or too large.

    It may also be something like a file inside a zip file: what `importlib.resources` calls a Traversable.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        return _read_resource(path, max_bytes)
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise EdgeL3Error(f"{path}: expected at most {max_bytes} bytes, found {size}; not a weight file")
            return file.read(size + 1)
    except IsADirectoryError:
        raise EdgeL3Error(f"{path}: expected a weight file, found a directory") from None
    except (OSError, ValueError) as error:
        if isinstance(error, EdgeL3Error):
            raise
        raise EdgeL3Error(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _read_resource(resource, max_bytes):
    try:
        with resource.open("rb") as file:
            content = file.read(max_bytes + 1)
    except Exception as error:  # of zipfile a dozen kinds
        raise EdgeL3Error(f"{resource}: cannot be read: {error or type(error).__name__}") from error
    if len(content) > max_bytes:
        raise EdgeL3Error(f"{resource}: expected at most {max_bytes} bytes, found more; not a weight file")
    return content


@contextmanager
def open_regular(path):
    """Open a file for reading; anything but a regular one, such as a FIFO, is an `EdgeL3Error` and does not block."""
    with open(path, "rb", opener=_open_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise EdgeL3Error(f"{path}: expected a file, found a device, pipe or socket")
        yield file


def _open_without_waiting(path, flags):
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a FIFO would otherwise wait for a writer


class Archive:
    """The members of an npz held in memory, each read only as expected.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        What to call it in messages.

    Raises
    ------
    EdgeL3Error
        Not a zip file, or one with an encrypted, oddly compressed or repeated member.
    """

    def __init__(self, content, name):
        self.name = name
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.infolist()
        except Exception as error:  # zipfile raises a dozen kinds on hostile input
            raise EdgeL3Error(f"{name}: expected an npz (zip) file, found: {error or type(error).__name__}") from error
        self._members = {}
        for member in members:
            key = member.filename[:-4] if member.filename.endswith(".npy") else member.filename
            if key in self._members:
                raise self.error(key, "one member of that name", "two")
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise self.error(key, "a stored or deflated member", "another compression, or encryption")
            self._members[key] = member

    def error(self, member, expected, found):
        return EdgeL3Error(f"{self.name}: member '{member:.80}': expected {expected}, found {found}")

    def require(self, needed, optional=()):
        """Raise `EdgeL3Error` unless the members are those in `needed`, and perhaps some in `optional`."""
        for key in needed:
            if key not in self._members:
                raise self.error(key, "it in the file", "none of that name")
        for key in self._members:
            if key not in needed and key not in optional:
                raise self.error(key, "no such member", "one")

    def __contains__(self, key):
        return key in self._members

    def read(self, key, dtypes, shape, max_items=None):
        """Read one array.

        Parameters
        ----------
        key : str
            Name of the member.
        dtypes : str
            Dtypes allowed, as npy headers spell them: '<f4 <f2'.
        shape : tuple of (int or None)
            Shape expected; None leaves the one dimension of a vector open, up to `max_items`.
        max_items : int, optional

        Returns
        -------
        array : np.ndarray
            Read-only.

        Raises
        ------
        EdgeL3Error
            Missing, of another dtype, shape or size, damaged, or with values that are not finite or absurdly large.
        """
        self.require([key], self._members)
        member = self._members[key]
        try:
            with self._zip.open(member) as file:
                dtype, found, header = parse_header(file.read(MAX_HEADER_BYTES))
                if dtype not in dtypes.split():
                    raise self.error(key, f"dtype {' or '.join(dtypes.split())}", dtype)
                if (len(found) != 1 or found[0] > max_items) if None in shape else found != shape:
                    wanted = f"({max_items} or fewer,)" if None in shape else shape
                    raise self.error(key, f"shape {wanted}", f"shape {found}")
                size = header + int(np.dtype(dtype).itemsize * np.prod(found, dtype=np.float64))
                if member.file_size != size:
                    raise self.error(key, f"{size} bytes", f"{member.file_size} in the zip directory")
            with self._zip.open(member) as file:  # anew: reading to the end compares the checksum
                content = file.read(size + 1)
        except EdgeL3Error:
            raise
        except Exception as error:
            raise self.error(key, "a readable npy array", error or type(error).__name__) from error
        if len(content) != size:
            raise self.error(key, f"{size} bytes", len(content))
        array = np.frombuffer(content, dtype, offset=header).reshape(found)  # of bytes, so read-only
        if array.dtype.kind == "f" and not (np.abs(array.astype(np.float32)) <= MAX_ABS).all():  # false of NaN as well
            raise self.error(key, f"finite values within {MAX_ABS:g}", "NaN, infinity or larger ones")
        return array


def parse_header(start):
    """What the header of an npy says, given the file's start: dtype as text, shape, and how many bytes it takes."""
    match = _HEADER.fullmatch(start[10 : 10 + int.from_bytes(start[8:10], "little")])
    if not start.startswith(_MAGIC) or match is None:
        raise ValueError("a header that is not that of a plain little-endian array (npy version 1.0)")
    shape = tuple(int(number) for number in match[2].replace(b" ", b"").split(b",") if number)
    return match[1].decode(), shape, 10 + len(match[0])


def write_npz(file, arrays):
    """Write arrays as a compressed npz whose bytes depend on nothing else (no date in it).

    Parameters
    ----------
    file : path or binary file
    arrays : dict of str to np.ndarray
    """
    with zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
            archive.writestr(_member(key, zipfile.ZIP_DEFLATED), content.getvalue(), compresslevel=6)


def write_parts(file, arrays):
    """Write arrays that come in parts as an npz that is not compressed: it can be mapped into memory.

    Parameters
    ----------
    file : binary file
    arrays : dict of str to (dtype, shape, iterable of np.ndarray)
        The parts, one after the other, are the array.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for key, (dtype, shape, parts) in arrays.items():
            size = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
            with archive.open(_member(key, zipfile.ZIP_STORED), "w", force_zip64=size >= 1 << 31) as out:
                header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(out, header)
                for part in parts:
                    out.write(np.ascontiguousarray(part, dtype).tobytes())


def _member(key, method):
    member = zipfile.ZipInfo(f"{key}.npy")  # dated 1980
    member.compress_type, member.external_attr, member.create_system = method, 0o644 << 16, 3
    return member
