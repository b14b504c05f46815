"""OpenL3's command line: `python -m edgel3_np.openl3 audio FILE ...`."""

from __future__ import annotations

import os
import sys

from . import embed
from .ending import USAGE, tell

PROGRAM = "openl3"


def main(arguments: list[str] | None = None) -> int:
    """Run OpenL3's command line for audio: the word `audio`, then options that the embed command has as well.

    Parameters
    ----------
    arguments : list of str, optional
        By default `sys.argv[1:]`.

    Returns
    -------
    code : int
        As from the embed command.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    modality = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    if modality in ("image", "video"):
        tell(PROGRAM, f"expected audio, found {modality}, which is not in this package")
        return USAGE
    if modality not in ("audio", None):
        if not os.path.lexists(modality) and not os.path.splitext(modality)[1]:
            tell(PROGRAM, f"expected the word audio, or the path of a recording, found {modality!r}")
            return USAGE
        arguments.insert(0, modality)  # openl3 does without the word
    return embed.main(["--input-repr", "mel256", *arguments], "openl3 audio")
