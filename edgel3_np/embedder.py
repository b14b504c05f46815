"""`Embedder`: embeddings as a step of a scikit-learn pipeline."""

from .compat.sklearn import Embedder

__all__ = ["Embedder"]
