"""What a weight file says of itself, and what the released models are."""

import json
from numbers import Real

from .errors import EdgeL3Error
from .melspectrogram import FrontEnd

FORMAT, FORMAT_VERSION = "edgel3_np weights", 1
CONTRACT = 2  # version of the numbers that this package computes; a change of numbers raises it
METADATA = {
    "format": "edgel3_np weights",
    "format_version": "int: layout of this file",
    "contract": "int: version of the numeric contract the file was made for",
    "name": "str: the model's name, such as sparse-ft-95.45",
    "frontend": "dict: sr, n_fft, hop_length, n_mels; and scale, spectrum, padding if they are not kapre 0.1.4's",
    "network": "dict: filters (a list of 8), final_activation (relu or linear), and perhaps grid (a list of 2)",
    "source": "dict of str: file, sha256, and what else tells where the weights come from",
    "license": "str",
    "citation": "str",
}
MAX_METADATA_BYTES = 1 << 16
MAX_FILTERS, MAX_MAP = 512, 1 << 16  # MAX_MAP: bands x frames of a window
_LIMITS = {"sr": (2000, 192_000), "n_fft": (16, 8192), "hop_length": (1, 8192), "n_mels": (8, 512)}
_CHOICES = {
    "scale": ("htk", "slaney", "linear"),
    "spectrum": ("power", "magnitude"),
    "padding": ("both", "behind", "none"),
}  # first: default

_EDGEL3 = "MIT, Copyright (c) 2019 Sangeeta Kumari"
_OPENL3 = "CC BY 4.0, the OpenL3 authors (Cramer, Wu, Salamon, Bello)"
LICENSES = {"sparse": _EDGEL3, "sea": _EDGEL3, "openl3": _OPENL3}  # of each family of released models
CITATIONS = {
    "sparse": "S. Kumari, D. Roy, M. Cartwright, J. P. Bello, A. Arora. EdgeL3: Compressing L3-Net for Mote Scale "
    "Urban Noise Monitoring. PAISE 2019.",
    "openl3": "J. Cramer, H.-H. Wu, J. Salamon, J. P. Bello. Look, Listen and Learn More: Design Choices for Deep "
    "Audio Embeddings. ICASSP 2019.",
    "sea": "S. Srivastava, D. Roy, M. Cartwright, J. P. Bello, A. Arora. Specialized Embedding Approximation for Edge "
    "Intelligence: A Case Study in Urban Sound Classification. ICASSP 2021.",
}
PUBLISHED = {  # sparsity of conv1 ... conv8 in percent (EdgeL3 paper)
    "53.5": (0, 30, 40, 50, 30, 50, 50, 60),
    "63.5": (0, 40, 50, 60, 40, 60, 60, 70),
    "72.3": (0, 40, 50, 60, 40, 70, 70, 80),
    "73.5": (0, 60, 60, 70, 50, 70, 70, 80),
    "81.0": (0, 70, 70, 75, 60, 80, 80, 85),
    "87.0": (0, 80, 80, 85, 40, 85, 85, 95),
    "90.5": (30, 85, 85, 90, 60, 90, 90, 95),
    "95.45": (0, 85, 85, 85, 75, 95, 98, 98),
}

SEA, SPARSE = FrontEnd(8000, 1024, 160, 64), FrontEnd(48000, 2048, 242, 256)
OPENL3 = {  # by input representation
    "linear": FrontEnd(48000, 512, 242, 257, "linear", "magnitude", "none"),
    "mel128": FrontEnd(48000, 2048, 242, 128, "slaney", "magnitude", "behind"),
    "mel256": FrontEnd(48000, 2048, 242, 256, "slaney", "magnitude", "behind"),
}
_L3 = (64, 64, 128, 128, 256, 256, 512, 512)
# name: (front end, filters, activation of the last convolution, grid). A file of one of these names must hold that.
RELEASED = {f"sparse-{how}-{rate}": (SPARSE, _L3, "linear", (1, 1)) for how in ("ft", "kd") for rate in PUBLISHED}
RELEASED["sea-512"] = (SEA, _L3, "relu", (1, 1))
RELEASED["sea-256"] = (SEA, (32, 32, 64, 64, 128, 128, 256, 256), "relu", (1, 1))
RELEASED["sea-128"] = (SEA, (32, 32, 64, 64, 128, 128, 128, 128), "relu", (1, 1))
RELEASED["sea-64"] = (SEA, (32, 32, 64, 64, 128, 128, 64, 64), "relu", (1, 1))
for _representation, _frontend in OPENL3.items():
    for _content in ("music", "env"):
        RELEASED[f"openl3-{_representation}-{_content}"] = (_frontend, _L3, "linear", (4, 3))
