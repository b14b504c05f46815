import subprocess

import check_commits
import pytest


@pytest.mark.parametrize(
    "message, wrong",
    [
        ("Short subject\n\nIt says why.", []),
        ("x" * 72 + "\n\nIt says why.", []),
        ("x" * 73 + "\n\nIt says why.", ["at most 72 characters, found 73"]),
        ("Short subject", ["a body that says why"]),
        ("Short subject\n\n", ["a body that says why"]),
        ("Short subject\nand more", ["an empty line after the subject"]),
        ("", ["expected a subject", "a body"]),
    ],
)
def test_messages(message, wrong):
    found = list(check_commits.problems(message))
    assert len(found) == len(wrong)
    for problem, part in zip(found, wrong):
        assert part in problem


def commit(folder, message):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", message]
    subprocess.run(command, cwd=folder, check=True)


def test_the_commits_of_a_range_are_checked(tmp_path, monkeypatch, capsys):
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path, check=True)
    monkeypatch.setattr(check_commits, "ROOT", tmp_path)
    for message in ("First: not in the range", "Good\n\nWhy.", "x" * 80):
        commit(tmp_path, message)
    assert check_commits.main(["HEAD~2..HEAD"]) == 1
    out, err = capsys.readouterr()
    assert out == "2 commits checked, 2 problems\n" and "found 80" in err and "body" in err
    assert check_commits.main(["HEAD~2..HEAD~1"]) == 0


def test_without_a_history_nothing_is_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_commits, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert check_commits.main([]) == 0
    assert "no commit is checked" in capsys.readouterr().err
