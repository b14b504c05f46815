"""The interface of HEAR 2021: `hear-validator edgel3_np.hear`. It needs PyTorch (extra `hear`)."""

from .compat.hear import get_scene_embeddings, get_timestamp_embeddings, load_model

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]
