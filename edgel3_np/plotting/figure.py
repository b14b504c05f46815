"""Draw a recording: the waveform, what the network sees of it, its embeddings, and how similar they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..collections.atomic import atomic
from ..collections.names import printable
from ..errors import EdgeL3Error, warn
from ..features.mel import mel_frequencies
from ..model import as_model
from ..network.threads import one_blas_thread
from ..pipeline import embedding_batches, framing_for, name_of
from ..weights.registry import DEFAULT
from .timebins import SignalBins, TimeBins

if TYPE_CHECKING:
    from ..model import Audio, Model

MAX_MOMENTS = 1000  # rows and columns of the self-similarity matrix
DYNAMIC_RANGE = 100.0  # dB below the loudest part; the spectrogram's darkest colour stands for all that is quieter
PERCENTILES = (2, 98)  # of the embeddings' values: the ends of the colour scale, as a few dimensions are far larger
FORMATS = ("png", "svg", "pdf")
FREQUENCIES = (16000, 8000, 4000, 2000, 1000, 500, 250, 125)  # Hz, to label the spectrogram's axis with
# Inches. The panels are as wide as the matrix is high; a colour bar stands to the right of each.
WIDTH, SIDE, LEFT, HEIGHTS, GAP, BOTTOM, TOP = 8.0, 5.9, 0.95, (0.8, 1.5, 1.5), 0.42, 0.55, 0.75
NO_WINDOW = "0.85"  # the grey of times without a window
PANELS = ("waveform", "spectrogram", "embedding", "self-similarity")


def plot_recording(
    audio: Audio,
    sr: float | None = None,
    *,
    model: str | os.PathLike[str] | Model = DEFAULT,
    dim: int | None = None,
    hop_size: float = 0.1,
    center: bool = True,
    title: str | None = None,
) -> Any:
    """Draw a recording and its embeddings: four panels over the same seconds.

    1. The waveform at the model's rate: its extremes.
    2. The log-mel spectrogram of the model's front end, in dB relative to the loudest part of the recording, down to
       -100. (The network sees it relative to the loudest part of each window.)
    3. The embeddings, each at the time of its window.
    4. The self-similarity matrix: the cosine of the embeddings of any two moments; 0 for an embedding of zeros.

    Times outside of the windows' times are grey.

    The audio is read once. Memory and picture are bounded, whatever its length: the first three panels have at most
    2000 columns, each the extremes or the mean of neighbours; the matrix has at most 1000 moments, each the mean of
    neighbouring embeddings.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        As for `edgel3_np.embed`.
    sr : int > 0, optional
        Sampling rate in Hz; required for an array.
    model : str, Path or Model
        A model's name, the path of a weight file, or a loaded model.
    dim : int, optional
        Length of an embedding, for models that have several.
    hop_size : number > 0
        Seconds between windows.
    center : bool
        Whether windows are centred on their times; otherwise they start there.
    title : str, optional
        Stands above the picture; by default the file's name, if there is one, and the model's.

    Returns
    -------
    figure : matplotlib.figure.Figure
        With axes labelled `waveform`, `spectrogram`, `embedding` and `self-similarity`, and colour bars. It belongs to
        no window of a screen: write it with `figure.savefig`, or with `save`, which writes the same bytes every time.

    Raises
    ------
    EdgeL3Error
        The audio, an option or the model is not as described, or matplotlib is not installed.

    Warns
    -----
    EdgeL3Warning
        The audio is shorter than a window, or all zeros. It is drawn all the same.

    Examples
    --------
    >>> import numpy as np
    >>> figure = plot_recording(np.random.default_rng(0).standard_normal(24000), sr=8000)  # doctest: +SKIP
    >>> figure.savefig("noise.png")  # doctest: +SKIP
    """
    make_figure = import_matplotlib().figure.Figure
    model = as_model(model, dim)
    network = model.network
    framing, signal, embeddings = framing_for(network, hop_size, center), SignalBins(network), TimeBins(np.add, 0.0)
    for batch in embedding_batches(network, audio, sr, framing, None, signal):
        embeddings.add(batch)
    for remark in signal.remarks(framing.window, name_of(audio)):
        warn(remark)
    title = _default_title(audio, model) if title is None else title
    return _draw(_Page(make_figure, title), signal, embeddings, framing)


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF: completely or not at all, and with the same bytes every time.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or Path
        Ends in `.png`, `.svg` or `.pdf`.

    Raises
    ------
    EdgeL3Error
        The path has another ending, or matplotlib is not installed.
    OSError
        The file cannot be written.
    """
    kind = check_format(path)
    dates = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with import_matplotlib().rc_context({"svg.hashsalt": "edgel3_np"}), atomic(path) as file:
        figure.savefig(file, format=kind, metadata=dates[kind])


