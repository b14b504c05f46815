"""`edgel3-np INPUT ...`: embed audio files and directories of them."""

from __future__ import annotations

import argparse
import os

from .._version import CONTRACT, __version__
from ..collections.embed import find_jobs, reports
from ..collections.parquet.shard import FORMATS
from ..errors import EdgeL3Error
from ..weights.locate import PATH_VARIABLE
from ..weights.registry import DEFAULT, OPENL3_FRONTENDS, openl3_name
from .ending import FAILED, NO_INPUTS, OK, finish, tell, wrong_usage
from .index import index_directory
from .options import add_embedding_options, make_parser
from .runs import add_report_options, add_run_options, code_of, follow, nothing_to_do, open_manifest, print_report

PROGRAM = "edgel3-np"
OPENL3_NAMING = {"input_repr": "mel256", "content_type": "music"}  # options that replace --model, and their defaults
EDGEL3_NAMING = {"model_type": "sparse", "emb_dim": None, "retrain_type": "ft", "model_sparsity": 95.45}


def main(arguments: list[str] | None = None, program: str = f"{PROGRAM} embed") -> int:
    """Run the embed command.

    Parameters
    ----------
    arguments : list of str, optional
        By default `sys.argv[1:]`.
    program : str
        The name that the help begins with.

    Returns
    -------
    code : int
        0: every file is embedded; 1: some fail; 2: wrong usage, or no such model; 255: there are no audio files; 130:
        interrupted; 141: nobody reads the output.
    """
    return finish(PROGRAM, lambda: _run_embed(arguments, program))


def _run_embed(arguments, program):
    parser = build_parser(program)
    options = parser.parse_intermixed_args(arguments)
    if options.list_models:
        from .models import print_models  # here: a copy may lack what it needs

        return print_models()
    if not options.inputs:
        parser.error("expected at least one INPUT: an audio file, or a directory of audio files")
    if "-" in options.inputs and not os.path.lexists("-"):
        parser.error("expected files and directories, found - (standard input): write it to a file, or use `listen -`")
    if options.index and options.output_dir is None:
        parser.error("--index: expected -o DIR with it, found none")
    with wrong_usage():
        count, jobs, problems = _find_jobs(options)
        manifest = open_manifest(options)
    with manifest as lines:
        if count or problems:
            code = embed_collection(options, count + len(problems), jobs, problems, lines)
            failed = index_directory(PROGRAM, options.output_dir, options.quiet) if options.index else 0
            return FAILED if failed and code == OK else code
    tell(PROGRAM, nothing_to_do(options))
    return NO_INPUTS


def _find_jobs(options):
    return find_jobs(
        options.inputs,
        options.output_dir,
        model=model_name(options),
        dim=options.dim,
        hop_size=options.hop_size,
        center=not options.no_centering,
        recursive=options.recursive,
        suffix=options.suffix,
        shard=options.shard,
        threads=options.threads or (1 if options.jobs > 1 else None),
        resume=options.resume,
        strict=options.strict,
        format=options.format,
    )


def embed_collection(options, count, jobs, problems, manifest=None):
    """Do jobs, show how far they are, and print a summary.

    Parameters
    ----------
    options : argparse.Namespace
        From `build_parser`.
    count : int
        Reports to expect.
    jobs : iterator of Job
    problems : list of Report
        As `find_jobs` returns them.
    manifest : text file, optional
        Receives a line of JSON for each report.

    Returns
    -------
    code : int
        0: every file is embedded; 1: some fail; 255: all are passed over.
    """
    table = options.shard if options.format == "parquet" else None
    work = reports(jobs, problems, jobs=options.jobs, count=count, table=table)
    totals = follow(work, count, options, lambda report, say: print_report(report, options, manifest, say))
    if not options.quiet or totals.kinds:
        tell(PROGRAM, str(totals))
    return code_of(totals)


