"""The two classes of trouble that edgel3_np reports."""

from __future__ import annotations


class EdgeL3Error(ValueError):
    """Wrong input, option, audio file or weight file.

    The message says what was expected, what was found and what to do. It is a `ValueError` too.

    Parameters
    ----------
    message : str
    kind : str
        What is wrong with a recording, for summaries: `unreadable` (missing, forbidden, no file at all), `not audio`,
        `damaged` (reading failed half-way), `bad samples` (NaN, infinity), `empty`; otherwise `invalid`.
    """

    def __init__(self, message: str, kind: str = "invalid") -> None:
        super().__init__(message)
        self.kind = kind


class EdgeL3Warning(UserWarning):
    """The input is unusual (silent, or shorter than a window) but has been embedded."""
