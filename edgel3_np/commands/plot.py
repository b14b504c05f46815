"""`edgel3-np plot`: draw a recording and its embeddings."""

from __future__ import annotations

import os
import warnings

from ..collections.names import printable
from ..collections.results import read_provenance, recording_of
from ..errors import EdgeL3Error, EdgeL3Warning
from ..model import load_model
from ..pipeline import framing_for
from ..plotting.figure import check_format, import_matplotlib, plot_recording, save
from ..weights.registry import DEFAULT
from .ending import OK, UsageError, finish, tell, wrong_usage
from .options import add_embedding_options, make_parser

PROGRAM = "edgel3-np plot"


def main(arguments: list[str] | None = None) -> int:
    """Run the plot command; return its exit code."""
    return finish(PROGRAM, lambda: _run_plot(arguments), "interrupted; nothing is written")


def _run_plot(arguments):
    options = build_parser().parse_args(arguments)
    _check_not_embeddings(options.file)
    output = options.output or f"{options.file}.png"
    with wrong_usage():
        check_format(output)
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        import_matplotlib()
        model = load_model(options.model or DEFAULT, options.dim)
        framing_for(model.network, options.hop_size, not options.no_centering)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = plot_recording(
            options.file,
            model=model,
            hop_size=options.hop_size,
            center=not options.no_centering,
            title=options.title,
        )
        try:
            save(figure, output)
        except OSError as error:  # it names a temporary file
            raise EdgeL3Error(f"{output}: cannot be written: {error.strerror or error}") from error
    for warning in caught:
        if issubclass(warning.category, EdgeL3Warning):
            tell(PROGRAM, f"warning: {warning.message}")
    print(output)
    return OK


def _check_not_embeddings(path):
    """Raise `UsageError` if a file holds embeddings; say which recording they are of."""
    provenance = read_provenance(path) if path.lower().endswith(".npz") else None
    if provenance is not None:
        recording = recording_of(provenance) or "unknown"
        raise UsageError(f"{path}: expected a recording, found embeddings; plot {printable(recording)}")


def build_parser():
    """Build the parser of the plot command's options."""
    parser = make_parser(
        PROGRAM,
        "Draw a recording: waveform, spectrogram, embeddings, and how similar any two moments are.",
        [
            "edgel3-np plot bark.wav                   # writes bark.wav.png",
            "edgel3-np plot bark.wav -o bark.svg -t 0.5",
        ],
        "Exit codes: 0 drawn, 1 the recording cannot be read or the picture cannot be written, 2 wrong usage, "
        "no such model or no matplotlib, 130 interrupted.",
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="audio file")
    add(
        "-o",
        "--output",
        metavar="OUT",
        help="picture, whose name ends in .png, .svg or .pdf (default: FILE.png, such as a.wav.png)",
    )
    add_embedding_options(add)
    add("--title", metavar="TEXT", help="text above the picture (default: the names of the file and of the model)")
    return parser
