"""`edgel3-np info`: versions, hardware and installed models."""

from __future__ import annotations

import json
from pathlib import Path

from ..diagnostics.environment import describe_models, environment
from ..weights.locate import directories
from .ending import OK, finish
from .options import make_parser

PROGRAM = "edgel3-np info"
REMARKS = {  # by `shipped` of `describe_models`
    None: "",
    True: " (as shipped)",
    False: " (NOT the file that comes with this version)",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the info command; return its exit code."""
    return finish(PROGRAM, lambda: _run_info(arguments))


def _run_info(arguments):
    parser = make_parser(
        PROGRAM,
        "Show versions, hardware and installed models: paste the output into a problem report.",
        ["edgel3-np info", "edgel3-np info --json"],
        "`edgel3-np verify` checks that the models compute the right numbers.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    facts = {
        "environment": environment(),
        "package": str(Path(__file__).absolute().parent.parent),
        "directories": list(map(str, directories())),
        "models": describe_models(),
    }
    print(json.dumps(facts, indent=2) if options.json else "\n".join(format_info(facts)))
    return OK


def format_info(facts):
    """Format versions, hardware and models as text.

    Parameters
    ----------
    facts : dict
        `environment`, `package`, `directories` and `models`: what `edgel3-np info --json` prints.

    Yields
    ------
    line : str
    """
    yield from (f"{key:12} {value}" for key, value in facts["environment"].items())
    yield f"{'package':12} {facts['package']}"
    yield ""
    yield "models are looked up in"
    yield from (f"  {directory}" for directory in facts["directories"])
    for model in facts["models"]:
        yield ""
        yield f"{model['name']}  {model['path']}"
        if "error" in model:
            yield f"  not usable: {model['error']}"
            continue
        yield f"  {model['sr']} Hz, {' or '.join(map(str, model['dims']))} numbers, {model['bytes']} bytes"
        yield f"  sha256 {model['sha256']}{REMARKS[model['shipped']]}"
