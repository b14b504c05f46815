"""Deprecated: use `edgel3_np.embedder`."""

from ._deprecated import renamed

__all__ = ["Embedder"]  # noqa: F822
__getattr__ = renamed(
    __name__,
    {
        "Embedder": ".embedder:Embedder",
    },
)
