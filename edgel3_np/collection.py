"""Deprecated: use `edgel3_np.collections.embed`."""

from ._deprecated import renamed

__all__ = ["embed_files", "find_jobs"]  # noqa: F822
__getattr__ = renamed(
    __name__,
    {
        "embed_files": ":embed_files",
        "find_jobs": ".collections.embed:find_jobs",
    },
)
