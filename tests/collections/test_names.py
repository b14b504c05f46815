import os

import pytest

from edgel3_np.collections.names import as_text, printable


@pytest.mark.parametrize(
    "name, text",
    [
        ("caf\u00e9.wav", "caf\u00e9.wav"),
        (os.fsdecode(b"\xff.wav"), "\\xff.wav"),
        ("a\ud800.wav", "a\\ud800.wav"),  # no file has such a name, but a hostile file may tell of one
    ],
)
def test_names_become_text(name, text):
    assert as_text(name) == printable(name) == text
    text.encode("utf-8")


def test_control_characters_do_not_reach_a_terminal():
    assert printable("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
