"""Models: `edgel3.models` for code written for edgel3, and this package's own functions."""

from .compat.edgel3 import load_embedding_model, load_embedding_model_path
from .model import Model, embed, load_model
from .weights.locate import list_models

__all__ = ["Model", "embed", "list_models", "load_embedding_model", "load_embedding_model_path", "load_model"]
