"""The command line: `python -m edgel3_np` and the script `edgel3-np`."""

import argparse
import math
import os
import sys
import warnings
from pathlib import Path

from . import __version__
from .errors import EdgeL3Error, EdgeL3Warning
from .metadata import CONTRACT
from .models import DEFAULT, PATH_VARIABLE, list_models, load_model
from .output import save_embedding
from .weights import load_weights

OK, SOME_FAILED, USAGE, NO_INPUTS, INTERRUPTED = 0, 1, 2, 255, 130
# What counts as audio in a directory (a file named on the command line is tried whatever its name)
SUFFIXES = {f".{name}" for name in ("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc")}
SUFFIXES |= {f".{name}" for name in ("au", "snd", "caf", "w64", "rf64")}
UPSTREAM = {"model_type": "sparse", "emb_dim": 512, "retrain_type": "ft", "model_sparsity": "95.45"}


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of `sys.argv[1:]`.

    Returns
    -------
    code : int
        0: every file embedded; 1: some failed; 2: wrong usage, or no such model; 255: nothing to do; 130: interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    say = (lambda message: None) if options.quiet else (lambda message: print(message, file=sys.stderr))
    if options.list_models:
        return _print_models()
    if not options.inputs:
        parser.error("expected at least one INPUT: an audio file or a directory of them")
    try:
        model = load_model(_model_name(options))
        files, failures = _files(options.inputs), 0
    except (EdgeL3Error, OSError) as error:
        print(f"edgel3-np: {error}", file=sys.stderr)
        return USAGE
    if not files:
        print(f"edgel3-np: no audio files in {', '.join(options.inputs)}", file=sys.stderr)
        return NO_INPUTS
    outputs = {}
    try:
        for number, file in enumerate(files, 1):
            output = _output_path(file, options.output_dir, options.suffix)
            try:
                if output in outputs:
                    raise EdgeL3Error(
                        f"{file}: its output {output} was just written for {outputs[output]}; use -o or -x"
                    )
                count = _embed_file(model, file, output, options)
            except (EdgeL3Error, OSError) as error:
                failures += 1
                print(f"[{number}/{len(files)}] failed: {_reason(error, file)}", file=sys.stderr)
            else:
                outputs[output] = file
                say(f"[{number}/{len(files)}] {file} -> {output} ({count} embeddings)")
    except KeyboardInterrupt:
        print(f"edgel3-np: interrupted; {len(outputs)} of {len(files)} files are done and whole", file=sys.stderr)
        return INTERRUPTED
    if failures:
        print(f"edgel3-np: {failures} of {len(files)} files failed", file=sys.stderr)
    return SOME_FAILED if failures else OK


def _parser():
    parser = argparse.ArgumentParser(
        prog="edgel3-np",
        description="Embed audio files: one npz each, with arrays embedding (t, dim) and timestamps (t,) in seconds.",
        epilog="Exit codes: 0 all files embedded, 1 some failed, 2 wrong usage or no such model, 255 no audio files, "
        f"130 interrupted. Models are looked for in the directories of {PATH_VARIABLE}, then in the package.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="audio file, or directory whose audio files are taken (not recursively)",
    )
    add("-o", "--output-dir", metavar="DIR", help="where to write (default: next to each input); made if missing")
    add("-x", "--suffix", metavar="TEXT", help="write <name>_TEXT.npz instead of <name>.npz")
    add("-m", "--model", metavar="NAME|PATH", help=f"model to use: a name or an npz file (default: {DEFAULT})")
    add(
        "-t",
        "--hop-size",
        type=_seconds,
        default=0.1,
        metavar="S",
        help="seconds between windows (default: %(default)s)",
    )
    add("-n", "--no-centering", action="store_true", help="start window i at i * hop instead of centring it there")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add("--list-models", action="store_true", help="print the installed models and exit")
    add("--version", action="version", version=f"edgel3-np {__version__} (numeric contract {CONTRACT})")
    upstream = parser.add_argument_group(
        "upstream's way of naming a released model",
        "any of these replaces --model; the others then have these defaults",
    )
    add = upstream.add_argument
    add("-mtype", "--model-type", choices=["sea", "sparse"], help="(default: sparse)")
    add("-e", "--emb-dim", type=int, choices=[512, 256, 128, 64], help="of a sea model (default: 512)")
    add("-retrain", "--retrain-type", choices=["ft", "kd"], help="of a sparse model (default: ft)")
    add("-sp", "--model-sparsity", choices=["95.45", "53.5", "63.5", "72.3", "87.0"], help="likewise (default: 95.45)")
    return parser


def _seconds(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds, found {text!r}")
    return value


def _model_name(options):
    """The model asked for, in our way or in upstream's."""
    named = {key: getattr(options, key) for key in UPSTREAM if getattr(options, key) is not None}
    if options.model is not None:
        if named:
            raise EdgeL3Error(f"--model: expected it alone, found --{min(named).replace('_', '-')} too; drop one")
        return options.model
    if not named:
        return DEFAULT
    chosen = {**UPSTREAM, **named}
    if chosen["model_type"] == "sea":
        return f"sea-{chosen['emb_dim']}"
    return f"sparse-{chosen['retrain_type']}-{chosen['model_sparsity']}"


def _print_models():
    for name, path in list_models().items():
        try:
            weights = load_weights(path)
            facts = f"{weights.frontend.sr:6} Hz {weights.filters[-1]:4}-d {path.stat().st_size:9} bytes"
        except EdgeL3Error as error:
            facts = f"not usable: {error}"
        print(f"{name:18} {facts}  {path}")
    return OK


def _files(inputs):
    """Files named, and audio files in directories named, once each and in order."""
    files = {}
    for entry in inputs:
        path = Path(entry)
        found = [path]
        if path.is_dir():
            found = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and child.is_file())
        files.update(dict.fromkeys(found))
    return list(files)


def _output_path(file, output_dir, suffix):
    name = f"{file.stem}_{suffix}.npz" if suffix else f"{file.stem}.npz"
    return (Path(output_dir) if output_dir else file.parent) / name


def _embed_file(model, file, output, options):
    """Embed one file, write the result, and return how many embeddings there are."""
    os.makedirs(output.parent, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always", EdgeL3Warning)
        warnings.showwarning = lambda message, *_: print(f"{file}: warning: {message}", file=sys.stderr)
        result = model.embed(file, hop_size=options.hop_size, center=not options.no_centering)
    provenance = {
        "model": model.name,
        "weights_sha256": model.sha256,
        "version": __version__,
        "contract": CONTRACT,
        "options": {"hop_size": options.hop_size, "center": not options.no_centering},
    }
    save_embedding(output, result, provenance)
    return len(result.embedding)


def _reason(error, file):
    text = str(error)
    return text if str(file) in text else f"{file}: {text}"
