"""OpenL3's functions for audio on our engine: `from edgel3_np import openl3`.

`python -m edgel3_np.openl3 audio FILE ...` is OpenL3's command line.
"""

import sys

from .compat.openl3 import (
    OpenL3Error,
    OpenL3Warning,
    get_audio_embedding,
    get_output_path,
    load_audio_embedding_model,
    models,
    process_audio_file,
)

__all__ = [
    "OpenL3Error",
    "OpenL3Warning",
    "get_audio_embedding",
    "get_output_path",
    "load_audio_embedding_model",
    "models",
    "process_audio_file",
]

if __name__ == "__main__":
    from .__main__ import run

    sys.exit(run("openl3"))
