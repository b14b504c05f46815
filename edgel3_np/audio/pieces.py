"""Parts of a sound file, and what serves them to a decoder: a file put together of pieces of another and of bytes."""

from typing import NamedTuple, Optional

from ..errors import EdgeL3Error

PROMISE = "the header promises {} of sound, and {} are there"


class Part(NamedTuple):
    """A part of a file that a decoder reads by itself."""

    pieces: Optional[tuple] = None  # for `Pieces`: bytes, and (start, stop) of the file; None: the file as it is
    promised: Optional[float] = None  # seconds that headers promise, None if they do not say
    broken: bool = False  # what follows is damaged or missing, and times behind it would be wrong
    remark: str = ""  # what is unusual about it
    slack: float = 0.0  # seconds by which decoders of this format fall short of what headers promise
    clock: Optional[tuple] = None  # of Ogg: its last granule position, and that before its sound
    gain: float = 1.0  # of its samples
    known: bool = True  # whether the container was surveyed


class Source:
    """A file of any library from its position on. What goes wrong while it is read becomes an `EdgeL3Error`."""

    def __init__(self, file, name):
        self._file, self._name = file, name
        self.origin = self._attempt(lambda: int(file.tell()))
        self._attempt(file.seek, 0, 2)  # not every `seek` returns the position
        self.size = self._attempt(lambda: int(file.tell())) - self.origin

    def read(self, start, count):
        """Return `count` bytes from a position on, or as many as there are, though one call may return fewer."""
        self._attempt(self._file.seek, self.origin + start)
        parts = []
        while count > 0:
            content = self._attempt(self._file.read, count)
            if not isinstance(content, bytes) or len(content) > count:
                found = f"{len(content)} bytes" if isinstance(content, bytes) else type(content).__name__
                text = f"expected up to {count} bytes of its method read, found {found}"
                raise EdgeL3Error(f"{self._name}: cannot be read: {text}", kind="unreadable")
            if not content:
                break
            parts.append(content)
            count -= len(content)
        return b"".join(parts)

    def _attempt(self, method, *arguments):
        try:
            return method(*arguments)
        except MemoryError:  # says nothing about the recording
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise EdgeL3Error(f"{self._name}: cannot be read: {reason}", kind="unreadable") from error


class Pieces:
    """A binary file for reading: pieces of a `Source`, and bytes, one behind the other.

    It serves the callbacks of soundfile, where an exception would be printed and lost, and the sound would seem to end.
    So reading keeps the first exception in `failure` and returns nothing from then on; the caller raises it. A seek to
    an impossible position, as broken files ask for, has no effect, and libsndfile gives up by itself.

    Parameters
    ----------
    source : Source
    pieces : list of (bytes or tuple of int (start, stop))
        Bytes, or a part of the source by its positions.
    """

    def __init__(self, source, pieces):
        self._source, self._pieces, self._position = source, [], 0
        self.failure, self.size = None, 0
        for piece in pieces:
            length = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._pieces.append((self.size, length, piece))
            self.size += length

    def tell(self):
        """Return the position."""
        return self._position

    def seek(self, offset, whence=0):
        """Set the position, if it is possible, and return it."""
        position = offset + (0, self._position, self.size)[whence]
        if position >= 0:
            self._position = position
        return self._position

    def read(self, size):
        """Return `size` bytes, or those that are left."""
        parts = []
        try:
            for begin, length, piece in self._pieces:
                inside = self._position - begin
                if size > 0 and 0 <= inside < length and self.failure is None:
                    count = min(size, length - inside)
                    made = isinstance(piece, bytes)
                    parts.append(piece[inside:][:count] if made else self._source.read(piece[0] + inside, count))
                    self._position += len(parts[-1])
                    size -= len(parts[-1])
        except BaseException as failure:  # Ctrl-C too
            self.failure = failure
            return b""
        return b"".join(parts)


class Window:
    """The bytes around a place of a file, of which the next ones are asked for again and again."""

    def __init__(self, read, size):
        self._read, self._size, self._begin, self._buffer = read, size, 0, b""

    def at(self, place):
        """Return a buffer with 64 KiB from `place` on, if there are so many, and where it is in there."""
        end = self._begin + len(self._buffer)
        if not self._begin <= place <= end - (1 << 16) and (end < self._size or not self._begin <= place < end):
            self._begin, self._buffer = place, self._read(place, 1 << 18)
        return self._buffer, place - self._begin
