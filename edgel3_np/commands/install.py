"""`edgel3-np install`: download released models and convert them."""

from __future__ import annotations

import os
import sys

from ..errors import EdgeL3Error
from ..released.catalogue import FILES, LICENSES
from ..released.install import install, released_address
from ..weights.locate import PATH_VARIABLE, list_models, user_directory
from .ending import OK, finish, tell
from .models import print_models
from .options import make_parser
from .progress import transfer

PROGRAM = "edgel3-np install"


def main(arguments: list[str] | None = None) -> int:
    """Run the install command; return its exit code."""
    return finish(PROGRAM, lambda: _run_install(arguments), "interrupted; every model that is installed is whole")


def _run_install(arguments):
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.list:
        return print_models()
    if not options.names:
        parser.error("expected at least one NAME of a released model; `edgel3-np models` lists them")
    try:
        for name in options.names:
            released_address(name, options.url)
    except EdgeL3Error as error:
        parser.error(str(error))
    if len(options.names) > 1 and options.source is not None and not os.path.isdir(options.source):
        parser.error("--from: expected a directory that holds the files of all these models, found something else")
    for name in options.names:
        install_model(name, options)
    return OK


def build_parser():
    """Build the parser of the install command's options."""
    parser = make_parser(
        PROGRAM,
        "Download released models, check that they are the released ones, convert them, and put them where "
        "edgel3_np finds them. Prints the path of each.",
        [
            "edgel3-np install sea-64 sparse-ft-95.45",
            "edgel3-np install sea-64 --from ~/Downloads   # without a network",
        ],
        f"Default directory: the first of {PATH_VARIABLE}, otherwise {user_directory()}. Proxies are taken from "
        "https_proxy and http_proxy. A machine without h5py can use an npz that another machine converted. Exit codes: "
        "0 installed, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a released model, such as sea-64")
    parser.add_argument("--list", action="store_true", help="the same as `edgel3-np models`")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--from",
        dest="source",
        metavar="FILE|DIR",
        help="read the released file (.h5.gz, as it is downloaded), or those in a directory, without a network",
    )
    where.add_argument("--url", metavar="BASE", help="download from this address instead of the official one")
    parser.add_argument(
        "-o", "--output-dir", "--to", dest="directory", metavar="DIR", help="directory to put the models into"
    )
    return parser


def install_model(name, options):
    """Install one model; print its path, and on stderr its size, its licence, and whether it can be loaded by name."""
    with transfer(name, sys.stderr.isatty()) as update:
        path = install(name, source=options.source, directory=options.directory, url=options.url, progress=update)
    print(path, flush=True)
    tell(PROGRAM, f"{name}: {path.stat().st_size} bytes; {LICENSES[FILES[name].family]}")
    found = list_models().get(name)
    if not found or os.path.abspath(found) != str(path):
        instead = f"finds {found} first" if found else "does not look there"
        tell(PROGRAM, f'load_model("{name}") {instead}: pass the path, or set {PATH_VARIABLE}')