# sha256 of the weight files in the package
SHIPPED = {"pico-64": "94d0a5155e28ba87433ecf407a3151d78c3b1e718459dc9cfc4185001f5b1f81"}
# hash by which git knows each released file (gzipped, as it is downloaded): of b"blob %d\0" % size + content, SHA-1
BLOBS = {
    "sparse-ft-53.5": "145a4a61614c1b0b9f68339a844a3c92a431e118",
    "sparse-ft-63.5": "ce456a346803f8251505f137c8c3d04dcdcb8e67",
    "sparse-ft-72.3": "3bee3a0a90c82d7cd5ff77f3012eb51f6b818ef8",
    "sparse-ft-73.5": "6bf23ad68e5bf2e9e41c83659032234e18f5402e",
    "sparse-ft-81.0": "550d3c64ced38a3f61c8333f2775259bce216464",
    "sparse-ft-87.0": "a3537e20cd83b5d55708af7b1141a8e0c092488c",
    "sparse-ft-90.5": "fbf4d3742f46fe40960e9f7ff75ca2a2656877d0",
    "sparse-ft-95.45": "f04c05f436a6f95eea6f30573cb70c68841e16de",
    "sparse-kd-53.5": "28681887520bd12b87221c13beab11a766cb10dd",
    "sparse-kd-63.5": "c2bad561ef1f1cdd919f73f4c4f34f5672f58b4b",
    "sparse-kd-72.3": "2bc10ef8b9cec44354c5564173106ca5128cdc92",
    "sparse-kd-73.5": "81374e4a0a082eae689da873ef4079485576641d",
    "sparse-kd-81.0": "f522214d1f7e55cc2dd5c260051aa8b7b3fd0c65",
    "sparse-kd-87.0": "04fd3b2bf1d461bd6bc9a33925651797705e8b56",
    "sparse-kd-90.5": "24ec812c198b397c6c56da04ccde84b363e17a35",
    "sparse-kd-95.45": "ddefcd4c49a216f2ccec92db15105ed1499a6a35",
    "sea-64": "f3535405c91fe8da71f6456adb8a061213324239",
    "sea-128": "162576876259e8267eb6cefe09470dbf153ed6fc",
    "sea-256": "6be46fee2c278b79d9f77f064146a9493eff2f83",
    "sea-512": "116703e97997cc316d7163ede5d2f5e4d4018f87",
    "openl3-linear-env": "7837407f033f3564c7e8d53fc4a4241fe160478b",
    "openl3-linear-music": "4e2e61beb17865481c8b8791c72eac8307e2753a",
    "openl3-mel128-env": "8c3dfee140f7776373841e5938a3e76c54f28942",
    "openl3-mel128-music": "73ff29de441865318c4b3a3f98c40763c4773e7c",
    "openl3-mel256-env": "34dbd7a91cdd2de6a3d6d036ac0a24d27d78e3cc",
    "openl3-mel256-music": "15e483646fa3d4091a463f0affbb706e6bbbb098",
}
_EDGEL3_FILES = "https://github.com/ksangeeta2429/edgel3/raw/models/"
_OPENL3_FILES = "https://github.com/marl/openl3/raw/models/"


def released_file(name):
    """Address of the released file of a model, and the file's name.

    For example `edgel3_ft_audio_sparsity_95.45.h5.gz` for `sparse-ft-95.45`.
    """
    family, _, rest = name.partition("-")
    if family == "openl3":
        return _OPENL3_FILES, f"openl3_audio_{rest.replace('-', '_')}-v0_4_0.h5.gz"
    if family == "sea":
        return _EDGEL3_FILES, f"edgel3_sea_ust_audio_emb_{rest}.h5.gz"
    return _EDGEL3_FILES, f"edgel3_{rest.replace('-', '_audio_sparsity_')}.h5.gz"


def edgel3_name(model_type, emb_dim, retrain_type, sparsity):
    """Our name of a model that edgel3 names by four options; an error if there is none.

    Examples
    --------
    >>> edgel3_name("sparse", 512, "ft", 95.45), edgel3_name("sea", 64, "ft", 95.45)
    ('sparse-ft-95.45', 'sea-64')
    """
    options = {
        "model_type": (model_type, ("sparse", "sea")),
        "emb_dim": (emb_dim, (512, 256, 128, 64)),
        "retrain_type": (retrain_type, ("ft", "kd")),
        "sparsity": (sparsity, tuple(map(float, PUBLISHED))),
    }
    for key, (value, choices) in options.items():
        if not isinstance(value, (str, Real)) or value not in choices:
            raise EdgeL3Error(f"{key}: expected {' or '.join(map(repr, choices))}, found {value!r}")
    return f"sea-{emb_dim}" if model_type == "sea" else f"sparse-{retrain_type}-{float(sparsity)}"