def check_format(path):
    """Return the format that a path's ending names, one of `FORMATS`; raise `EdgeL3Error` if it names none."""
    kind = os.path.splitext(os.fsdecode(path))[1][1:].lower()
    if kind not in FORMATS:
        raise EdgeL3Error(f"{os.fsdecode(path)}: expected a name that ends in .png, .svg or .pdf; choose another name")
    return kind


def import_matplotlib():
    """Return the module matplotlib, with `matplotlib.figure`; raise `EdgeL3Error` if it is not installed."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise EdgeL3Error(
            f"plot: expected matplotlib, but it cannot be imported ({error}); pip install matplotlib"
        ) from error
    return matplotlib


def _default_title(audio, model):
    """Return the name of the file, if there is one, and of the model."""
    name = printable(os.path.basename(os.fsdecode(audio))) if isinstance(audio, (str, os.PathLike)) else ""
    name = name if len(name) <= 60 else f"{name[:40]}...{name[-17:]}"
    return f"{name}, {model.name}" if name else model.name


class _Page:
    """A figure whose panels stand one below the other, at places in inches."""

    def __init__(self, make_figure, title):
        self.height = TOP + sum(HEIGHTS) + SIDE + 3 * GAP + BOTTOM
        self.figure = make_figure(figsize=(WIDTH, self.height), dpi=120)
        place = {"x": LEFT / WIDTH, "y": 1 - 0.12 / self.height, "ha": "left", "va": "top"}
        self.figure.suptitle(title, fontsize=12, parse_math=False, **place)  # a $ in a file's name is not a formula

    def add_panel(self, name, label, heading, time_axes=None):
        """Return new axes for one of `PANELS`, whose time axis is that of `time_axes`."""
        number = PANELS.index(name)
        top = TOP + np.cumsum([0, *(part + GAP for part in HEIGHTS)])[number]
        height = (*HEIGHTS, SIDE)[number]
        box = (LEFT / WIDTH, (self.height - top - height) / self.height, SIDE / WIDTH, height / self.height)
        axes = self.figure.add_axes(box, label=name, sharex=time_axes, facecolor=NO_WINDOW)
        axes.tick_params(labelsize=9, labelbottom=name == PANELS[-1])
        axes.set_ylabel(label, fontsize=9)
        axes.yaxis.set_label_coords(-0.105, 0.5)
        axes.set_title(heading, fontsize=10, loc="left")
        return axes

    def show_image(self, axes, image, extent, colours, low, high, label):
        """Draw an array (rows, columns), first row at the bottom, and its colour bar."""
        shown = axes.imshow(image, origin="lower", aspect="auto", extent=extent, cmap=colours, vmin=low, vmax=high)
        place = axes.get_position()
        bar = self.figure.add_axes((place.x1 + 0.12 / WIDTH, place.y0, 0.14 / WIDTH, place.height), label=label)
        beyond = ("neither", "min", "max", "both")[(image.min() < low) + 2 * (image.max() > high)]
        self.figure.colorbar(shown, cax=bar, extend=beyond)
        bar.tick_params(labelsize=9)
        bar.set_ylabel(label, fontsize=9)
        bar.yaxis.set_label_coords(4.6, 0.5)


def _draw(page, signal, embeddings, framing):
    """Draw all panels; return the figure."""
    seconds = signal.stats.samples / signal.frontend.sr
    time_axes = _draw_waveform(page, signal, seconds)
    _draw_spectrogram(page, signal, time_axes)
    hop = framing.hop / signal.frontend.sr  # in seconds, as it is in samples
    _draw_embeddings(page, embeddings, hop, framing.hop_size, seconds, time_axes)
    _draw_similarity(page, embeddings, hop, "middle" if framing.pad_left else "start", seconds, time_axes)
    return page.figure


def _draw_waveform(page, signal, seconds):
    """Draw the extremes of the samples; return the axes, whose time axis all panels share."""
    sr = signal.frontend.sr
    axes = page.add_panel("waveform", "amplitude", f"waveform, at the model's {sr} Hz")
    lowest, highest = signal.lowest.result(), signal.highest.result()
    width = signal.lowest.items_per_bin / sr
    middle = np.minimum((np.arange(len(lowest)) + 0.5) * width, seconds)
    axes.fill_between(middle, lowest, highest, linewidth=0.7, color="#20506e")
    axes.set(xlim=(0, seconds), facecolor="white")
    return axes


def _draw_spectrogram(page, signal, time_axes):
    frontend = signal.frontend
    bands = frontend.n_mels
    heading = f"spectrogram, {bands} bins" if frontend.mel_scale == "linear" else f"log-mel spectrogram, {bands} bands"
    axes = page.add_panel("spectrogram", "frequency, Hz", heading, time_axes)
    level = 2 * signal.level.mean().T  # dB: the mel level is 10 times the logarithm of an amplitude
    level -= level.max() if signal.stats.sound else 0
    extent = (0, level.shape[1] * signal.level.items_per_bin * frontend.hop_length / frontend.sr, 0, bands)
    page.show_image(axes, level, extent, "magma", -DYNAMIC_RANGE, 0.0, "dB (loudest: 0)")
    hertz = _choose_ticks(frontend)
    axes.set_yticks(_band_position(hertz, frontend))
    axes.set_yticklabels([str(value) for value in hertz])
    axes.set(ylim=(-0.5, bands + 0.5), facecolor="black")  # with the outer halves of the first and the last band


def _draw_embeddings(page, embeddings, hop, hop_size, seconds, time_axes):
    mean = embeddings.mean()
    dim = mean.shape[1]
    axes = page.add_panel("embedding", "dimension", f"embedding: {dim} numbers every {hop_size:g} s", time_axes)
    low, high = np.percentile(mean, PERCENTILES)
    extent = (*_time_extent(len(mean), embeddings.items_per_bin * hop, hop, embeddings.count, seconds), 0, dim)
    page.show_image(axes, mean.T, extent, "viridis", low, high if low < high else low + 1, "value")


def _draw_similarity(page, embeddings, hop, what, seconds, time_axes):
    """Draw the matrix of cosines; `what` says which part of its window an embedding's time is."""
    moments, step = embeddings.mean(), embeddings.items_per_bin * hop
    while len(moments) > MAX_MOMENTS:
        moments, step = _halve(moments), 2 * step
    cosines = _cosines(moments)
    heading = "self-similarity: how alike any two moments are"
    axes = page.add_panel("self-similarity", "time, s", heading, time_axes)
    extent = _time_extent(len(moments), step, hop, embeddings.count, seconds)
    low = min(float(cosines.min()), 0.9)
    page.show_image(axes, cosines, extent * 2, "cividis", low, 1.0, "cosine of the embeddings")
    axes.set_xlabel(f"time, s (an embedding stands at the {what} of its window; grey: no window)", fontsize=9)
    axes.set(xlim=(0, seconds), ylim=(0, seconds))


