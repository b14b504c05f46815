"""Name the formats that libsndfile does not read, so that an error can say what a file is and what to do."""

_MAGICS = (  # (position, bytes, name)
    (4, b"ftyp", "MP4 or M4A (AAC, ALAC)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA (ASF)"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"#!AMR", "AMR"),
    (0, b"\xff\xf1", "AAC (ADTS)"),
    (0, b"\xff\xf9", "AAC (ADTS)"),
    (0, b"DSD ", "DSD (DSF)"),
)
_CONVERT = ", which libsndfile does not read; convert it, for example: ffmpeg -i X Y.wav"
_OTHERS = (
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"PK\3\4", "a zip file (or npz)"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"%PDF", "a PDF"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    (0, b"<!", "a web page, as failed downloads leave it"),
    (0, b"<html", "a web page, as failed downloads leave it"),
    (0, b"\x93NUMPY", "a NumPy array: load it and pass the array with sr="),
)


def describe(head):
    """Say what a file is that begins so: `head` has 64 bytes or more, or all there are.

    Returns
    -------
    found : str
        Empty if the format is not known here.

    Examples
    --------
    >>> describe(b"....ftypM4A ")
    'MP4 or M4A (AAC, ALAC), which libsndfile does not read; convert it, for example: ffmpeg -i X Y.wav'
    """
    for names, ending in ((_MAGICS, _CONVERT), (_OTHERS, "")):
        for position, magic, name in names:
            if head[position:].startswith(magic):
                return name + ending
    return "" if any(head) or not head else "zeros alone"
