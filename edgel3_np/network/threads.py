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
from typing import Callable, NamedTuple, Optional

import numpy as np

from .._checks import check_whole

MAX_THREADS = 256
_SYMBOLS = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")
_OPENMP = 2  # what OpenBLAS's get_parallel returns where its threads are OpenMP's
_lock = threading.Lock()
_inside: set[object] = set()  # a token of each call inside `one_blas_thread`
_before: Optional[int] = None  # the setting that the first of them finds


class _Blas(NamedTuple):
    """Functions of NumPy's OpenBLAS, which are not part of NumPy's interface."""

    get: Callable  # () -> number of threads
    set: Callable  # (number of threads) -> None
    build: Callable  # () -> bytes: version and kernels
    own: bool  # each thread of this process has a setting of its own, as in OpenMP


@contextmanager
def one_blas_thread():
    """Set NumPy's BLAS to one thread until the last of the calls that overlap in time ends.

    The previous setting is restored. A BLAS other than OpenBLAS (Accelerate, MKL, BLIS) keeps its threads.

    Yields
    ------
    active : int > 0
        Number of calls that are inside now, including this one.
    """
    global _before
    blas, token = _openblas(), object()
    own = blas.get() if blas and blas.own else None
    try:  # from here on a Ctrl-C at any place leaves the setting as it was
        with _lock:
            if blas and not blas.own and not _inside:
                _before = blas.get()
            _inside.add(token)
            hold_blas()
            active = len(_inside)
        yield active
    finally:
        try:
            _leave(blas, token, own)
        except KeyboardInterrupt:
            _leave(blas, token, own)
            raise


def hold_blas():
    """Set the BLAS to one thread: of all threads of this process, or of the one that calls, where each has its own."""
    blas = _openblas()
    if blas:
        blas.set(1)


def _leave(blas, token, own):
    """End a call of `one_blas_thread`; a second time this does nothing."""
    global _before
    with _lock:
        _inside.discard(token)
        if own is not None:
            blas.set(own)
        elif blas and not _inside and _before is not None:
            blas.set(_before)
            _before = None


def _after_fork():
    """Reset the state in a forked child, which has neither the other threads of its parent nor their locks."""
    global _lock, _before
    _lock = threading.Lock()
    if _before is not None:
        _openblas().set(_before)
    _inside.clear()
    _before = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@lru_cache(maxsize=1)
def _openblas():
    """Return the functions of NumPy's OpenBLAS, or None: then everything works, with the BLAS's own threads."""
    core = getattr(np, "_core", None) or np.core
    beside = os.path.join(glob.escape(os.path.dirname(np.__file__)), os.pardir, "numpy.libs", "*openblas*")
    # The first, opened once more, gives the symbols of all libraries that it needs; but on Windows only its own
    paths = [core._multiarray_umath.__file__, *sorted(glob.glob(beside))]
    for path in paths:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for symbol in _SYMBOLS:
            names = ("get_num_threads", "set_num_threads", "get_config", "get_parallel")
            found = [getattr(library, symbol.format(name), None) for name in names]
            if all(found):
                return _functions(library, *found)
    return None


def _functions(library, get, put, build, parallel):
    own = parallel() == _OPENMP
    if own:
        get, put = library.omp_get_max_threads, library.omp_set_num_threads
    get.restype, put.argtypes, put.restype, build.restype = ctypes.c_int, [ctypes.c_int], None, ctypes.c_char_p
    return _Blas(get, put, build, own)


def blas_name():
    """Return name, version and kernels of NumPy's BLAS; `unknown` if it is not OpenBLAS."""
    blas = _openblas()
    return blas.build().decode("ascii", "replace").strip() if blas else "unknown"


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

    return ThreadPoolExecutor(threads, "edgel3_np", hold_blas)
