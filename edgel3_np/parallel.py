"""Threads: ours over windows, and none of the BLAS's inside.

A BLAS that splits a product over its threads rounds the edges of the parts differently, so results would depend on how
many there are; and its threads wait for each other by spinning, which on a busy machine is fifty times slower than one
thread. So while we compute, NumPy's OpenBLAS is held to one thread, and windows are spread over threads of ours.
"""

import ctypes
import glob
import os
import threading
from collections import deque
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from .errors import EdgeL3Error

_SYMBOLS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_lock = threading.Lock()
_active, _before = 0, 1  # calls inside `one_blas_thread`, and what the first of them found


@contextmanager
def one_blas_thread():
    """Hold NumPy's BLAS to one thread until the last of the calls that overlap in time has left.

    The host program's setting is what it was afterwards. Where the BLAS is none that we know how to ask (not OpenBLAS),
    nothing is done.

    Yields
    ------
    active : int > 0
        How many calls are inside now, this one included.
    """
    global _active, _before
    control = _openblas()
    with _lock:
        if control and _active == 0:
            _before = control[0]()
            control[1](1)
        _active += 1
        active = _active
    try:
        yield active
    finally:
        with _lock:
            _active -= 1
            if control and _active == 0:
                control[1](_before)


def _after_fork():
    """In a forked child: its parent's other threads, and what they held, are not there."""
    global _lock, _active
    _lock = threading.Lock()
    if _active and _openblas():
        _openblas()[1](_before)
    _active = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _openblas():
    """Functions of NumPy's OpenBLAS that get and set its number of threads, and tell its build; None if not found.

    These are not part of NumPy's interface; without them everything works, with BLAS's own threads.
    """
    package = glob.escape(os.path.dirname(np.__file__))
    folders = [os.path.join(package, *parts) for parts in ((os.pardir, "numpy.libs"), (".libs",), (".dylibs",))]
    for path in [path for folder in folders for path in sorted(glob.glob(os.path.join(folder, "*openblas*")))]:
        try:
            library = ctypes.CDLL(path)  # NumPy has loaded it already: this is the same one
        except OSError:
            continue
        for symbol in _SYMBOLS:
            names = ("get_num_threads", "set_num_threads", "get_config")
            getter, setter, build = (getattr(library, symbol.format(name), None) for name in names)
            if getter and setter and build:
                getter.restype, setter.argtypes, setter.restype = ctypes.c_int, [ctypes.c_int], None
                build.restype = ctypes.c_char_p
                return getter, setter, build
    return None


def blas():
    """Name, version and kernels of NumPy's BLAS, as far as it can be asked."""
    library = _openblas()
    return library[2]().decode("ascii", "replace").strip() if library else "unknown"


def check_threads(threads, active):
    """Number of threads to use: the one asked for, or a fair part of the cores among the calls active now."""
    if threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // active)
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or not 1 <= threads <= 256:
        raise EdgeL3Error(f"threads: expected a whole number from 1 to 256, or None for one a core, found {threads!r}")
    return int(threads)


def in_order(function, items, threads):
    """Apply a function to items on threads: like `map`, in order, with few items in flight.

    Parameters
    ----------
    function : callable
    items : iterable
        Taken from one thread, as results are asked for.
    threads : int > 0

    Yields
    ------
    result
        `function(item)`. What it raises is raised here.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with _pool(threads) as pool:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def spread(threads):
    """A function like `map` that uses so many threads, for as long as the context lasts."""
    if threads == 1:
        yield map
        return
    with _pool(threads) as pool:
        yield pool.map


def _pool(threads):
    from concurrent.futures import ThreadPoolExecutor  # here: it takes a while to import

    return ThreadPoolExecutor(threads, "edgel3_np")
