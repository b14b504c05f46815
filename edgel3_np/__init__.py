"""L3 audio embeddings in NumPy: EdgeL3 and SEA models without a deep-learning framework."""

from .embedding import Embedding
from .errors import EdgeL3Error, EdgeL3Warning
from .models import Model, embed, list_models, load_model
from .stream import Stream

__version__ = "0.1.0"
__all__ = ["EdgeL3Error", "EdgeL3Warning", "Embedding", "Model", "Stream", "embed", "list_models", "load_model"]
