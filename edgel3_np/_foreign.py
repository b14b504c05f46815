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
_PAGE = "a web page, as failed downloads leave it"
_OTHERS = (
    (0, b"\x89HDF", "an HDF5 file; weights of Keras must be converted: edgel3-np install NAME --from FILE"),
    (0, b"PK\3\4", "a zip file (or npz), perhaps cut off or damaged"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"%PDF", "a PDF"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    (0, b"<!", _PAGE),
    (0, b"<html", _PAGE),
    (0, b"<?xml", _PAGE),
    (0, b"\x93NUMPY", "a NumPy array (npy); if it holds samples, load it and pass the array with sr="),
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
    for position, magic, name in _MAGICS:
        if head[position:].startswith(magic):
            return name + _CONVERT
    for _, magic, name in _OTHERS:
        if head.startswith(magic) or (name == _PAGE and head.lstrip().lower().startswith(magic)):
            return name
    if not head:
        return "nothing: the file has 0 bytes"
    return "" if any(head) else "zeros alone"


def is_foreign_audio(head):
    """Tell whether a file that begins so holds audio or video of a kind that libsndfile does not read."""
    return describe(head).endswith(_CONVERT)
