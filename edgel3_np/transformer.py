"""Deprecated: use `edgel3_np.embedder`."""

from ._deprecated import renamed

__getattr__ = renamed(
    __name__,
    {
        "Embedder": ".compat.sklearn:Embedder",
    },
)
