"""Run a command whenever a class begins to be heard: without a shell, and never two at a time."""

from __future__ import annotations

import re
import shlex
import subprocess

from ..collections.names import printable
from ..errors import EdgeL3Error

PLACES = re.compile(r"\{(label|score)\}")
PATIENCE = 10.0  # seconds that the last command has to end, once the sound has ended
STDERR = 2  # the command's output goes there, because stdout has the lines of `listen`


def parse_command(text):
    """Split a command into its arguments, as a shell does, though none is used.

    Parameters
    ----------
    text : str
        `{label}` and `{score}` stand for what is heard, in any argument but the first.

    Returns
    -------
    arguments : list of str

    Raises
    ------
    EdgeL3Error
        There is no command, a quote is not closed, or the program is to be chosen by what is heard.
    """
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise EdgeL3Error(
            f"run: expected a command such as 'notify-send {{label}}', found {text!r}: {error}"
        ) from error
    others = [place for place in re.findall(r"\{(\w+)\}", text) if place not in ("label", "score")]
    if others:
        raise EdgeL3Error(f"run: expected {{label}} and {{score}} as places for what is heard, found {{{others[0]}}}")
    if not arguments or PLACES.search(arguments[0]):
        found = "a program that depends on the sound" if arguments else "nothing"
        raise EdgeL3Error(f"run: expected a program, then arguments with {{label}} and {{score}}, found {found}")
    return arguments


def fill(arguments, label, score):
    """Return arguments with a label and a score in their places; what a label holds is never looked at again.

    Examples
    --------
    >>> fill(["lamp", "--why={label}", "{score}"], "$(reboot) {score}", 0.9)
    ['lamp', '--why=$(reboot) {score}', '0.900']
    """
    values = {"label": label, "score": f"{score:.3f}"}
    return [PLACES.sub(lambda found: values[found[1]], argument) for argument in arguments]


class Runs:
    """Commands that are run, one at a time: what is heard while one still runs starts no other.

    Parameters
    ----------
    arguments : list of str
        As `parse_command` returns them.
    notice : callable, str -> None
        Called when a command cannot be started, fails, or is left out.
    """

    def __init__(self, arguments, notice):
        self._arguments, self._notice, self._process, self._name = arguments, notice, None, ""

    def start(self, label, score):
        """Start the command for a label and its score, and do not wait for it."""
        self.poll()
        if self._process is not None:
            self._notice(f"run: {printable(label)} is heard while {self._name} still runs; it is left out")
            return
        arguments = fill(self._arguments, label, score)
        self._name = printable(shlex.quote(arguments[0]))
        try:
            self._process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=STDERR)
        except (OSError, ValueError) as error:
            self._notice(f"run: {self._name} cannot be started: {getattr(error, 'strerror', None) or error}")

    def poll(self):
        """Tell whether the command has failed, if it has ended."""
        if self._process is not None and self._process.poll() is not None:
            code, self._process = self._process.returncode, None
            if code:
                self._notice(f"run: {self._name} failed: " + (f"signal {-code}" if code < 0 else f"exit code {code}"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process is not None:
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._notice(f"run: {self._name} still runs after {PATIENCE:g} s; it is ended")
                self._process.kill()
                self._process.wait()
            self.poll()
