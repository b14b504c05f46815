"""`edgel3-np models`: list all models, installed and released."""

from __future__ import annotations

import json

from ..diagnostics.environment import describe_models
from ..released.catalogue import ACCURACIES, FILES, GOOD_FOR
from ..weights.registry import RELEASED
from .ending import OK, finish
from .options import make_parser

PROGRAM = "edgel3-np models"


def main(arguments: list[str] | None = None) -> int:
    """Run the models command; return its exit code."""
    return finish(PROGRAM, lambda: print_models(build_parser().parse_args(arguments).json))


def build_parser():
    """Build the parser of the models command's options."""
    parser = make_parser(
        PROGRAM,
        "List the installed models, and the released ones that `edgel3-np install` can get: sampling rate, length of "
        "an embedding, size of the weight file, published accuracy (ESC-50 and UrbanSound8K, per cent), what they are "
        "good for, and where they are installed.",
        ["edgel3-np models", "edgel3-np install sea-64"],
        "Exit codes: 0 done, 141 nobody reads the output.",
    )
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each model")
    return parser


def print_models(as_json=False):
    """Print a line for each model; return the exit code."""
    rows = [_row(model) for model in list_all()]
    if not as_json:
        print(
            f"{'name':20} {'rate':>6} {'length':>8} {'size':>8}  {'ESC-50':>6} {'US8K':>6}  {'good for':30} installed"
        )
    for row in rows:
        print(json.dumps(row) if as_json else _line(row))
    return OK


def list_all():
    """Return all models, installed ones first, as dicts like those of `describe_models`."""
    installed = {model["name"]: model for model in describe_models()}
    missing = [name for name in RELEASED if name not in installed]
    return [*installed.values(), *({"name": name} for name in missing)]


def _row(model):
    """Return what the table says of a model; None where it is unknown."""
    name, released = model["name"], RELEASED.get(model["name"])
    family = FILES[name].family if name in FILES else name
    rate, dims = model.get("sr"), model.get("dims")
    if released is not None and rate is None:
        grid = released.pool_grid[0] * released.pool_grid[1]
        rate = released.frontend.sr
        dims = list(dict.fromkeys([released.filters[-1] * grid, released.filters[-1]]))
    esc, urban = ACCURACIES.get(name, (None, None))
    return {
        "name": name,
        "sr": rate,
        "dims": dims,
        "bytes": model.get("bytes"),
        "esc50": esc,
        "us8k": urban,
        "good_for": GOOD_FOR.get(family),
        "path": model.get("path"),
        "error": model.get("error"),
    }


def _line(row):
    rate = f"{row['sr'] // 1000} kHz" if row["sr"] else ""
    length, size = "/".join(map(str, row["dims"] or ())), f"{row['bytes'] / 1000:.0f} kB" if row["bytes"] else ""
    esc, urban = (f"{value:.1f}" if value else "" for value in (row["esc50"], row["us8k"]))
    state = f"not usable: {row['error']}" if row["error"] else row["path"] or "no"
    return _columns(row["name"], rate, length, size, esc, urban, row["good_for"] or "", state)


def _columns(name, rate, length, size, esc, urban, good_for, state):
    return f"{name:20} {rate:>6} {length:>8} {size:>8} {esc:>7} {urban:>6}  {good_for:29} {state}"
