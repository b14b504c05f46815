"""The functions of the package edgel3 on our engine: `from edgel3_np import edgel3`."""

from .compat.edgel3 import get_embedding, get_output_path, load_embedding_model, load_embedding_model_path, process_file

__all__ = ["get_embedding", "get_output_path", "load_embedding_model", "load_embedding_model_path", "process_file"]
