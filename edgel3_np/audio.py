"""Read audio: the first step of the pipeline, and the only gate through which samples come in.

Whatever the source, what comes out is a rate and an iterator of blocks of finite float64 mono samples.
"""

import io
import os
import stat
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from numbers import Integral, Real

import numpy as np

from .errors import EdgeL3Error
from .wav import WavFile

WAV_ONLY = False  # `tools/vendor.py --wav-only` writes True: soundfile is not even looked for
MIN_SR, MAX_SR = 100, 1_000_000  # Hz; outside, the resampler's filters make no sense (or no memory is large enough)
MAX_CHANNELS = 1024
MAX_ABS = 1e100  # samples beyond this would overflow when squared; sound never comes near
BLOCK_SAMPLES = 1 << 18  # samples (frames x channels) read or converted at a time: 2 MiB as float64


@contextmanager
def open_audio(audio, sr=None):
    """Open `audio` as a stream of mono blocks.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        A sound file that libsndfile reads, or where soundfile is not installed, a WAV file: its path, its content, or
        a file open for reading at the content's start. Or samples: integers are scaled by their full scale (int16 by
        1 / 32768; unsigned ones are centred first), floating-point ones are taken as they are.
    sr : int > 0, optional
        Sampling rate in Hz. Needed with samples. With a file, which knows its own, it must agree.

    Yields
    ------
    sr : int
        Sampling rate, Hz.
    blocks : iterator of np.ndarray [shape=(m,), float64]
        The mean over channels, in order. Reading happens as blocks are asked for.

    Raises
    ------
    EdgeL3Error
        Source missing, unreadable or not audio; array of the wrong kind or shape; rate missing, absurd or not the
        file's; NaN or infinity (the message gives the time of the first one; raised while reading).
    """
    text = isinstance(audio, (str, bytes))  # as NumPy's own, which pass for arrays, are too
    if isinstance(audio, np.ndarray) or (hasattr(audio, "__array__") and not text and not _is_file_like(audio)):
        samples = check_samples(np.asarray(audio))
        if sr is None:
            raise EdgeL3Error("sr: expected the sampling rate in Hz of the samples given, found None; pass sr=...")
        sr = check_sr(sr)
        yield sr, _array_blocks(samples, sr)
        return
    if isinstance(audio, (str, os.PathLike)):
        path = os.fspath(audio)
        with _open_regular_file(path) as file, _sound_file(file, os.fsdecode(path), sr, path) as opened:
            yield opened
    elif isinstance(audio, (bytes, bytearray, memoryview)):
        with _sound_file(io.BytesIO(audio), "audio given as bytes", sr) as opened:
            yield opened
    elif _is_file_like(audio):
        if not isinstance(audio.read(0), bytes):
            raise EdgeL3Error("audio: expected a file open for reading bytes (mode 'rb'), found one for text")
        with _sound_file(audio, str(getattr(audio, "name", "audio file object")), sr) as opened:
            yield opened
    else:
        raise EdgeL3Error(
            "audio: expected a path, bytes, an open binary file or a NumPy array of samples, "
            f"found {type(audio).__name__}"
        )


def check_sr(sr, name="sr"):
    """Return the sampling rate `sr` as an int, or raise `EdgeL3Error`."""
    if isinstance(sr, bool) or not isinstance(sr, Real) or sr != sr or sr in (float("inf"), -float("inf")):
        raise EdgeL3Error(f"{name}: expected a sampling rate in Hz (a positive integer), found {sr!r}")
    if not isinstance(sr, Integral) and sr != int(sr):
        raise EdgeL3Error(f"{name}: expected a whole number of Hz, found {sr!r}; resample to a whole rate first")
    if not MIN_SR <= sr <= MAX_SR:
        raise EdgeL3Error(f"{name}: expected a sampling rate from {MIN_SR} to {MAX_SR} Hz, found {sr!r}")
    return int(sr)


def check_samples(samples):
    """Return `samples` as an array of shape (n, channels) of real numbers, or raise `EdgeL3Error`."""
    if samples.dtype.kind not in "fiu":
        raise EdgeL3Error(f"audio: expected real floating-point or integer samples, found dtype {samples.dtype}")
    if samples.ndim not in (1, 2):
        raise EdgeL3Error(f"audio: expected an array of shape (n,) or (n, channels), found shape {samples.shape}")
    if samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS:
        raise EdgeL3Error(
            f"audio: expected shape (n, channels) with 1 to {MAX_CHANNELS} channels, found shape {samples.shape}; "
            "transpose it if the channels come first"
        )
    return samples if samples.ndim == 2 else samples[:, np.newaxis]


