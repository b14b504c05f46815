"""Check a model: its weight file, its numbers, and that an embedding depends on nothing but the sound."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._files import read_file
from ..audio.framing import windows as cut_windows
from ..audio.resample import resample
from ..errors import EdgeL3Error
from ..features.columns import COLUMNS, NOTHING, distances, hear
from ..features.levels import TOP, level_spectrogram, transform_errors
from ..features.log_mel import TOP_DB, log_mel_spectrogram
from ..model import build_model
from ..network import whole
from ..network.columns import BEFORE, CONTEXT, ColumnNetwork
from ..network.forward import new_workspace
from ..network.threads import one_blas_thread
from ..pipeline import embed_windows, framing_for, spectrogram
from ..stream import Stream
from ..weights.format import load_weights
from ..weights.locate import find_model
from ..weights.npz import native, parse_header
from ..weights.registry import BUNDLED_SHA256, is_bundled
from . import everywhere, reference, single_sums

FILE_SR = 44100  # Hz, of generated sound
HOP = 0.1  # seconds
TOLERANCE = 5e-5  # relative to the largest value of an embedding
RATES, RATE_SECONDS = (48000, 44100, 22050, 16000), 0.1  # Hz and length of the sounds that are resampled
WHOLE_SECONDS = 0.02  # where each tap is computed with integers of Python
RESAMPLED_TOLERANCE = 1e-9  # relative to the largest sample
LEVEL_TOLERANCE = {"power": 1e-4, "magnitude": 0.1}  # of log-mel spectrograms, from -80 to 0; `magnitude` is in float32
LEVEL_TOLERANCE["levels"] = 1e-6  # of levels, from 0 to 255, besides the half that rounding changes
TRANSFORM_TOLERANCE = 0.5  # of the bound of a transform's error
MAX_GOLDEN_BYTES = 1 << 16
WINDOWS, WINDOWS_LARGE = 64, 8  # windows that are computed in batches; of a large network, whose windows take longer
SPLITS = (1, 3, 7, 16, 64)  # sizes of batches


class Check(NamedTuple):
    """One check of one model.

    Parameters
    ----------
    what : str
        What is checked.
    ok : bool
    found : str
        What is found, and what is allowed.
    """

    what: str
    ok: bool
    found: str


def check_model(model):
    """Check a model: its weight file, the numbers of each step, and that they depend neither on threads nor on blocks.

    The weight file is read once.

    Parameters
    ----------
    model : str
        Name or path.

    Yields
    ------
    check : Check
        The generator stops when later checks would be meaningless.

    Examples
    --------
    >>> [check.ok for check in check_model("pico-64")]
    [True, True, True, True, True, True, True, True, True]
    """
    try:
        path = find_model(model)
        weights = load_weights(path)
        file_check = _check_file(model, weights.sha256)
        yield file_check
        if not file_check.ok:
            return
        built = build_model(weights)
        yield _check_resampler(built.sr, built.network.exact)
        yield _check_front_end(built.network)
        network_check = "network against whole numbers" if built.network.exact else "network against float64"
        numbers = compare_with_float64(built, weights, path)
        for key, what in (("difference", network_check), ("golden", "embedding against the golden one")):
            if numbers[key] is not None:  # most models come without a golden embedding
                found = f"relative difference {numbers[key]:.1e}, allowed {numbers['limit']:.0e}"
                yield Check(what, numbers[key] <= numbers["limit"], found)  # false of NaN
        yield from _check_same_bytes(built)
        if is_bundled(built.name, built.sha256) and built.network.exact:
            yield _check_everywhere(built)
    except EdgeL3Error as error:
        yield Check("model", False, str(error))
    except Exception as error:  # a NumPy that computes wrongly breaks code anywhere
        yield Check("code", False, f"expected no error, found {type(error).__name__}: {error}")


def _check_file(model, sha256):
    """Check that a weight file is the one that comes with this version, if a model of that name does."""
    bundled = is_bundled(model, sha256)
    if bundled is None:
        found = "not named as one of those that come with this version"
    elif bundled:
        found = "the one that came with this version"
    else:
        found = f"expected {BUNDLED_SHA256[model]}; install the package again"
    return Check("weight file", bundled is not False, f"sha256 {sha256}, {found}")


def _check_resampler(sr, exact):
    """Check the resampler against sums that are computed one by one."""
    rates, largest = [rate for rate in RATES if rate != sr], 0.0
    single, seconds = (single_sums.whole_resample, WHOLE_SECONDS) if exact else (reference.resample, RATE_SECONDS)
    for rate in rates:
        sound = synthesise(rate, seconds)
        found, expected = np.concatenate(list(resample([sound], rate, sr, exact))), single(sound, rate, sr)
        largest = max(largest, _relative_difference(found, expected) if len(found) == len(expected) else np.inf)
    rates, allowed = ", ".join(map(str, rates)), 0.0 if exact else RESAMPLED_TOLERANCE
    found = f"from {rates} to {sr} Hz: relative difference {largest:.1e}, allowed {allowed:.0e}"
    return Check("resampler against single sums", largest <= allowed, found)  # false of NaN


def _check_front_end(network):
    """Check the spectrogram against one whose transform is a product with cosines and sines."""
    frontend, sound = network.frontend, synthesise(network.frontend.sr, 1.0)
    mel = np.zeros((1 + frontend.n_fft // 2, frontend.n_mels))
    for band in network.bands:
        mel[band.bins, band.mels] = band.weights
    columns = isinstance(network, ColumnNetwork)
    with one_blas_thread():
        expected = None if columns else reference.log_mel_spectrogram(sound, frontend, mel)
        if network.exact:
            if columns:
                difference = _difference_of_columns(network, mel)
            else:
                found = level_spectrogram(sound[np.newaxis], frontend, network.bands)[0]
                difference = found - (expected + TOP_DB) * TOP / TOP_DB
            largest, allowed = float(np.abs(difference).max()), 0.5 + LEVEL_TOLERANCE["levels"]
            wrong = float(transform_errors(_frames(frontend.n_fft)).max())
            found = f"rounded by {largest:.6f} at most, allowed {allowed:.6f}; "
            found += f"error of the transform: {wrong:.2f} of its bound, allowed {TRANSFORM_TOLERANCE}"
            ok = largest <= allowed and wrong <= TRANSFORM_TOLERANCE
            return Check("levels against a naive spectrogram", ok, found)
        found = log_mel_spectrogram(sound[np.newaxis], frontend, network.bands)[0]
    largest, allowed = float(np.abs(found - expected).max()), LEVEL_TOLERANCE[frontend.spectrum]
    found = f"largest difference {largest:.1e} of 80, allowed {allowed:.0e}"
    return Check("log-mel spectrogram against a naive one", largest <= allowed, found)


def _frames(n):
    """Return frames of noise, of a tone at a bin and between two, of a constant and of a click: shape (5, n)."""
    time, noise = np.arange(n), np.random.default_rng(0).standard_normal(n)
    tones = (np.sin(2 * np.pi * k * time / n) for k in (n // 9, n / 7.3))
    return np.stack([noise, *tones, np.ones(n), time == n // 2])


def _difference_of_columns(network, mel):
    """Return by how much the levels of columns differ from a naive spectrogram's, below the loudest of a second."""
    frontend, column = network.frontend, network.column
    length = CONTEXT * column + frontend.n_fft - frontend.hop_length
    sound = synthesise(frontend.sr, 1.0 + length / frontend.sr)[:length]
    whole_sound = frontend._replace(sr=length, padding="valid")
    naive = (reference.log_mel_spectrogram(sound, whole_sound, mel) + TOP_DB) * TOP / TOP_DB  # (n_mels, frames)
    levels, _ = hear(sound, NOTHING, frontend, network.bands)
    naive = naive.T.reshape(CONTEXT, -1, frontend.n_mels)
    peaks, levels = naive.max(axis=(1, 2)), levels.reshape(-1, *naive.shape[1:])
    tops = [peaks[number : number + COLUMNS].max() for number in range(len(levels))]
    expected = np.maximum(naive[COLUMNS - 1 :] + TOP - np.reshape(tops, (-1, 1, 1)), 0)
    return (levels - expected)[naive[COLUMNS - 1 :] > 0]  # that one ends 80 dB below the loudest of all


