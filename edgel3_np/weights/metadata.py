"""The metadata of a weight file: JSON that describes its network and its origin, checked when it is read."""

import json
from typing import NamedTuple, Optional

from .._version import CONTRACT
from ..features.columns import COLUMNS, FRAMES
from ..features.frontend import FrontEnd
from .columns import LAYERS
from .integers import TOP
from .registry import RELEASED

FORMAT, FORMAT_VERSION = "edgel3_np weights", 1
KEYS = {
    "format": "edgel3_np weights",
    "format_version": "int: layout of the file",
    "contract": "int: version of the numeric contract that the file is made for",
    "name": "str: the model's name, such as sparse-ft-95.45",
    "frontend": "dict: sr, n_fft, hop_length, n_mels; and scale, spectrum, padding if they are not kapre 0.1.4's",
    "network": "dict: filters (a list of 8), final_activation (relu or linear); perhaps grid (a list of 2), zero (int);"
    " or, of a network for streams, filters (a list of 11) and stream (true)",
    "source": "dict of str: file, sha256, and what else tells where the weights come from",
    "license": "str",
    "citation": "str",
}
PROVENANCE = ("contract", "source", "license", "citation")
MAX_METADATA_BYTES = 1 << 16
MAX_FILTERS, MAX_MAP = 512, 1 << 16  # MAX_MAP: bands x frames of a window
_LIMITS = {"sr": (2000, 192_000), "n_fft": (16, 8192), "hop_length": (1, 8192), "n_mels": (8, 512)}
_CHOICES = {  # key in the file: field of FrontEnd, and its value for each word in the file; the first is the default
    "scale": ("mel_scale", {"htk": "htk", "slaney": "slaney", "linear": "linear"}),
    "spectrum": ("spectrum", {"power": "power", "magnitude": "magnitude"}),
    "padding": ("padding", {"both": "same", "behind": "end", "none": "valid"}),
}


class Metadata(NamedTuple):
    """What the metadata of a weight file says."""

    name: str
    frontend: FrontEnd
    filters: tuple  # of 8 int; 11 of a network for streams
    final_activation: str  # 'relu' or 'linear'
    pool_grid: tuple  # of 2 int
    provenance: dict  # with the keys PROVENANCE
    zero: Optional[int] = None  # of a network of whole numbers: the level of the input's padding
    stream: bool = False  # a network for streams, see `columns`


def write_metadata(metadata):
    """Return `Metadata` as JSON, in bytes. Values that are the default are left out."""
    frontend = {key: getattr(metadata.frontend, key) for key in _LIMITS}
    for key, (field, words) in _CHOICES.items():
        word = next(word for word, value in words.items() if value == getattr(metadata.frontend, field))
        if word != next(iter(words)):
            frontend[key] = word
    network = {"filters": list(metadata.filters), "final_activation": metadata.final_activation}
    if metadata.pool_grid != (1, 1):
        network["grid"] = list(metadata.pool_grid)
    if metadata.zero is not None:
        network["zero"] = metadata.zero
    if metadata.stream:
        network = {"filters": list(metadata.filters), "stream": True}
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "name": metadata.name, "frontend": frontend}
    return json.dumps({**content, "network": network, **metadata.provenance}).encode()