def build_parser(program=f"{PROGRAM} embed"):
    """Build the parser of the embed command's options."""
    parser = make_parser(
        program,
        "Embed recordings: each becomes an npz file with the arrays embedding (t, dim), timestamps (t,) in seconds, "
        f"and provenance (JSON). `{PROGRAM} INPUT ...` is the same as `{PROGRAM} embed INPUT ...`.",
        [
            f"{PROGRAM} recordings/ -o embeddings/     # a tree of npz files like the tree of the recordings",
            f"{PROGRAM} song.mp3 --hop-size 0.5        # writes song.npz beside it, with two embeddings a second",
            f"{PROGRAM} recordings/ -o out/ -j 8          # eight processes; a second run does only what is missing",
            f"{PROGRAM} recordings/ -o out/ --format parquet   # one table, in a few large files",
        ],
        "Exit codes: 0 all files are embedded, 1 some fail, 2 wrong usage or no such model, 255 no audio files, 130 "
        f"interrupted, 141 nobody reads the output. Models are looked up in the directories of {PATH_VARIABLE}, then "
        f"in the package, then where `{PROGRAM} install` puts them; `{PROGRAM} models` lists them.",
    )
    _add_files(parser.add_argument)
    add_embedding_options(parser.add_argument)
    version = f"{PROGRAM} {__version__} (numeric contract {CONTRACT})"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("--list-models", action="store_true", help=argparse.SUPPRESS)
    _add_collections(parser.add_argument_group("collections").add_argument)
    _add_model_names(parser)
    return parser


def _add_files(add):
    add("inputs", nargs="*", metavar="INPUT", help="audio file, or directory whose audio files are embedded")
    add(
        "-r",
        "--recursive",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="embed the audio files of subdirectories as well (the default)",
    )
    add(
        "-o",
        "--output-dir",
        "--output",
        metavar="DIR",
        help="directory for the outputs, in a tree like that of the inputs (default: next to each input); it is made "
        "if it is missing. Embeddings of another model, or with other options, are replaced: take a directory for each",
    )
    add("-x", "--suffix", metavar="TEXT", help="write <name>_TEXT.npz instead of <name>.npz")
    add(
        "--format",
        choices=FORMATS,
        default="npz",
        help="parquet: write a table in parts into DIR, part-K-of-N-00000.parquet and so on, instead of an npz for "
        "each input: for many short recordings; needs pyarrow (default: %(default)s)",
    )


def _add_collections(add):
    add_run_options(add)
    add_report_options(add)
    add("--index", action="store_true", help="at the end, bring the index of DIR up to date: see `edgel3-np index`")


def _add_model_names(parser):
    add = parser.add_argument_group("OpenL3's options for a model, instead of --model").add_argument
    add("-i", "--input-repr", choices=list(OPENL3_FRONTENDS), help="spectrogram (default: mel256)")
    add("-c", "--content-type", choices=["music", "env"], help="audio that the model is trained on (default: music)")
    add = parser.add_argument_group(
        "edgel3's options for a released model, instead of --model",
        "If one of them is given, the others have these defaults.",
    ).add_argument
    add("-mtype", "--model-type", choices=["sea", "sparse"], help="kind of model (default: sparse)")
    add(
        "-e",
        "--emb-dim",
        type=int,
        choices=[512, 256, 128, 64],
        help="length of a sea model's embeddings (default: 128)",
    )
    add(
        "-retrain",
        "--retrain-type",
        choices=["ft", "kd"],
        help="how a sparse model is trained: fine-tuned or by knowledge distillation (default: ft)",
    )
    add(
        "-sp",
        "--model-sparsity",
        type=float,
        choices=[95.45, 53.5, 63.5, 72.3, 87.0],
        help="per cent of a sparse model's weights that are zero (default: 95.45)",
    )


def model_name(options):
    """Return the name or path of the model that the options name, in one of three ways."""
    openl3, edgel3 = (
        {key: getattr(options, key) for key in naming if getattr(options, key) is not None}
        for naming in (OPENL3_NAMING, EDGEL3_NAMING)
    )
    if (options.model is not None) + bool(openl3) + bool(edgel3) > 1:
        model = ["--model"] if options.model is not None else []
        found = ", ".join([*model, *(f"--{key.replace('_', '-')}" for key in sorted({**openl3, **edgel3}))])
        raise EdgeL3Error(f"expected one way to name a model: --model, OpenL3's options or edgel3's; found {found}")
    if openl3:
        return openl3_name(**{**OPENL3_NAMING, **openl3})
    if edgel3:
        from ..compat.edgel3 import edgel3_name  # here: a copy may have no `compat`

        chosen = {**EDGEL3_NAMING, **edgel3}
        if chosen["emb_dim"] is None:
            chosen["emb_dim"] = 128 if chosen["model_type"] == "sea" else 512
        return edgel3_name(*(chosen[key] for key in EDGEL3_NAMING))
    return DEFAULT if options.model is None else options.model
