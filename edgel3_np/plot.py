"""A recording in one picture: what it looks like, what the network sees, what it says, and what sounds alike."""

import os
import sys
import warnings

import numpy as np

from .columns import Columns, Signal
from .embedding import embed_pieces, framing_of
from .errors import EdgeL3Error, EdgeL3Warning
from .files import printable
from .locate import DEFAULT
from .melspectrogram import corners
from .models import load_model, loaded

MOMENTS = 1000  # of each side of the matrix, at most
RANGE = 100.0  # dB below the loudest that have colours of their own
COLOURED = (2, 98)  # per cent of the embeddings' numbers between which colours differ: a few dimensions are far larger
FORMATS = ("png", "svg", "pdf")
TICKS = (16000, 8000, 4000, 2000, 1000, 500, 250, 125)  # Hz
# Inches. Panels are as wide as the matrix is high; beside each is its colour bar
WIDTH, SIDE, LEFT, HEIGHTS, GAP, BOTTOM, TOP = 8.0, 5.9, 0.95, (0.8, 1.5, 1.5), 0.42, 0.55, 0.75
NOTHING = "0.85"  # grey: there is no window


def embedding(audio, sr=None, *, model=DEFAULT, dim=None, hop_size=0.1, center=True, title=None):
    """Draw a recording and its embeddings: four panels over the same seconds.

    The waveform, at the model's rate: its extremes. The log-mel spectrogram, by the model's front end, in dB below the
    loudest part of the recording, down to 100; the network sees it relative to the loudest part of each window instead.
    The embeddings, dimensions as they are, each at its window's time. And how alike any two moments are: the cosine of
    their embeddings, 0 for an embedding of zeros. What lies outside of the windows' times is grey.

    The audio is read once. Memory and picture are bounded, whatever its length: of the first three panels neighbours
    are put together to at most 2000 columns (their extremes, or their mean), of the matrix to at most 1000 moments (the
    mean of their embeddings).

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        As for `edgel3_np.embed`.
    sr : int > 0, optional
        Sampling rate in Hz; needed with samples only.
    model : str, Path or Model
        A model's name, the path of a weight file, or a loaded model.
    dim : int, optional
        Length of an embedding, for models that have several.
    hop_size : number > 0
        Seconds between windows.
    center : bool
        Centre windows on their times; otherwise they start there.
    title : str, optional
        Above the picture; by default the file's name, if there is one, and the model's.

    Returns
    -------
    figure : matplotlib.figure.Figure
        With axes `waveform`, `spectrogram`, `embedding` and `self-similarity` (their labels), and colour bars. It
        belongs to no window: save it (`figure.savefig`, or `save` here, which writes the same bytes every time).

    Raises
    ------
    EdgeL3Error
        Audio, option or model are not as described, or matplotlib is not installed.

    Warns
    -----
    EdgeL3Warning
        The audio is shorter than a window, or all zeros. It is drawn all the same.

    Examples
    --------
    >>> import numpy as np
    >>> figure = embedding(np.random.default_rng(0).standard_normal(24000), sr=8000)  # doctest: +SKIP
    >>> figure.savefig("noise.png")  # doctest: +SKIP
    """
    make_figure = _matplotlib().figure.Figure
    model = loaded(model, dim)
    network = model.network
    framing, signal, vectors = framing_of(network, hop_size, center), Signal(network), Columns(np.add, 0.0)
    for piece in embed_pieces(network, audio, sr, framing, None, signal):
        vectors.add(piece)
    for remark in signal.remarks(framing.window):
        warnings.warn(remark, EdgeL3Warning, stacklevel=2)
    if title is None:
        name = os.path.basename(os.fsdecode(audio)) if isinstance(audio, (str, os.PathLike)) else None
        name = printable(name) if name else ""
        name = name if len(name) <= 60 else f"{name[:40]}...{name[-17:]}"
        title = f"{name}, {model.name}" if name else model.name
    return _draw(make_figure, title, signal, vectors, network.frontend, framing)


def save(figure, path):
    """Write a figure as PNG, SVG or PDF: whole or not at all, and the same bytes every time.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or Path
        Ends in `.png`, `.svg` or `.pdf`.

    Raises
    ------
    EdgeL3Error
        The path has another ending.
    OSError
        It cannot be written.
    """
    from .output import atomic

    kind = _format(path)
    dates = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with _matplotlib().rc_context({"svg.hashsalt": "edgel3_np"}), atomic(path) as file:
        figure.savefig(file, format=kind, metadata=dates[kind])


