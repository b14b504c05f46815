"""The two classes of trouble that edgel3_np reports."""


class EdgeL3Error(ValueError):
    """Wrong input, option, audio file or weight file.

    The message says what was expected, what was found and what to do. It is a `ValueError` too.
    """


class EdgeL3Warning(UserWarning):
    """The input is unusual (silent, or shorter than a window) but has been embedded."""
