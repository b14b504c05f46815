"""Interrupts at every line."""

import linecache
import sys

TRY = ("try:", "finally:")


def interrupt_at_line(number, call, wanted):
    """Raise a KeyboardInterrupt at a line of the code under test, as Ctrl-C does.

    Lines with `try:` and `finally:` alone do not count: no signal is looked at there.

    Parameters
    ----------
    number : int > 0
        Number of the line, counted while `call` executes.
    call : callable
    wanted : callable, str -> bool
        Tells whether the lines of a module count, from its name.

    Returns
    -------
    interrupted : bool
        Whether there were so many lines.
    """
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if not wanted(frame.f_globals.get("__name__", "")):
            return None
        if event == "line" and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() not in TRY:
            lines += 1
            if lines == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
