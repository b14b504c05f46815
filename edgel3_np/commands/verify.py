"""`edgel3-np verify`: check that the installed models compute the right numbers on this machine."""

from __future__ import annotations

from ..diagnostics.checks import check_model
from ..weights.locate import find_model, list_models
from .ending import FAILED, OK, finish, tell, wrong_usage
from .options import make_parser

PROGRAM = "edgel3-np verify"


def main(arguments: list[str] | None = None) -> int:
    """Run the verify command; return its exit code."""
    return finish(PROGRAM, lambda: _run_verify(arguments))


def _run_verify(arguments):
    parser = make_parser(
        PROGRAM,
        "Check models on this machine: that their files are whole, that their numbers are right, and that "
        "the same sound gives the same bytes on any number of threads and in a stream.",
        ["edgel3-np verify", "edgel3-np verify pico-64 my-weights.npz"],
        "Exit codes: 0 all checks pass, 1 a check fails or no model is installed, 2 no such model, 130 interrupted.",
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="name or path (default: all installed models)")
    options = parser.parse_args(arguments)
    with wrong_usage():
        names = options.models or list(list_models())
        for name in names:
            find_model(name)
    if not names:
        tell(PROGRAM, "no models are installed: expected at least pico-64")
        return FAILED
    passed = [verify_model(name) for name in names]
    return OK if all(passed) else FAILED


def verify_model(name):
    """Print a line for each check of a model; return whether all of them pass."""
    passed = True
    for what, ok, found in check_model(name):
        passed = passed and ok
        print(f"{'ok' if ok else 'failed':6}  {name}: {what}: {found}", flush=True)
    return passed
