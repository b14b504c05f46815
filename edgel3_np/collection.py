"""Deprecated: use `edgel3_np.collections.embed`."""

from ._deprecated import renamed

__getattr__ = renamed(
    __name__,
    {
        "embed_files": ".collections.embed:embed_files",
        "find_jobs": ".collections.embed:find_jobs",
    },
)
