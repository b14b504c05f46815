"""Deprecated: use `edgel3_np.collections.jobs`."""

from ._deprecated import renamed

__all__ = ["Job", "Report", "embed_file"]  # noqa: F822
__getattr__ = renamed(
    __name__,
    {
        "Job": ".collections.jobs:Job",
        "Report": ":Report",
        "embed_file": ".collections.jobs:embed_file",
    },
)
