"""Deprecated: use `edgel3_np.collections.jobs`."""

from ._deprecated import renamed

__getattr__ = renamed(
    __name__,
    {
        "Job": ".collections.jobs:Job",
        "Report": ".collections.jobs:Report",
        "embed_file": ".collections.jobs:embed_file",
    },
)
