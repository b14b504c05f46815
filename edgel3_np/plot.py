"""Draw a recording and its embeddings. It needs matplotlib (extra `plot`)."""

from ._deprecated import renamed
from .plotting.figure import plot_recording, save

__all__ = ["plot_recording", "save"]
__getattr__ = renamed(__name__, {"embedding": ".plot:plot_recording"})