def _check_everywhere(model):
    """Check that each step gives the bytes that it gives on every machine."""
    for case, step, found, expected in everywhere.compare(model):
        if found != expected:
            found = f"{case}: the first step that differs is {step}: sha256 {found[:16]}, expected {expected[:16]}"
            return Check("the same bytes as everywhere", False, found)
    cases = ", ".join(everywhere.EXPECTED[model.name])
    return Check("the same bytes as everywhere", True, f"samples, levels and embeddings of {cases}")


def _check_same_bytes(model):
    """Check that an embedding has the same bytes in any batch, on two threads, and in a stream."""
    windows = WINDOWS_LARGE if model.network.is_large else WINDOWS
    yield _check_batches(model.network, windows)
    n_windows = 2 * framing_for(model.network, HOP, True).batch + 1  # both threads have work
    sound = synthesise(FILE_SR, max(1.0, HOP * n_windows))
    one, two = (model.embed(sound, FILE_SR, hop_size=HOP, threads=threads) for threads in (1, 2))
    with Stream(model, FILE_SR, hop_size=HOP) as stream:
        parts = list(stream.over(np.array_split(sound, 7)))
    streamed = [np.concatenate(arrays) for arrays in zip(*parts)]
    for what, other in (("2 threads against 1", two), ("stream against the whole", streamed)):
        same = all(a.tobytes() == b.tobytes() for a, b in zip(one, other))
        yield Check(what, same, "the same bytes" if same else f"other bytes, in {len(one.embedding)} windows")


