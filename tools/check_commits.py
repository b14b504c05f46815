#!/usr/bin/env python3
"""Check the messages of commits: a subject of at most 72 characters, an empty line, and a body that says why.

    python tools/check_commits.py            # all commits since the rule was made
    python tools/check_commits.py main..     # the commits of a branch

Exit codes: 0 if all messages are right, 1 otherwise. Without git or a history, nothing is checked, and a line says so.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SINCE = "d6d0fa502b54d068de91d776333991034993b99c"  # the last commit before the rule
SUBJECT = 72  # characters


def problems(message):
    """Yield what is wrong with a commit message, in words."""
    subject, _, rest = message.partition("\n")
    if not subject.strip():
        yield "expected a subject, found an empty line"
    if len(subject) > SUBJECT:
        yield f"expected a subject of at most {SUBJECT} characters, found {len(subject)}"
    if rest and not rest.startswith("\n"):
        yield "expected an empty line after the subject, found text"
    if not rest.strip():
        yield "expected a body that says why, found none"


def git(*arguments):
    """Return what a git command prints, or None if it fails."""
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout if ran.returncode == 0 else None


def main(arguments=None):
    """Check the commits of a range; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    revisions = arguments[0] if arguments else f"{SINCE}..HEAD"
    hashes = git("rev-list", "--no-merges", revisions)
    if hashes is None:
        print(f"check_commits: git has no history of {revisions} here: no commit is checked", file=sys.stderr)
        return 0
    wrong = 0
    for name in hashes.split():
        for problem in problems(git("show", "--no-patch", "--format=%B", name).strip("\n")):
            wrong += 1
            print(f"{name[:10]}: {problem}", file=sys.stderr)
    print(f"{len(hashes.split())} commits checked, {wrong} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
