"""Read npz archives without trust, and write them.

A weight file may be broken or hostile, and neither `numpy.load` nor `scipy.sparse.load_npz` is made for that. Here the
name, dtype, shape and size of every member are compared with what the caller expects, from the zip directory and the
npy header, before memory is allocated. Nothing is unpickled, and only the members asked for are read.
"""

import io
import re
import zipfile

import numpy as np

from .._foreign import describe
from ..errors import EdgeL3Error

MAX_WEIGHT = 1e6  # largest number in a weight file; trained ones are far below
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<>|][fiu]\d)', 'fortran_order': False, 'shape': \((\d{1,12}(?:, \d{1,12})*,?)\), \} *\n"
)
MAX_HEADER_BYTES = 10 + 1024  # more than any header that the pattern matches


class Archive:
    """The members of an npz in memory. Each is read only if it is what the caller expects.

    Parameters
    ----------
    content : bytes
        The file's content.
    name : str
        What messages call the file.
    methods : tuple of int
        Allowed compressions. Without any, nothing is larger in memory than in the file.

    Raises
    ------
    EdgeL3Error
        It is not a zip file, or a member is encrypted, repeated, or compressed by another method.
    """

    def __init__(self, content, name, methods=(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
        self.name = name
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.infolist()
        except MemoryError:
            raise
        except Exception as error:  # zipfile raises a dozen kinds
            found = describe(content[:64]) or error or type(error).__name__
            raise EdgeL3Error(f"{name}: expected an npz (zip) file, found: {found}") from error
        self._members = {}
        for member in members:
            key = member.filename[:-4] if member.filename.endswith(".npy") else member.filename
            if key in self._members:
                raise self.error(key, "one member of that name", "two")
            if member.flag_bits & 1 or member.compress_type not in methods:
                expected = "a stored or deflated member" if zipfile.ZIP_DEFLATED in methods else "a stored member"
                raise self.error(key, expected, "another compression, or encryption")
            self._members[key] = member

    def error(self, member, expected, found):
        """Return the error that a member is not as expected."""
        return EdgeL3Error(f"{self.name}: member '{member:.80}': expected {expected}, found {found}")

    def require(self, needed, optional=()):
        """Raise `EdgeL3Error` if a member in `needed` is missing, or one is neither needed nor optional."""
        for key in needed:
            if key not in self._members:
                found = f"expected it, found {len(self._members)} others"
                raise EdgeL3Error(f"{self.name}: missing member '{key:.80}': {found}; the file is incomplete")
        for key in self._members:
            if key not in needed and key not in optional:
                found = "expected those of the format, found one more"
                raise EdgeL3Error(f"{self.name}: unknown member '{key:.80}': {found}; the file is of another version")

    def __contains__(self, key):
        return key in self._members

    def read(self, key, dtypes, shape, max_items=None):
        """Read one array.

        Parameters
        ----------
        key : str
            Name of the member.
        dtypes : str
            Allowed dtypes, as npy headers spell them: '<f4 <f2'. Big-endian arrays are read as well.
        shape : tuple of (int or None)
            Expected shape. (None,) allows a vector of any length up to `max_items`.
        max_items : int, optional

        Returns
        -------
        array : np.ndarray
            Read-only, in the byte order of this machine.

        Raises
        ------
        EdgeL3Error
            The member is missing or damaged, has another dtype, shape or size, or has values that are not finite or
            beyond `MAX_WEIGHT`.
        """
        self.require([key], self._members)
        member = self._members[key]
        try:
            with self._zip.open(member) as file:
                dtype, found, header = parse_header(file.read(MAX_HEADER_BYTES))
                if dtype.replace(">", "<") not in dtypes.split():
                    raise self.error(key, f"dtype {' or '.join(dtypes.split())}", dtype)
                if (len(found) != 1 or found[0] > max_items) if None in shape else found != shape:
                    wanted = f"({max_items} or fewer,)" if None in shape else shape
                    raise self.error(key, f"shape {wanted}", f"shape {found}")
                size = header + int(np.dtype(dtype).itemsize * np.prod(found, dtype=np.float64))
                if member.file_size != size:
                    raise self.error(key, f"{size} bytes", f"{member.file_size} in the zip directory")
            with self._zip.open(member) as file:  # from the start: reading to the end checks the checksum
                content = file.read(size + 1)
        except (EdgeL3Error, MemoryError):
            raise
        except Exception as error:
            raise self.error(key, "a readable npy array", error or type(error).__name__) from error
        if len(content) != size:
            raise self.error(key, f"{size} bytes", len(content))
        array = native(np.frombuffer(content, dtype, offset=header).reshape(found))
        wide = np.promote_types(dtype, "f4")  # float16 has no number as large as the bound
        if array.dtype.kind == "f" and not (np.abs(array.astype(wide)) <= MAX_WEIGHT).all():  # false of NaN as well
            raise self.error(key, f"finite values within {MAX_WEIGHT:g}", "NaN, infinity or larger ones")
        return array


def parse_header(start):
    """Parse the header of an npy file from its first bytes: dtype as text, shape, and length of the header in bytes."""
    match = _HEADER.fullmatch(start[10 : 10 + int.from_bytes(start[8:10], "little")])
    if not start.startswith(_MAGIC) or match is None:
        raise ValueError("a header other than that of a plain array (npy version 1.0)")
    shape = tuple(int(number) for number in match[2].replace(b" ", b"").split(b",") if number)
    return match[1].decode(), shape, 10 + len(match[0])


def native(array):
    """Return a read-only array in the byte order of this machine."""
    array = np.asarray(array, array.dtype.newbyteorder("="))
    array.setflags(write=False)
    return array


def write_npz(file, arrays):
    """Write arrays as a compressed npz, little-endian: the same bytes for the same arrays, whatever date and machine.

    Parameters
    ----------
    file : path or binary file
    arrays : dict of str to np.ndarray
    """
    with zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            content = io.BytesIO()
            array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            archive.writestr(npz_member(key, zipfile.ZIP_DEFLATED), content.getvalue(), compresslevel=6)


def npz_member(key, method):
    """Return the zip entry of an array: dated 1980, readable by all."""
    member = zipfile.ZipInfo(f"{key}.npy")
    member.compress_type, member.external_attr, member.create_system = method, 0o644 << 16, 3
    return member
