"""L3 audio embeddings in NumPy: EdgeL3, SEA and OpenL3 models without a deep-learning framework."""

from .collection import embed_files
from .edgel3 import get_embedding, get_output_path, process_file
from .embedding import Embedding
from .errors import EdgeL3Error, EdgeL3Warning
from .jobs import Report
from .locate import list_models
from .models import Model, embed, load_model
from .stream import Stream

__version__ = "0.1.0"
__all__ = [
    "EdgeL3Error",
    "EdgeL3Warning",
    "Embedding",
    "Model",
    "Report",
    "Stream",
    "embed",
    "embed_files",
    "get_embedding",
    "get_output_path",
    "list_models",
    "load_model",
    "process_file",
]
