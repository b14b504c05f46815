"""Search collections of embeddings: `similar` finds the recordings and moments that are most like one."""

from .collections.search import Hit, similar

__all__ = ["Hit", "similar"]