def _check_batches(network, windows):
    """Check that windows have the same bytes in batches of any size."""
    framing = framing_for(network, HOP, False)
    sound = synthesise(network.frontend.sr, 1.0 + HOP * (windows - 1))
    extent = framing.window, framing.hop, framing.pad_left, windows, framing.before, framing.after
    batch = next(cut_windows([sound], *extent))
    with one_blas_thread():
        results, work = {}, new_workspace(network)
        for size in sorted({min(size, windows) for size in SPLITS}):
            parts = [batch[start : start + size] for start in range(0, windows, size)]
            results[size] = np.concatenate(
                [embed_windows(network, part, work, framing.hop) for part in parts]
            ).tobytes()
    other = [str(size) for size, result in results.items() if result != results[1]]
    sizes = ", ".join(map(str, results))
    found = f"other bytes in batches of {', '.join(other)}" if other else f"the same bytes in batches of {sizes}"
    return Check("one window against many", not other, found)


def synthesise(sr=FILE_SR, seconds=4.0):
    """Generate a sweep with noise, the same every time.

    Parameters
    ----------
    sr : int > 0
        Sampling rate, Hz.
    seconds : float > 0

    Returns
    -------
    samples : np.ndarray [shape=(int(sr * seconds),), float64]
        From -1 to 1.

    Examples
    --------
    >>> synthesise(8000, 1.0).shape
    (8000,)
    """
    t = np.arange(int(sr * seconds)) / sr % 5.0  # up to 2.1 kHz, again and again
    noise = np.random.default_rng(0).standard_normal(len(t))
    return 0.5 * np.sin(2 * np.pi * (100 + 200 * t) * t) + 0.05 * np.clip(noise, -5, 5)


def compare_with_float64(model, weights, path):
    """Compare a model's embedding of a second of generated sound with float64 computations.

    Parameters
    ----------
    model : Model
        Built from `weights`.
    weights : Weights
    path : str, Path or Traversable
        The weight file, next to which `read_golden` looks. It is not opened.

    Returns
    -------
    numbers : dict
        Largest differences, relative to the largest value of an embedding. `difference`: from the reference network, in
        float64 or in whole numbers, on the same spectrogram. `golden`: of the whole pipeline, from the golden
        embedding; None if the model has none. `limit`: the largest value allowed for both.

    Raises
    ------
    EdgeL3Error
        The embedding is not finite, or the file of the golden embedding is damaged.
    """
    network = model.network
    sound = synthesise(model.sr, 1.0)
    found = model.embed(sound, model.sr, center=False).embedding[0]
    with one_blas_thread():
        if isinstance(network, ColumnNetwork):
            expected = _embed_by_itself(network, sound, weights)[0]
        elif network.exact:
            features = spectrogram(network)(sound[np.newaxis], network.frontend, network.bands)
            expected = whole.embed_levels(features, weights)[0]
        else:
            features = spectrogram(network)(sound[np.newaxis], network.frontend, network.bands)
            expected = reference.reference_embedding(features[0], weights, network.pool_grid)
    golden = read_golden(path, model.dim)
    return {
        "difference": _relative_difference(found, expected),
        "golden": None if golden is None else _relative_difference(found, golden),
        "limit": 0.0 if network.exact else TOLERANCE,
    }


def _embed_by_itself(network, sound, weights):
    """Return the embedding of one window between zeros, by the network for streams on one screen: (1, dim)."""
    frontend, (before, after) = network.frontend, network.context
    signal = np.concatenate([np.zeros(before), sound, np.zeros(after)])
    levels, heard = hear(signal, NOTHING, frontend, network.bands)
    rows = distances(signal, heard, np.array([BEFORE + COLUMNS - 1]), frontend, network.bands)
    return whole.embed_stream(levels[np.newaxis], rows, weights)


def _relative_difference(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def read_golden(path, dim):
    """Read the golden embedding of a model: the tests' oracle computed it, in float64, from `synthesise(sr, 1.0)`.

    Parameters
    ----------
    path : str, Path or Traversable
        The weight file, `<name>.npz`; the golden embedding is `<name>.golden.npy` next to it.
    dim : int
        Length of an embedding.

    Returns
    -------
    golden : np.ndarray [shape=(dim,), float32] or None
        None if there is no such file.

    Raises
    ------
    EdgeL3Error
        The file is not a plain npy file of `dim` float32 numbers.
    """
    path = Path(path) if isinstance(path, str) else path
    path = path.parent.joinpath(os.path.splitext(path.name)[0] + ".golden.npy")
    if not path.is_file():
        return None
    content = read_file(path, MAX_GOLDEN_BYTES)
    try:
        dtype, shape, start = parse_header(content)
    except ValueError as error:
        raise EdgeL3Error(f"{path}: expected an npy file, found {error}; install the model again") from error
    if (dtype.replace(">", "<"), shape, len(content)) != ("<f4", (dim,), start + 4 * dim):
        raise EdgeL3Error(
            f"{path}: expected {dim} numbers of float32, found {len(content) - start} bytes of dtype {dtype}, "
            f"shape {shape}; install the model again"
        )
    return native(np.frombuffer(content, dtype, offset=start))
