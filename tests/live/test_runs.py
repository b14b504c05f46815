"""Tests of commands that sound starts."""

import json
import os
import sys
import time

import pytest

from edgel3_np import EdgeL3Error
from edgel3_np.live import runs as module
from edgel3_np.live.runs import Runs, fill, parse_command

HOSTILE = "$(touch pwned); `touch pwned` | touch pwned & > pwned {score} \"' \\ %PATH% --x <img>"


def wait(runs):
    for _ in range(1000):
        runs.poll()
        if runs._process is None:
            return
        time.sleep(0.01)
    raise AssertionError("the command does not end")


def recorder(path):
    """Return a command that writes its arguments into a file."""
    code = f"import sys, json; open({str(path)!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))"
    return [sys.executable, "-c", code]


def test_a_hostile_label_is_one_argument_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Runs([*recorder("out"), "{label}", "--p={score}", "{label}{label}"], pytest.fail) as runs:
        runs.start(HOSTILE, 0.93756)
    assert json.loads((tmp_path / "out").read_text()) == [HOSTILE, "--p=0.938", HOSTILE + HOSTILE]
    assert os.listdir(tmp_path) == ["out"]


def test_a_template_is_split_like_a_shells_command_but_no_shell_sees_it():
    assert parse_command("a 'b {label}' \"c;d\" $HOME") == ["a", "b {label}", "c;d", "$HOME"]
    assert fill(["a", "{label}", "{{score}}", "{other}"], "x {label} \\1", 0.5) == [
        "a",
        "x {label} \\1",
        "{0.500}",
        "{other}",
    ]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected a program, then arguments with {label} and {score}, found nothing"),
        ("{label} x", "found a program that depends on the sound"),
        ("/bin/{score}", "found a program that depends on the sound"),
        ("a 'b", 'found "a \'b": No closing quotation'),
    ],
)
def test_wrong_commands(text, message):
    with pytest.raises(EdgeL3Error) as caught:
        parse_command(text)
    assert message in str(caught.value)


def test_what_is_heard_while_a_command_runs_starts_no_other(tmp_path):
    notices = []
    code = f"import time, pathlib\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)"
    with Runs([sys.executable, "-c", code], notices.append) as runs:
        for _ in range(3):
            runs.start("dog\x1b[2J", 0.5)
        assert len(notices) == 2 and "dog\\x1b[2J is heard while" in notices[0] and "left out" in notices[0]
        (tmp_path / "go").touch()
        wait(runs)
        runs.start("dog", 0.5)
    assert len(notices) == 2


def test_a_failure_is_a_message(tmp_path):
    notices = []
    with Runs([str(tmp_path / "nothing")], notices.append) as runs:
        runs.start("dog", 0.5)
    assert len(notices) == 1 and "cannot be started: No such file or directory" in notices[0]
    with Runs([sys.executable, "-c", "raise SystemExit(3)"], notices.append) as runs:
        runs.start("dog", 0.5)
        wait(runs)
    assert len(notices) == 2 and notices[1].endswith("failed: exit code 3")


def test_a_command_without_an_end_is_ended(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    notices = []
    with Runs([sys.executable, "-c", "import time; time.sleep(1000)"], notices.append) as runs:
        runs.start("dog", 0.5)
    assert "still runs after 0.05 s; it is ended" in notices[0]


def test_the_command_does_not_take_the_sound(tmp_path):
    code = f"import sys; open({str(tmp_path / 'out')!r}, 'w').write(repr(sys.stdin.read()))"
    with Runs([sys.executable, "-c", code], pytest.fail) as runs:
        runs.start("dog", 0.5)
    assert (tmp_path / "out").read_text() == "''"
