"""L3 audio embeddings in NumPy: EdgeL3, SEA and OpenL3 models without a deep-learning framework."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__
from .errors import EdgeL3Error, EdgeL3Warning
from .model import Model, embed, load_model
from .pipeline import Embedding
from .stream import Stream
from .weights.locate import list_models

if TYPE_CHECKING:
    from . import models as models
    from .classifier import Classifier, detect_files, load_classifier
    from .collections.clusters import RayExecutor
    from .collections.embed import embed_files, iter_files
    from .collections.jobs import Report
    from .collections.summary import Summary
    from .collections.tables import Table, load
    from .compat.edgel3 import get_embedding, get_output_path, process_file

__all__ = ["EdgeL3Error", "EdgeL3Warning", "Embedding", "Model", "Stream", "embed", "list_models", "load_model"]
if TYPE_CHECKING or find_spec(f"{__name__}.collections"):  # a vendored copy may have the engine only
    __all__ += ["RayExecutor", "Report", "Summary", "Table", "embed_files", "iter_files", "load"]
if TYPE_CHECKING or find_spec(f"{__name__}.classify"):
    __all__ += ["Classifier", "detect_files", "load_classifier"]
if TYPE_CHECKING or find_spec(f"{__name__}.compat"):
    __all__ += ["get_embedding", "get_output_path", "process_file"]

_HOMES = {  # where names are imported from when they are first used
    ".classify.classifier": ("Classifier", "load_classifier"),
    ".classify.detect": ("detect_files",),
    ".collections.clusters": ("RayExecutor",),
    ".collections.embed": ("embed_files", "iter_files"),
    ".collections.jobs": ("Report",),
    ".collections.summary": ("Summary",),
    ".collections.tables": ("Table", "load"),
    ".compat.edgel3": ("get_embedding", "get_output_path", "process_file"),
    **{f".{module}": (module,) for module in ("collection", "edgel3", "jobs", "models")},
}
_LAZY = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec(__name__ + (_LAZY[name].rpartition(".")[0] or _LAZY[name])) is None:
        raise AttributeError(f"{name} is not in this copy of edgel3_np: vendor it too (tools/vendor.py --with)")
    module = import_module(__name__ + _LAZY[name])
    globals()[name] = module if _LAZY[name] == f".{name}" else getattr(module, name)
    return globals()[name]


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__, *(["models"] if find_spec(f"{__name__}.models") else [])})
