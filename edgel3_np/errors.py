"""The error and the warning of edgel3_np."""

from __future__ import annotations

import sys
import warnings


class EdgeL3Error(ValueError):
    """An input, option, audio file or weight file is wrong.

    The message says what was expected, what was found and what to do. The class is a `ValueError` too.

    Parameters
    ----------
    message : str
    kind : str
        What is wrong with a recording, for summaries: `unreadable` (missing, forbidden, not a file), `not audio`,
        `damaged` (reading fails half-way), `bad samples` (NaN, infinity), `empty`, `incomplete` (with `strict`),
        `changed` (while it is read); or with a job: `output` (the output cannot be written), `model` (the worker has
        another one); otherwise `invalid`.
    """

    def __init__(self, message: str, kind: str = "invalid") -> None:
        super().__init__(message)
        self.kind = kind


class EdgeL3Warning(UserWarning):
    """Something is unusual, and work goes on: silence, sound shorter than a window, a file that a search skips."""


def warn(message: str) -> None:
    """Issue an `EdgeL3Warning` that points at the first caller outside of this package.

    Python shows a warning once for each line that it points at; one that pointed inside the package would be hidden
    from the second call on.
    """
    package, level, frame = __name__.rpartition(".")[0], 1, sys._getframe()
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith(f"{package}."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, EdgeL3Warning, stacklevel=level)