def _format(path):
    kind = os.path.splitext(os.fsdecode(path))[1][1:].lower()
    if kind not in FORMATS:
        raise EdgeL3Error(f"{os.fsdecode(path)}: expected a name that ends in .png, .svg or .pdf; name another")
    return kind


def _matplotlib():
    try:
        import matplotlib.figure
    except ImportError as error:
        raise EdgeL3Error(
            f"plot: expected matplotlib, found that it cannot be imported ({error}); pip install 'edgel3_np[plot]'"
        ) from error
    return matplotlib


def _cosines(vectors):
    """Cosine of any two rows, 0 where one is zero: (n, n)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    return np.clip(unit @ unit.T, -1, 1)


def _halve(columns):
    """Means of neighbours; of an odd number the last stays alone."""
    even = len(columns) // 2 * 2
    return np.concatenate([(columns[:even:2] + columns[1:even:2]) / 2, columns[even:]])


def _draw(make_figure, title, signal, vectors, frontend, framing):
    sr, hop, seconds = frontend.sr, framing.hop / frontend.sr, signal.seen.samples / frontend.sr
    height = TOP + sum(HEIGHTS) + SIDE + 3 * GAP + BOTTOM
    figure = make_figure(figsize=(WIDTH, height), dpi=120)
    place = {"x": LEFT / WIDTH, "y": 1 - 0.12 / height, "ha": "left", "va": "top"}
    figure.suptitle(title, fontsize=12, parse_math=False, **place)  # a $ in a file's name is no formula

    def panel(above, size, name, label, heading, sharex):
        box = (LEFT / WIDTH, (height - above - size) / height, SIDE / WIDTH, size / height)
        axes = figure.add_axes(box, label=name, sharex=sharex, facecolor=NOTHING)
        axes.tick_params(labelsize=9, labelbottom=name == "self-similarity")
        axes.set_ylabel(label, fontsize=9)
        axes.yaxis.set_label_coords(-0.105, 0.5)
        axes.set_title(heading, fontsize=10, loc="left")
        return axes

    def show(axes, image, extent, colours, low, high, label):
        shown = axes.imshow(image, origin="lower", aspect="auto", extent=extent, cmap=colours, vmin=low, vmax=high)
        place = axes.get_position()
        bar = figure.add_axes((place.x1 + 0.12 / WIDTH, place.y0, 0.14 / WIDTH, place.height), label=label)
        beyond = ("neither", "min", "max", "both")[(image.min() < low) + 2 * (image.max() > high)]
        figure.colorbar(shown, cax=bar, extend=beyond)
        bar.tick_params(labelsize=9)
        bar.set_ylabel(label, fontsize=9)
        bar.yaxis.set_label_coords(4.6, 0.5)

    tops = TOP + np.cumsum([0, *(part + GAP for part in HEIGHTS)])
    axes = panel(tops[0], HEIGHTS[0], "waveform", "amplitude", f"waveform, at the model's {sr} Hz", None)
    lowest, highest = signal.lowest.result(), signal.highest.result()
    size = signal.lowest.size / sr
    middle = np.minimum((np.arange(len(lowest)) + 0.5) * size, seconds)
    axes.fill_between(middle, lowest, highest, linewidth=0.7, color="#20506e")
    axes.set(xlim=(0, seconds), facecolor="white")
    time = axes  # the axis that all share

    bands = frontend.n_mels
    heading = f"spectrogram, {bands} bins" if frontend.scale == "linear" else f"log-mel spectrogram, {bands} bands"
    axes = panel(tops[1], HEIGHTS[1], "spectrogram", "frequency, Hz", heading, time)
    level = 2 * signal.level.mean().T  # in dB: it was 10 times the logarithm of an amplitude
    level -= level.max() if signal.seen.sound else 0
    extent = (0, level.shape[1] * signal.level.size * frontend.hop_length / sr, 0, bands)
    show(axes, level, extent, "magma", -RANGE, 0.0, "dB (loudest: 0)")
    hertz = _ticks(frontend)
    axes.set_yticks(_rows(hertz, frontend))
    axes.set_yticklabels([str(value) for value in hertz])
    axes.set(ylim=(-0.5, bands + 0.5), facecolor="black")  # with the halves of bands at the ends

    embeddings, size = vectors.mean(), vectors.size * hop
    dim = embeddings.shape[1]
    heading = f"embedding: {dim} numbers every {framing.hop_size:g} s"
    axes = panel(tops[2], HEIGHTS[2], "embedding", "dimension", heading, time)
    low, high = np.percentile(embeddings, COLOURED)
    extent = (*_extent(len(embeddings), size, hop, vectors.count, seconds), 0, dim)
    show(axes, embeddings.T, extent, "viridis", low, high if low < high else low + 1, "value")

    while len(embeddings) > MOMENTS:
        embeddings, size = _halve(embeddings), 2 * size
    cosines = _cosines(embeddings)
    heading = "self-similarity: how alike any two moments are"
    axes = panel(tops[3], SIDE, "self-similarity", "time, s", heading, time)
    extent = _extent(len(embeddings), size, hop, vectors.count, seconds)
    show(axes, cosines, extent * 2, "cividis", min(float(cosines.min()), 0.9), 1.0, "cosine of the embeddings")
    what = "middle" if framing.front else "start"
    axes.set_xlabel(f"time, s (of an embedding: the {what} of its window; grey: there is none)", fontsize=9)
    axes.set(xlim=(0, seconds), ylim=(0, seconds))
    return figure


def _extent(columns, size, hop, count, seconds):
    """Seconds from the first column's left edge to the last one's right; a window alone stands for all."""
    return (0.0, seconds) if count == 1 else (-hop / 2, columns * size - hop / 2)


def _rows(hertz, frontend):
    """Where frequencies are on the axis of bands, of which band i covers i to i + 1."""
    points = corners(frontend)
    return np.interp(hertz, points, np.arange(len(points))) - 0.5


def _ticks(frontend):
    """Frequencies to label: far enough apart, and 0."""
    chosen, apart = [], 0.09 * frontend.n_mels
    for value in TICKS:
        row = _rows(value, frontend)
        if value <= frontend.sr / 2 and row > apart and (not chosen or _rows(chosen[-1], frontend) - row > apart):
            chosen.append(value)
    return [0, *chosen[::-1]]


def main(arguments=None):
    """Run `edgel3-np plot`; return its exit code: 0 drawn, 1 not a recording, or not written, 2 wrong usage."""
    import argparse  # here: it takes a while to import

    parser = argparse.ArgumentParser(
        prog="edgel3-np plot",
        description="Draw a recording: waveform, spectrogram, embeddings, and how alike any two moments are.",
        epilog="Exit codes: 0 drawn, 1 the recording cannot be read or the picture not written, 2 wrong usage, no such "
        "model or no matplotlib, 130 interrupted.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="audio file")
    add(
        "-o",
        "--output",
        metavar="OUT",
        help="a .png, .svg or .pdf (default: FILE.png, with the name in full: a.wav.png)",
    )
    add("-m", "--model", default=DEFAULT, metavar="NAME|PATH", help="a name or an npz file (default: %(default)s)")
    add("-as", "--dim", type=int, metavar="N", help="length of an embedding, for models that have several")
    add("-t", "--hop-size", type=float, default=0.1, metavar="S", help="seconds between windows (default: %(default)s)")
    add("-n", "--no-centering", action="store_true", help="start window i at i * hop instead of centring it there")
    add("--title", metavar="TEXT", help="(default: the file's name and the model's)")
    options = parser.parse_args(arguments)
    output = options.output or f"{options.file}.png"
    try:
        _format(output)
        _matplotlib()
        model = load_model(options.model, options.dim)
        framing_of(model.network, options.hop_size, True)
    except EdgeL3Error as error:
        print(f"edgel3-np plot: {error}", file=sys.stderr)
        return 2
    try:
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            center = not options.no_centering
            save(
                embedding(options.file, model=model, hop_size=options.hop_size, center=center, title=options.title),
                output,
            )
    except KeyboardInterrupt:
        print("edgel3-np plot: interrupted; nothing was written", file=sys.stderr)
        return 130
    except (EdgeL3Error, OSError) as error:
        print(f"edgel3-np plot: {error}", file=sys.stderr)
        return 1
    for remark in remarks:
        if issubclass(remark.category, EdgeL3Warning):
            print(f"edgel3-np plot: warning: {remark.message}", file=sys.stderr)
    print(output)
    return 0
