"""The networks of the released models, by name; and the model that comes with this package."""

from typing import NamedTuple

from ..errors import EdgeL3Error
from ..features.frontend import FrontEnd

DEFAULT = "pico-64"
BUNDLED_SHA256 = {DEFAULT: "c72575ee198f92cbc537acc853d276afc3a4ddb9bbf5f97457daf4ec5814829c"}
BUNDLED_SHA256["pico-64-stream"] = "0b058922150997752d5a5980df3114c657736b260b3f1e4f2e355d56d534fc37"

SEA, SPARSE = FrontEnd(8000, 1024, 160, 64), FrontEnd(48000, 2048, 242, 256)
OPENL3_FRONTENDS = {  # by input representation
    "linear": FrontEnd(48000, 512, 242, 257, "linear", "magnitude", "valid"),
    "mel128": FrontEnd(48000, 2048, 242, 128, "slaney", "magnitude", "end"),
    "mel256": FrontEnd(48000, 2048, 242, 256, "slaney", "magnitude", "end"),
}
_L3, _SEA = (64, 64, 128, 128, 256, 256, 512, 512), (32, 32, 64, 64, 128, 128)


class Released(NamedTuple):
    """The network of a released model: what a weight file of its name must hold."""

    frontend: FrontEnd
    filters: tuple  # of each convolution
    final_activation: str  # of the last convolution
    pool_grid: tuple  # (mel, time)


def openl3_name(input_repr, content_type):
    """Return our name of one of OpenL3's models.

    Examples
    --------
    >>> openl3_name("mel256", "music")
    'openl3-mel256-music'
    """
    return f"openl3-{input_repr}-{content_type}"


SPARSITIES = ["53.5", "63.5", "72.3", "73.5", "81.0", "87.0", "90.5", "95.45"]  # per cent, of EdgeL3's models
_SPARSE_NAMES = [f"sparse-{how}-{sparsity}" for how in ("ft", "kd") for sparsity in SPARSITIES]
RELEASED = {
    **dict.fromkeys(_SPARSE_NAMES, Released(SPARSE, _L3, "linear", (1, 1))),
    **{f"sea-{dim}": Released(SEA, (*_SEA, dim, dim), "relu", (1, 1)) for dim in (64, 128, 256)},
    "sea-512": Released(SEA, _L3, "relu", (1, 1)),
}
_CHOICES = [(openl3_name(name, what), made) for name, made in OPENL3_FRONTENDS.items() for what in ("env", "music")]
RELEASED.update((name, Released(frontend, _L3, "linear", (4, 3))) for name, frontend in _CHOICES)


def is_bundled(name, sha256):
    """Return whether a weight file is the one of this name that comes with this version; None if none comes with it."""
    return BUNDLED_SHA256[name] == sha256 if name in BUNDLED_SHA256 else None


def check_bundled(name, sha256, path):
    """Raise `EdgeL3Error` if this version comes with a model of this name and the file at `path` is another."""
    if is_bundled(name, sha256) is False:
        raise EdgeL3Error(
            f"{path}: expected the {name} of this version of edgel3_np (sha256 {BUNDLED_SHA256[name]}), found {sha256}"
            "; install the package again, or pass the file's path to load it all the same"
        )
