"""Tests of `finish`, which ends every command in the same way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgel3_np
from edgel3_np import EdgeL3Error
from edgel3_np.commands import ending
from edgel3_np.commands.ending import UsageError, escape_names, finish, wrong_usage


def fail(error):
    raise error


def test_the_exit_code_of_the_work_is_returned(capsys):
    assert [finish("p", lambda code=code: code) for code in (0, 1, 255)] == [0, 1, 255]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error, code, message",
    [
        (EdgeL3Error("hop_size: expected ..."), 1, "p: hop_size: expected ...\n"),
        (EdgeL3Error("a.npz: expected ...", kind="damaged"), 1, "p: a.npz: expected ...\n"),
        (OSError(28, "No space left on device"), 1, "p: [Errno 28] No space left on device\n"),
        (OSError(2, "No such file or directory", "a.wav"), 1, "p: a.wav: No such file or directory\n"),
        (OSError(2, "No such file or directory", b"\xff.wav"), 1, "p: \\xff.wav: No such file or directory\n"),
        (UsageError("no such model"), 2, "p: no such model\n"),
        (EdgeL3Error("a\x1b[31m\nb: expected ..."), 1, "p: a\\x1b[31m\\nb: expected ...\n"),
        (KeyboardInterrupt(), 130, "p: interrupted\n"),
        (KeyboardInterrupt("interrupted after 3 files"), 130, "p: interrupted after 3 files\n"),
    ],
    ids=repr,
)
def test_errors_are_one_line_and_an_exit_code(error, code, message, capsys):
    assert finish("p", lambda: fail(error)) == code
    assert capsys.readouterr() == ("", message)


def test_names_in_json():
    record = {"a": "caf\udce9", "b": "caf\u00e9", "c": None, "d": "a\\xe9\udce9"}
    found = escape_names(record, ("a", "b", "c", "d"))
    assert found == {"a": "caf\\xe9", "b": "caf\u00e9", "c": None, "d": "a\\\\xe9\\xe9", "escaped": True}
    assert "escaped" not in escape_names({"a": "a\\b"}, ("a",))


def test_the_message_after_an_interrupt(capsys):
    assert finish("p", lambda: fail(KeyboardInterrupt()), "interrupted; nothing is written") == ending.INTERRUPTED
    assert capsys.readouterr().err == "p: interrupted; nothing is written\n"


def test_the_message_after_an_interrupt_that_python_loses(capsys):
    def work():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("release unlocked lock")

    assert finish("p", work) == ending.INTERRUPTED
    assert capsys.readouterr().err == "p: interrupted\n"
    with pytest.raises(RuntimeError):
        finish("p", lambda: fail(RuntimeError("a defect")))


@pytest.mark.parametrize("error", [ValueError("a defect"), SystemExit(2), MemoryError()], ids=repr)
def test_other_exceptions_pass_through(error):
    with pytest.raises(type(error)):
        finish("p", lambda: fail(error))


@pytest.mark.parametrize("error", [EdgeL3Error("no such model"), OSError(2, "No such file or directory", "m.jsonl")])
def test_errors_that_are_wrong_usage(error, capsys):
    def work():
        with wrong_usage():
            raise error

    assert finish("p", work) == ending.USAGE
    assert capsys.readouterr().err in ("p: no such model\n", "p: m.jsonl: No such file or directory\n")


@pytest.mark.parametrize(
    "error, code",
    [(EdgeL3Error("x"), 2), (EdgeL3Error("x", kind="damaged"), 1), (OSError(5, "Input/output error"), 1)],
)
def test_wrong_usage_of_one_kind(error, code):
    def work():
        with wrong_usage("invalid"):
            raise error

    assert finish("p", work) == code


def test_wrong_usage_of_a_block_without_error():
    with wrong_usage():
        pass
    with pytest.raises(ZeroDivisionError), wrong_usage():
        raise ZeroDivisionError


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.parametrize("end", ["return 0", "raise SystemExit(0)"])
def test_a_pipe_that_nobody_reads(closed, flush, end):
    """The exit code is `NO_READER`, whether printing or flushing the buffer fails, and Python adds no message."""
    code = (
        "import sys\n"
        "from edgel3_np.commands.ending import escape_names, finish\n"
        "def work():\n"
        f"    print('text', file=sys.{closed}, flush={flush})\n"
        f"    {end}\n"
        "sys.exit(finish('p', work))\n"
    )
    read, write = os.pipe()
    os.close(read)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: write}
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    environment.pop("PYTHONUNBUFFERED", None)
    ran = subprocess.run([sys.executable, "-c", code], env=environment, timeout=100, **pipes)
    os.close(write)
    assert ran.returncode == ending.NO_READER and not ran.stdout and not ran.stderr
