"""Show the names of files, which may be no text, or text that a terminal obeys."""


def as_text(name):
    """Return the name of a file as text that any program can read: bytes that are no text have backslash escapes.

    Examples
    --------
    >>> as_text("\\udcff.wav")  # as Python gives the byte 0xff in a name
    '\\\\xff.wav'
    """
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a surrogate pair, which no file system returns
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def printable(text):
    """Return a file's name as a terminal can show it: `as_text`, with control characters escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in as_text(text))
