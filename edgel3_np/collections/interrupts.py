"""Keep a Ctrl-C that Python would lose."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def keep_interrupts():
    """Raise a `KeyboardInterrupt` for an exception that stands in the place of one.

    Some code of Python's library fails when it cleans up after a Ctrl-C, and then only that failure is raised. Before
    version 3.13, `Thread.join` may release a lock that the thread has just released (RuntimeError). A `ZipFile` refuses
    to be closed while a member is being written (ValueError).
    """
    try:
        yield
    except Exception as error:
        before = error.__context__
        while before is not None and not isinstance(before, KeyboardInterrupt):
            before = before.__context__
        if before is not None:
            raise KeyboardInterrupt from error
        raise


@contextmanager
def hold_interrupts():
    """Let a Ctrl-C wait until the end of a block that may start processes.

    One that comes in a function that runs after a fork, such as those of `logging`, is printed and forgotten.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    found = []
    signal.signal(signal.SIGINT, lambda *given: found.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if found:
            before(*found[0])
