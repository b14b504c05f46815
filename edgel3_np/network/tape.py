"""Record NumPy calls once per workspace, and replay them for every window.

Replay spends no time finding the next call: no views, no shapes, no Python but one loop. That matters between products
of a few microseconds, where only one thread at a time can run Python.
"""

import numpy as np

from ..weights.integers import TOP

_ZEROS = np.zeros(1 << 13, np.float32)
_ZEROS.setflags(write=False)
_TOP = np.float32(TOP)
_clip_between = (getattr(np, "_core", None) or np.core).umath.clip  # the ufunc: the function takes longer to begin
_SHORT = 256  # floats of a row that are not worth an array of zeros


class Tape:
    """A list of NumPy calls on fixed buffers, written down by methods that read like NumPy.

    Parameters
    ----------
    layer : str
        Name of the layer that the calls compute, for profiles and errors.

    Attributes
    ----------
    calls : list of (callable, array, array, np.ndarray)
        Each is made as `function(a, b, out=out)`.

    Examples
    --------
    >>> tape, x, y = Tape("conv1"), np.array([1.0, -2.0]), np.empty(2)
    >>> tape.relu(x, out=y)
    >>> execute(tape)
    >>> y
    array([1., 0.])
    """

    def __init__(self, layer):
        self.layer, self.calls = layer, []

    def matmul(self, a, b, out):
        """Record `out = a @ b`."""
        self.calls.append((np.matmul, a, b, out))

    def call(self, function, a, b, out):
        """Record `function(a, b, out=out)`, for what NumPy does not have."""
        self.calls.append((function, a, b, out))

    def multiply(self, a, b, out):
        """Record `out = a * b`."""
        self.calls.append((np.multiply, a, b, out))

    def add(self, a, b, out):
        """Record `out = a + b`."""
        self.calls.append((np.add, a, b, out))

    def maximum(self, a, b, out):
        """Record `out = max(a, b)`, item by item."""
        self.calls.append((np.maximum, a, b, out))

    def relu(self, a, out):
        """Record `out = max(a, 0)`."""
        if a is out and out.ndim > 1:
            out = a = _long_rows(out)
        run = out.shape[-1]
        zeros = _ZEROS[:run] if _SHORT <= run <= len(_ZEROS) else _ZEROS[0]  # NumPy is twice as fast with an array
        self.calls.append((np.maximum, a, zeros, out))

    def levels(self, a, out):
        """Record `out = clip(round(a), 0, TOP)`; a number in the middle is rounded to the even one.

        `a` is overwritten.
        """
        long, in_place = _long_rows(a), out is a or a.strides[-1] != a.itemsize
        self.calls.append((_rint, long, None, long))
        self.calls.append((_clip, long, None, long) if in_place else (_clip, a, None, out))
        if in_place and out is not a:  # of calls that jump through memory, a copy is the fastest
            self.copy(a, out=out)

    def max(self, a, axis, out):
        """Record `out = a.max(axis)`."""
        self.calls.append((_max, a, axis, out))

    def copy(self, a, out):
        """Record `out = a`."""
        self.calls.append((_copy, a, None, out))


def _long_rows(a):
    """Return a view of an array with as many of the last axes merged as lie together and `_ZEROS` suffices for."""
    axes, run = a.ndim, 1
    while axes and a.strides[axes - 1] == run * a.itemsize and run * a.shape[axes - 1] <= len(_ZEROS):
        axes, run = axes - 1, run * a.shape[axes - 1]
    return a.reshape(*a.shape[:axes], run)


def _copy(a, _, out):
    np.copyto(out, a)


def _rint(a, _, out):
    np.rint(a, out=out)


def _clip(a, _, out):
    _clip_between(a, _ZEROS[0], _TOP, out=out)


def _max(a, axis, out):
    np.maximum.reduce(a, axis, None, out)


def execute(tape):
    """Make the calls of a tape on any thread, without NumPy's warnings.

    Raises
    ------
    RuntimeError
        As `play`.
    """
    with np.errstate(all="ignore"):
        play(tape)


def play(tape):
    """Make the calls of a tape.

    Raises
    ------
    RuntimeError
        A call fails, which is a defect of this package. The message names the layer.
    """
    try:
        for function, a, b, out in tape.calls:
            function(a, b, out=out)
    except (TypeError, ValueError) as error:
        raise RuntimeError(f"{tape.layer}: {error}") from error
