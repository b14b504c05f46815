"""Threads: the package spreads windows over its own, and the BLAS has one.

A BLAS that splits a product over its threads rounds the edges of the parts differently, so results would depend on how
many there are. Its threads also wait for each other in busy loops, which on a busy machine is fifty times slower than
one thread. So NumPy's OpenBLAS has one thread while this package computes.
"""

import ctypes
import glob
import os
import threading
from collections import deque
from contextlib import contextmanager
from functools import lru_cache
from typing import Optional

import numpy as np

from .._checks import check_whole

MAX_THREADS = 256
_SYMBOLS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_lock = threading.Lock()
_inside: set[object] = set()  # a token of each call inside `one_blas_thread`
_before: Optional[int] = None  # the setting that the first of them finds


@contextmanager
def one_blas_thread():
    """Set NumPy's BLAS to one thread until the last of the calls that overlap in time ends.

    The previous setting is restored. A BLAS other than OpenBLAS keeps its threads.

    Yields
    ------
    active : int > 0
        Number of calls that are inside now, including this one.
    """
    global _before
    control, token = _openblas(), object()
    try:  # from here on a Ctrl-C at any place leaves the setting as it was
        with _lock:
            if control and not _inside:
                _before = control[0]()
            _inside.add(token)
            if control:
                control[1](1)
            active = len(_inside)
        yield active
    finally:
        try:
            _leave(control, token)
        except KeyboardInterrupt:
            _leave(control, token)
            raise


def _leave(control, token):
    """End a call of `one_blas_thread`; a second time this does nothing."""
    global _before
    with _lock:
        _inside.discard(token)
        if control and not _inside and _before is not None:
            control[1](_before)
            _before = None


def _after_fork():
    """Reset the state in a forked child, which has neither the other threads of its parent nor their locks."""
    global _lock, _before
    _lock = threading.Lock()
    if _before is not None:
        _openblas()[1](_before)
    _inside.clear()
    _before = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _openblas():
    """Return the functions of NumPy's OpenBLAS that get and set its number of threads and tell its build, or None.

    They are not part of NumPy's interface. Without them everything works, with the BLAS's own threads.
    """
    package = glob.escape(os.path.dirname(np.__file__))
    folders = [os.path.join(package, *parts) for parts in ((os.pardir, "numpy.libs"), (".libs",), (".dylibs",))]
    for path in [path for folder in folders for path in sorted(glob.glob(os.path.join(folder, "*openblas*")))]:
        try:
            library = ctypes.CDLL(path)  # NumPy has loaded this very library already
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


def blas_name():
    """Return name, version and kernels of NumPy's BLAS; `unknown` if it is not OpenBLAS."""
    library = _openblas()
    return library[2]().decode("ascii", "replace").strip() if library else "unknown"


def check_threads(threads, active=1):
    """Return the number of threads to use.

    Parameters
    ----------
    threads : int or None
        From 1 to 256. None: the cores that this process may use, shared between the calls that are active.
    active : int > 0
        Calls that are active now.

    Raises
    ------
    EdgeL3Error
        `threads` is something else.
    """
    if threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // active)
    return check_whole("threads", threads, 1, MAX_THREADS, ", or None for one a core")


def in_order(function, items, threads):
    """Apply a function to items on threads: like `map`, in order, with few items in flight.

    Parameters
    ----------
    function : callable
    items : iterable
        They are taken one after the other, as results are asked for.
    threads : int > 0

    Yields
    ------
    result
        `function(item)`. What it raises is raised here. If the generator is closed early, or an item fails, queued
        items are cancelled; only those that have begun are waited for.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with _pool(threads) as pool:
        pending = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def spread(threads):
    """Yield a function like `map` that uses so many threads, for as long as the context lasts."""
    if threads == 1:
        yield map
        return
    with _pool(threads) as pool:
        yield pool.map


def _pool(threads):
    from concurrent.futures import ThreadPoolExecutor  # imported here: it takes a while

    return ThreadPoolExecutor(threads, "edgel3_np")
