"""`edgel3-np plot`: draw a recording and its embeddings."""

from __future__ import annotations

import argparse
import warnings

from ..errors import EdgeL3Error, EdgeL3Warning
from ..model import load_model
from ..pipeline import framing_for
from ..plotting.figure import check_format, import_matplotlib, plot_recording, save
from ..weights.registry import DEFAULT
from .ending import OK, finish, tell, wrong_usage
from .options import add_embedding_options

PROGRAM = "edgel3-np plot"


def main(arguments: list[str] | None = None) -> int:
    """Run the plot command; return its exit code."""
    return finish(PROGRAM, lambda: _run_plot(arguments), "interrupted; nothing is written")


def _run_plot(arguments):
    options = build_parser().parse_args(arguments)
    output = options.output or f"{options.file}.png"
    with wrong_usage():
        check_format(output)
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


def build_parser():
    """Build the parser of the plot command's options."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Draw a recording: waveform, spectrogram, embeddings, and how similar any two moments are.",
        epilog="Exit codes: 0 drawn, 1 the recording cannot be read or the picture cannot be written, 2 wrong usage, "
        "no such model or no matplotlib, 130 interrupted.",
        allow_abbrev=False,
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