def read_metadata(archive):
    """Read and check the metadata of a weight file.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    metadata : dict
        With exactly the keys of `METADATA`, each of its kind and within limits that bound the memory of a network.

    Raises
    ------
    EdgeL3Error
        Anything is not as described, or the file names itself after a released model whose network it does not hold.
    """
    raw = archive.read("metadata", "|u1", (None,), max_items=MAX_METADATA_BYTES)
    try:
        metadata = json.loads(raw.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise archive.error("metadata", "JSON", error) from error

    def check(ok, key, expected):
        if not ok:
            raise archive.error("metadata", f"{key}: {expected}", f"{found(key)!r:.100}")

    def found(key):
        value = metadata
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def is_int(value, low, high):
        return type(value) is int and low <= value <= high

    check(isinstance(metadata, dict) and found("format") == FORMAT, "format", FORMAT)
    check(
        found("format_version") == FORMAT_VERSION,
        "format_version",
        f"{FORMAT_VERSION} (convert the model again, or use the version of edgel3_np that wrote it)",
    )
    check(set(metadata) == set(METADATA), "keys", ", ".join(METADATA))
    name = metadata["name"]
    check(isinstance(name, str) and 0 < len(name) <= 64 and name.isprintable(), "name", "1 to 64 printable characters")
    check(is_int(metadata["contract"], 1, CONTRACT), "contract", f"1 to {CONTRACT}")
    check(
        isinstance(found("frontend"), dict) and set(_LIMITS) <= set(found("frontend")) <= set(_LIMITS) | set(_CHOICES),
        "frontend",
        f"{', '.join(_LIMITS)}; perhaps {', '.join(_CHOICES)}",
    )
    for key, (low, high) in _LIMITS.items():
        check(is_int(metadata["frontend"][key], low, high), f"frontend.{key}", f"a whole number from {low} to {high}")
    for key, choices in _CHOICES.items():
        value = metadata["frontend"].get(key, choices[0])
        check(type(value) is type(choices[0]) and value in choices, f"frontend.{key}", " or ".join(map(str, choices)))
    frontend = FrontEnd(**metadata["frontend"])
    check(
        frontend.hop_length <= frontend.n_fft <= (frontend.sr if frontend.padding == "none" else frontend.n_fft)
        and frontend.n_frames >= 8
        and frontend.n_frames * frontend.n_mels <= MAX_MAP,
        "frontend.hop_length",
        f"at most n_fft, and 8 frames to {MAX_MAP} / n_mels frames in a second",
    )
    check(
        frontend.scale != "linear" or frontend.n_mels == 1 + frontend.n_fft // 2,
        "frontend.n_mels",
        "1 + n_fft // 2 on the linear scale",
    )
    check(
        frontend.spectrum == "power" or frontend.n_fft & (frontend.n_fft - 1) == 0,
        "frontend.n_fft",
        "a power of two for magnitudes",
    )
    filters, activation = found("network.filters"), found("network.final_activation")
    check(
        isinstance(filters, list) and len(filters) == 8 and all(is_int(f, 1, MAX_FILTERS) for f in filters),
        "network.filters",
        f"8 whole numbers from 1 to {MAX_FILTERS}",
    )
    check(activation in ("relu", "linear"), "network.final_activation", "relu or linear")
    grid = metadata["network"].get("grid", [1, 1])
    parts = (frontend.n_mels // 8 // 4, frontend.n_frames // 8 // 2)  # of the last map: 4 columns, 2 rows
    check(
        isinstance(grid, list)
        and len(grid) == 2
        and all(is_int(cells, 1, MAX_FILTERS) for cells in grid)
        and all(cells == 1 or (size % cells == 0 < size) for cells, size in zip(grid, parts)),
        "network.grid",
        f"two whole numbers, 1 or divisors of {parts}",
    )
    source = metadata["source"]
    check(
        isinstance(source, dict) and all(isinstance(value, str) for value in source.values()),
        "source",
        "a dict of strings",
    )
    for key in ("license", "citation"):
        check(isinstance(metadata[key], str), key, "a string")
    if name in RELEASED:
        network = (frontend, tuple(filters), activation, tuple(grid))
        check(network == RELEASED[name], "network", f"that of {name}: {RELEASED[name]}")
    return metadata
