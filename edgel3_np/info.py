"""`edgel3-np info`: versions, hardware and installed models, for whoever reports a problem."""

import argparse
import json
import os
import platform
from importlib import import_module

from . import __version__, parallel
from .errors import EdgeL3Error
from .locate import directories, list_models
from .metadata import CONTRACT, SHIPPED
from .npz import read_file
from .plan import dims
from .weights import MAX_FILE_BYTES, parse_weights


def environment():
    """Versions and hardware, by name: what a problem report or the head of a table needs."""
    try:
        with open("/proc/cpuinfo") as file:
            cpu = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or "unknown"
    return {
        "edgel3_np": __version__,
        "contract": CONTRACT,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "scipy": _version("scipy"),
        "soundfile": _version("soundfile"),
        "libsndfile": _version("soundfile", "__libsndfile_version__"),
        "blas": parallel.blas(),
        "cpu": cpu,
        "cores": parallel.check_threads(None, 1),
        "system": platform.platform(),
    }


def _version(name, attribute="__version__"):
    try:
        return str(getattr(import_module(name), attribute))
    except (ImportError, OSError):  # OSError: soundfile without libsndfile
        return "not installed"


def models():
    """What is known of each installed model.

    Returns
    -------
    models : list of dict
        `name`, `path`, and either `bytes`, `sha256`, `sr` (Hz), `dims` and `shipped` (whether the file is the one that
        came with this version; None for models that do not come with it), or `error`.
    """
    facts = []
    for name, path in list_models().items():
        fact = {"name": name, "path": str(path)}
        try:
            content = read_file(path, MAX_FILE_BYTES)
            weights = parse_weights(content, str(path))
            fact.update(
                bytes=len(content),
                sha256=weights.sha256,
                sr=weights.frontend.sr,
                dims=list(dims(weights)),
                shipped=weights.sha256 == SHIPPED[name] if name in SHIPPED else None,
            )
        except EdgeL3Error as error:
            fact["error"] = str(error)
        facts.append(fact)
    return facts


def show(facts):
    """Lines of text that show what `main` collects."""
    yield from (f"{key:12} {value}" for key, value in facts["environment"].items())
    yield f"{'package':12} {facts['package']}"
    yield ""
    yield "models are looked for in"
    yield from (f"  {directory}" for directory in facts["directories"])
    for model in facts["models"]:
        yield ""
        yield f"{model['name']}  {model['path']}"
        if "error" in model:
            yield f"  not usable: {model['error']}"
            continue
        yield f"  {model['sr']} Hz, {' or '.join(map(str, model['dims']))} numbers, {model['bytes']} bytes"
        remark = {None: "", True: " (as shipped)", False: " (NOT the one that came with this version)"}
        yield f"  sha256 {model['sha256']}{remark[model['shipped']]}"


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="edgel3-np info",
        description="Show versions, hardware and installed models: paste it into a problem report.",
        epilog="`edgel3-np verify` checks that they work.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    facts = {
        "environment": environment(),
        "package": os.path.dirname(os.path.abspath(__file__)),
        "directories": list(map(str, directories())),
        "models": models(),
    }
    print(json.dumps(facts, indent=2) if options.json else "\n".join(show(facts)))
    return 0
