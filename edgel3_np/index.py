"""Keep an index of a collection of embeddings, with which `similar` is fast: `update_index`, `open_index`."""

from .collections.index import Index, open_index
from .collections.indexing import Indexed, update_index

__all__ = ["Index", "Indexed", "open_index", "update_index"]
