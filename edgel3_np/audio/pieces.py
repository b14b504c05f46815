"""A file put together of pieces of another one and of bytes: what a decoder gets where a header is wrong."""


class Pieces:
    """A binary file for reading: pieces of a file, and bytes, one behind the other.

    It serves the callbacks of soundfile, where an exception would be printed and lost, and the sound would seem to end.
    So reading keeps the first exception in `failure` and returns nothing from then on; the caller raises it. A seek to
    an impossible position, as broken files ask for, has no effect, and libsndfile gives up by itself.

    Parameters
    ----------
    file : binary file
    pieces : list of (bytes or tuple of int (start, stop))
        Bytes, or a part of the file by its positions.
    """

    def __init__(self, file, pieces):
        self._file, self._pieces, self._position = file, [], 0
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
                    parts.append(self._read(piece, inside, min(size, length - inside)))
                    self._position += len(parts[-1])
                    size -= len(parts[-1])
        except BaseException as failure:  # Ctrl-C too
            self.failure = failure
            return b""
        return b"".join(parts)

    def _read(self, piece, inside, size):
        if isinstance(piece, bytes):
            return piece[inside : inside + size]
        self._file.seek(piece[0] + inside)
        return read_whole(self._file, size)


def end_of(file):
    """Return the position of the end, where the file is afterwards: not every `seek` of other libraries returns it."""
    file.seek(0, 2)
    return file.tell()


def read_whole(file, size):
    """Return `size` bytes, or as many as there are: file objects of other libraries may return fewer in one call."""
    content = file.read(size)
    while 0 < len(content) < size:
        more = file.read(size - len(content))
        if not more:
            break
        content += more
    return content
