"""Read audio, from whatever source: the result is a rate and an iterator of blocks of float64 mono samples."""

import io
import os
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import numpy as np

from .._files import open_regular
from ..errors import EdgeL3Error
from .samples import MAX_CHANNELS, check_samples, check_sr, to_mono
from .wav import WavFile

WAV_ONLY = False  # `tools/vendor.py --wav-only` writes True: the copy never imports soundfile
BLOCK_SAMPLES = 1 << 18  # samples (frames x channels) that are read at a time: 2 MiB as float64


@contextmanager
def open_audio(audio, sr=None):
    """Open `audio` as a stream of mono blocks.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        A sound file that libsndfile reads (without soundfile: a WAV file), given by its path, its content, or a file
        that is open for reading at the start of the content. Or samples: integers are scaled by their full scale
        (int16 by 1 / 32768; unsigned ones are centred first), floating-point samples are taken as they are.
    sr : int > 0, optional
        Sampling rate in Hz. Samples need it. A file has its own rate, and `sr` must agree.

    Yields
    ------
    sr : int
        Sampling rate, Hz.
    blocks : iterator of np.ndarray [shape=(m,), float64]
        The mean over channels, in order. Each block is read when the iterator is asked for it.

    Raises
    ------
    EdgeL3Error
        The source is missing, unreadable or not audio; the array has a wrong dtype or shape; the rate is missing, out
        of range or not that of the file; a sample is NaN or infinite (raised while reading, with its time).
    """
    text = isinstance(audio, (str, bytes))  # NumPy's own strings are strings too, though they have __array__
    if isinstance(audio, np.ndarray) or (hasattr(audio, "__array__") and not text and not _is_file_like(audio)):
        samples = check_samples(np.asarray(audio))
        if sr is None:
            raise EdgeL3Error("sr: expected the sampling rate in Hz of the samples given, found None; pass sr=...")
        sr = check_sr(sr)
        yield sr, _array_blocks(samples, sr)
        return
    if isinstance(audio, (str, os.PathLike)):
        path = os.fspath(audio)
        with open_regular(path, "an audio file") as file, _sound_file(file, os.fsdecode(path), sr, path) as opened:
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


def _array_blocks(samples, sr):
    step = max(1, BLOCK_SAMPLES // samples.shape[1])
    for start in range(0, len(samples), step):
        yield to_mono(samples[start : start + step], start, sr, "audio")


def _is_file_like(audio):
    return all(hasattr(audio, method) for method in ("read", "seek", "tell"))


class _SafeSeek:
    """A file for soundfile's callbacks: a seek to an impossible position, as broken files ask for, has no effect.

    An exception in such a callback would be printed as a traceback. libsndfile sees that the position is unchanged and
    gives up by itself.
    """

    def __init__(self, file):
        self._file, self.read, self.tell = file, file.read, file.tell

    def seek(self, offset, whence=0):
        with suppress(ValueError, OSError):
            self._file.seek(offset, whence)


@contextmanager
def _sound_file(file, name, sr, path=None):
    with _decoder(file, name, path) as decoder:
        if not 1 <= decoder.channels <= MAX_CHANNELS:
            found = f"found {decoder.channels}"
            raise EdgeL3Error(f"{name}: expected 1 to {MAX_CHANNELS} channels, {found}", kind="not audio")
        try:
            file_sr = check_sr(decoder.samplerate, name)
        except EdgeL3Error as error:
            raise EdgeL3Error(str(error), kind="not audio") from None
        if sr is not None and check_sr(sr) != file_sr:
            raise EdgeL3Error(f"{name}: sr={sr} was given but the file says {file_sr} Hz; leave sr out for files")
        read = decoder.read if isinstance(decoder, WavFile) else partial(decoder.read, dtype="float64", always_2d=True)
        yield file_sr, _file_blocks(read, decoder.channels, file_sr, name)


def _decoder(file, name, path):
    """Return what decodes a sound file, as a context: libsndfile, or our reader of WAV where soundfile is missing."""
    soundfile = find_soundfile()
    try:
        if soundfile is None:
            hint = "soundfile is not installed: only WAV can be read; pip install soundfile"
            return nullcontext(WavFile(file, name, "this copy of edgel3_np reads WAV only" if WAV_ONLY else hint))
        if path is None:
            handle = _SafeSeek(file)
        else:  # libsndfile reads by itself: soundfile's callbacks lose a Ctrl-C, and the sound would end there
            handle = os.dup(file.fileno()) if os.name == "posix" else path
        return soundfile.SoundFile(handle)  # closes the descriptor, even if it fails
    except (EdgeL3Error, MemoryError):
        raise
    except Exception as error:  # soundfile raises its own, RuntimeError, TypeError (raw files), OSError ...
        found = getattr(error, "error_string", error)  # the reason alone, without the repr of our object
        expected = "a WAV file" if soundfile is None else "a sound file that libsndfile reads"
        raise EdgeL3Error(f"{name}: expected {expected}; found: {found}", kind="not audio") from error


def find_soundfile():
    """Return the module soundfile, or None where it is not installed. Embedding arrays does not import it."""
    if not WAV_ONLY:
        with suppress(ImportError, OSError):  # OSError: libsndfile is missing
            import soundfile

            return soundfile
    return None


def _file_blocks(read, channels, sr, name):
    frames, start = max(1, BLOCK_SAMPLES // channels), 0
    while True:
        try:
            samples = read(frames)
        except MemoryError:  # says nothing about the recording
            raise
        except Exception as error:
            raise EdgeL3Error(f"{name}: reading failed at {start / sr:.3f} s: {error}", kind="damaged") from error
        if not len(samples):
            return
        yield to_mono(samples, start, sr, name)
        start += len(samples)