def to_mono(samples, start, sr, name):
    """Down-mix one block to mono float64 and check it.

    Parameters
    ----------
    samples : np.ndarray [shape=(m, channels)]
        Real or integer samples.
    start : int >= 0
        Position of the block in the recording, in frames: for the error message.
    sr : int > 0
        Sampling rate, Hz: likewise.
    name : str
        What to call the recording in the message.

    Returns
    -------
    mono : np.ndarray [shape=(m,), float64]

    Raises
    ------
    EdgeL3Error
        A sample is NaN, infinite or beyond `MAX_ABS`.
    """
    if samples.dtype.kind in "iu":
        bits = 8 * samples.dtype.itemsize
        centre = 0.0 if samples.dtype.kind == "i" else 2.0 ** (bits - 1)
        samples = (samples.astype(np.float64) - centre) / 2.0 ** (bits - 1)
    with np.errstate(over="ignore", invalid="ignore"):  # found and reported below
        mono = samples[:, 0].astype(np.float64)
        for channel in range(1, samples.shape[1]):
            mono += samples[:, channel]
        mono /= samples.shape[1]
        bad = ~(np.abs(mono) <= MAX_ABS)  # true of NaN as well
    if bad.any():
        first = int(bad.argmax())
        raise EdgeL3Error(
            f"{name}: expected finite samples (at most {MAX_ABS:g}), found {samples[first].max()} at "
            f"{(start + first) / sr:.6f} s (sample {start + first}); repair the recording or cut it there",
            kind="bad samples",
        )
    return mono


def _array_blocks(samples, sr):
    step = max(1, BLOCK_SAMPLES // samples.shape[1])
    for start in range(0, len(samples), step):
        yield to_mono(samples[start : start + step], start, sr, "audio")


def _is_file_like(audio):
    return all(hasattr(audio, method) for method in ("read", "seek", "tell"))


def _open_regular_file(path):
    """Refuse what is not a file before opening it: opening a FIFO would wait for ever."""
    name = os.fsdecode(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")  # noqa: SIM115 the caller closes it
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeL3Error(f"{name}: cannot be read: {reason}", kind="unreadable") from error
    found = "a directory" if stat.S_ISDIR(mode) else "a device, pipe or socket"
    raise EdgeL3Error(f"{name}: expected an audio file, found {found}", kind="unreadable")


class _Quiet:
    """A file for soundfile's callbacks, where a broken file's seek to nowhere would print a traceback."""

    def __init__(self, file):
        self._file, self.read, self.tell = file, file.read, file.tell

    def seek(self, offset, whence=0):
        with suppress(ValueError, OSError):  # the position stays; libsndfile sees that and gives up
            self._file.seek(offset, whence)


@contextmanager
def _sound_file(file, name, sr, path=None):
    with _decoder(file, name, path) as opened:
        if not 1 <= opened.channels <= MAX_CHANNELS:
            raise EdgeL3Error(f"{name}: expected 1 to {MAX_CHANNELS} channels, found {opened.channels}")
        file_sr = check_sr(opened.samplerate, f"{name}: sampling rate")
        if sr is not None and check_sr(sr) != file_sr:
            raise EdgeL3Error(f"{name}: sr={sr} was given but the file says {file_sr} Hz; leave sr out for files")
        read = opened.read if isinstance(opened, WavFile) else partial(opened.read, dtype="float64", always_2d=True)
        yield file_sr, _file_blocks(read, opened.channels, file_sr, name)


def _decoder(file, name, path):
    """What reads a sound file, as a context: libsndfile's, or where it is not there, ours for WAV."""
    soundfile = find_soundfile()
    try:
        if soundfile is None:
            hint = "soundfile is not installed: only WAV can be read; pip install soundfile"
            return nullcontext(WavFile(file, name, "this copy of edgel3_np reads WAV only" if WAV_ONLY else hint))
        if path is None:
            handle = _Quiet(file)
        else:  # libsndfile reads by itself: a Ctrl-C in a callback of soundfile would be lost, and the sound end there
            handle = os.dup(file.fileno()) if os.name == "posix" else path
        return soundfile.SoundFile(handle)  # which closes a descriptor, even where it fails
    except EdgeL3Error:
        raise
    except Exception as error:  # soundfile raises its own, RuntimeError, TypeError (raw files), OSError ...
        found = getattr(error, "error_string", error)  # without our object's name
        expected = "a WAV file" if soundfile is None else "a sound file that libsndfile reads"
        raise EdgeL3Error(f"{name}: expected {expected}; found: {found}", kind="not audio") from error


def find_soundfile():
    """The module soundfile, imported here because embedding arrays does not need it; None where it is not installed."""
    if not WAV_ONLY:
        with suppress(ImportError, OSError):  # OSError: it lacks its libsndfile
            import soundfile

            return soundfile
    return None


def _file_blocks(read, channels, sr, name):
    frames, start = max(1, BLOCK_SAMPLES // channels), 0
    while True:
        try:
            samples = read(frames)
        except Exception as error:
            raise EdgeL3Error(f"{name}: reading failed at {start / sr:.3f} s: {error}", kind="damaged") from error
        if not len(samples):
            return
        yield to_mono(samples, start, sr, name)
        start += len(samples)