def read_metadata(archive):
    """Read and check the metadata of a weight file.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    metadata : Metadata
        Its values lie within limits that bound the memory of a network.

    Raises
    ------
    EdgeL3Error
        A value is not as `KEYS` describes it, or the file has the name of a released model but not its network.
    """
    raw = archive.read("metadata", "|u1", (None,), max_items=MAX_METADATA_BYTES)
    try:
        content = json.loads(raw.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise archive.error("metadata", "JSON", error) from error

    def check(ok, key, expected):
        if not ok:
            value = content
            for part in key.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            raise archive.error("metadata", f"{key}: {expected}", f"{value!r:.100}")

    _check_form(content, check)
    frontend = _read_frontend(content["frontend"], check)
    network, stream = content["network"], isinstance(content["network"], dict) and "stream" in content["network"]
    filters, activation, pool_grid, zero = (_read_stream if stream else _read_network)(network, frontend, check)
    name = content["name"]
    if name in RELEASED:
        network = (frontend, filters, activation, pool_grid)
        same = network == RELEASED[name] and zero is None
        check(same, "network", f"that of {name}: {tuple(RELEASED[name])}")
    provenance = {key: content[key] for key in PROVENANCE}
    return Metadata(name, frontend, filters, activation, pool_grid, provenance, zero, stream)


def _is_int(value, low, high):
    return type(value) is int and low <= value <= high


def _check_form(content, check):
    """Check everything but the front end and the network."""
    check(isinstance(content, dict) and content.get("format") == FORMAT, "format", FORMAT)
    check(
        content.get("format_version") == FORMAT_VERSION,
        "format_version",
        f"{FORMAT_VERSION} (convert the model again, or use the version of edgel3_np that wrote it)",
    )
    check(set(content) == set(KEYS), "keys", ", ".join(KEYS))
    name, source = content["name"], content["source"]
    check(isinstance(name, str) and 0 < len(name) <= 64 and name.isprintable(), "name", "1 to 64 printable characters")
    check(_is_int(content["contract"], 1, CONTRACT), "contract", f"1 to {CONTRACT}")
    check(
        isinstance(source, dict) and all(isinstance(value, str) for value in source.values()),
        "source",
        "a dict of strings",
    )
    for key in ("license", "citation"):
        check(isinstance(content[key], str), key, "a string")


def _read_frontend(found, check):
    """Return the checked `FrontEnd`."""
    keys = set(found) if isinstance(found, dict) else set()
    check(
        set(_LIMITS) <= keys <= set(_LIMITS) | set(_CHOICES),
        "frontend",
        f"{', '.join(_LIMITS)}; perhaps {', '.join(_CHOICES)}",
    )
    for key, (low, high) in _LIMITS.items():
        check(_is_int(found[key], low, high), f"frontend.{key}", f"a whole number from {low} to {high}")
    fields = {key: found[key] for key in _LIMITS}
    for key, (field, words) in _CHOICES.items():
        word = found.get(key, next(iter(words)))
        check(isinstance(word, str) and word in words, f"frontend.{key}", " or ".join(words))
        fields[field] = words[word]
    frontend = FrontEnd(**fields)
    check(
        frontend.hop_length <= frontend.n_fft <= (frontend.sr if frontend.padding == "valid" else frontend.n_fft)
        and frontend.n_frames >= 8
        and frontend.n_frames * frontend.n_mels <= MAX_MAP,
        "frontend.hop_length",
        f"at most n_fft, and 8 frames to {MAX_MAP} / n_mels frames in a second",
    )
    check(
        frontend.mel_scale != "linear" or frontend.n_mels == 1 + frontend.n_fft // 2,
        "frontend.n_mels",
        "1 + n_fft // 2 on the linear scale",
    )
    check(
        frontend.spectrum == "power" or frontend.n_fft & (frontend.n_fft - 1) == 0,
        "frontend.n_fft",
        "a power of two for magnitudes",
    )
    return frontend


def _read_network(found, frontend, check):
    """Return the checked filters, final activation, pool grid and zero."""
    found = found if isinstance(found, dict) else {}
    filters, activation = found.get("filters"), found.get("final_activation")
    check(
        isinstance(filters, list) and len(filters) == 8 and all(_is_int(f, 1, MAX_FILTERS) for f in filters),
        "network.filters",
        f"8 whole numbers from 1 to {MAX_FILTERS}",
    )
    check(activation in ("relu", "linear"), "network.final_activation", "relu or linear")
    grid = found.get("grid", [1, 1])
    units = (
        frontend.n_mels // 8 / 4,
        frontend.n_frames // 8 / 2,
    )  # the last map in tiles of four bands, pairs of frames
    check(
        isinstance(grid, list)
        and len(grid) == 2
        and all(_is_int(cells, 1, MAX_FILTERS) for cells in grid)
        and all(cells == 1 or (size % cells == 0 < size) for cells, size in zip(grid, units)),
        "network.grid",
        f"two whole numbers, each 1 or a divisor of {units[0]:g} and {units[1]:g}",
    )
    zero = found.get("zero")
    check("zero" not in found or _is_int(zero, 0, TOP), "network.zero", f"a whole number from 0 to {TOP}")
    check(zero is None or frontend.spectrum == "power", "frontend.spectrum", "power for a network of whole numbers")
    check(
        zero is None or frontend.n_fft & (frontend.n_fft - 1) == 0,
        "frontend.n_fft",
        "a power of two for a network of whole numbers",
    )
    check(zero is None or grid == [1, 1], "network.grid", "none for a network of whole numbers")
    return tuple(filters), activation, tuple(grid), zero


def _read_stream(found, frontend, check):
    """Return the same of a network for streams."""
    filters = found.get("filters")
    check(found["stream"] is True, "network.stream", "true")
    check(set(found) == {"filters", "stream"}, "network", "filters and stream, and nothing else")
    check(
        isinstance(filters, list) and len(filters) == LAYERS and all(_is_int(f, 1, MAX_FILTERS) for f in filters),
        "network.filters",
        f"{LAYERS} whole numbers from 1 to {MAX_FILTERS}",
    )
    check(
        frontend.spectrum == "power" and frontend.padding == "same" and frontend.n_fft & (frontend.n_fft - 1) == 0,
        "frontend.n_fft",
        "a power of two, and the defaults of spectrum and padding, for a network for streams",
    )
    check(
        frontend.sr == COLUMNS * FRAMES * frontend.hop_length and (frontend.n_fft - frontend.hop_length) % 2 == 0,
        "frontend.hop_length",
        f"sr / {COLUMNS * FRAMES}, and as even or odd as n_fft, for a network for streams",
    )
    check(frontend.n_mels % 8 == 0, "frontend.n_mels", "a multiple of 8 for a network for streams")
    return tuple(filters), "relu", (1, 1), None