def _halve(rows):
    """Return the means of neighbouring rows; an odd last row stays as it is."""
    even = len(rows) // 2 * 2
    return np.concatenate([(rows[:even:2] + rows[1:even:2]) / 2, rows[even:]])


def _cosines(vectors):
    """Return the cosine of any two rows, 0 where one is zero: (n, n)."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    with one_blas_thread():
        return np.clip(unit @ unit.T, -1, 1)


def _time_extent(n_columns, step, hop, count, seconds):
    """Return the times of an image's left and right edge; one window alone stands for the whole recording."""
    return (0.0, seconds) if count == 1 else (-hop / 2, n_columns * step - hop / 2)


def _band_position(hertz, frontend):
    """Return where frequencies stand on an axis on which band i covers i to i + 1."""
    points = mel_frequencies(frontend)
    return np.interp(hertz, points, np.arange(len(points))) - 0.5


def _choose_ticks(frontend):
    """Return the frequencies to label: 0, and those of `FREQUENCIES` that stand far enough apart."""
    chosen, apart = [], 0.09 * frontend.n_mels
    for value in FREQUENCIES:
        row = _band_position(value, frontend)
        far = not chosen or _band_position(chosen[-1], frontend) - row > apart
        if value <= frontend.sr / 2 and row > apart and far:
            chosen.append(value)
    return [0, *chosen[::-1]]
