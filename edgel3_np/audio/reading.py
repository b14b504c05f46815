"""Read audio, from whatever source: the result is a rate and an iterator of blocks of float64 mono samples."""

import io
import os
import re
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from importlib.util import find_spec

import numpy as np

from .._files import open_regular
from .._foreign import describe
from ..errors import EdgeL3Error
from .pieces import Pieces, Source
from .samples import MAX_CHANNELS, check_samples, check_sr, scale_remark, to_mono, wide_peak
from .survey import survey
from .wav import WavFile

WAV_ONLY = False  # `tools/vendor.py --wav-only` writes True: the copy never imports soundfile
TRAILER = 1024  # bytes behind the sound that are no sound, at most, in containers that are not surveyed
PACKET = 64  # frames by which a count of whole packets may differ
MAX_SECONDS = 1e9  # a longer recording is of unknown length
BLOCK_SAMPLES = 1 << 18  # samples (frames x channels) that are read at a time: 2 MiB as float64
FINE = 16  # frames that are read at a time before a place where decoding fails
MAX_REMARKS = 20  # about a file; more are counted


@contextmanager
def open_audio(audio, sr=None, notice=None):
    """Open `audio` as a stream of mono blocks.

    Parameters
    ----------
    audio : str, Path, bytes-like, binary file or np.ndarray [shape=(n,) or (n, channels)]
        A sound file that libsndfile reads (without soundfile: a WAV file), given by its path, its content, or a file
        that is open for reading at the start of the content. Or samples: integers are scaled by their full scale
        (int16 by 1 / 32768; unsigned ones are centred first), floating-point samples are taken as they are.
    sr : int > 0, optional
        Sampling rate in Hz. Samples need it. A file has its own rate, and `sr` must agree.
    notice : callable, (text, incomplete) -> None, optional
        Told, while blocks are read, what is unusual; `incomplete` is True where a file holds less or more than its
        headers promise, or is not read to its end.

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
        remark = scale_remark(samples.dtype, wide_peak(samples))
        if notice is not None and remark:
            notice(remark, False)
        yield sr, _array_blocks(samples, sr)
        return
    if isinstance(audio, (str, os.PathLike)):
        path, name = os.fspath(audio), os.fsdecode(audio)
        with open_regular(path, "an audio file") as file, _sound_file(file, name, sr, notice, path) as opened:
            yield opened
    elif isinstance(audio, (bytes, bytearray, memoryview)):
        with _sound_file(io.BytesIO(bytes(audio)), "audio given as bytes", sr, notice) as opened:
            yield opened
    elif _is_file_like(audio):
        name = str(getattr(audio, "name", "audio file object"))
        if getattr(audio, "closed", False):
            raise EdgeL3Error(f"{name}: expected an open file, found one that is closed")
        if isinstance(audio, io.TextIOBase):
            raise EdgeL3Error(f"{name}: expected a file open for reading bytes (mode 'rb'), found one for text")
        if hasattr(audio, "seekable") and not audio.seekable():
            raise EdgeL3Error(
                f"{name}: expected a file that can be read from any place, found a pipe or stream; read it to its end "
                "and pass the bytes"
            )
        with _sound_file(audio, name, sr, notice) as opened:
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


@contextmanager
def _sound_file(file, name, sr, notice, path=None):
    source = Source(file, name)
    if not source.size and not source.origin:
        raise EdgeL3Error(f"{name}: expected a sound file, found none: the file has 0 bytes", kind="empty")
    try:
        parts = survey(source.read, source.size)
    except EdgeL3Error as error:
        text = f"{name}: {error}".replace(f"{name}: {name}: ", f"{name}: ")
        raise EdgeL3Error(text, kind=error.kind) from error.__cause__
    path = None if source.origin else path
    with _decoder(source, file, name, parts[0], path) as decoder:
        if not 1 <= decoder.channels <= MAX_CHANNELS:
            expected = f"expected 1 to {MAX_CHANNELS} channels"
            raise EdgeL3Error(f"{name}: {expected}, found {decoder.channels}", kind="not audio")
        try:
            file_sr = check_sr(decoder.samplerate, name)
        except EdgeL3Error as error:
            raise EdgeL3Error(str(error), kind="not audio") from None
        if sr is not None and check_sr(sr) != file_sr:
            raise EdgeL3Error(f"{name}: sr={sr} was given but the file says {file_sr} Hz; leave sr out for files")
        yield file_sr, _all_blocks(partial(_decoder, source, file, name), parts, decoder, path, notice, name)


def _all_blocks(open_part, parts, decoder, path, notice, name):
    """Yield the blocks of all parts of a file, one after the other."""
    sr, start, remarks = decoder.samplerate, 0, 0

    def remark(text):
        nonlocal remarks
        remarks += 1
        if remarks <= MAX_REMARKS and notice is not None:
            notice(f"from {begin / sr:.3f} s on: {text}" if begin else text, True)

    for number, part in enumerate(parts):
        begin, reopen = start, partial(open_part, part, path)
        if number:
            try:
                decoder = reopen()
            except EdgeL3Error as error:
                if part.broken:
                    raise
                remark(f"what follows cannot be read: {error}")
                break
        with decoder:
            if decoder.samplerate != sr:
                remark(f"what follows has another rate, {decoder.samplerate} Hz, and was not read")
                break
            for samples in _blocks(decoder, reopen, part, begin / sr, name):
                yield part.gain * to_mono(samples, start, sr, name)
                start += len(samples)
        _compare(part, decoder, start - begin, remark)
    if remarks > MAX_REMARKS and notice is not None:
        notice(f"there are {remarks - MAX_REMARKS} more remarks like these", True)


def _blocks(decoder, reopen, part, offset, name):
    """Yield the blocks of a part, which begins at the time `offset`, in seconds: (m, channels)."""
    sr, early = decoder.samplerate, decoder.early(part)
    done, frames = early, max(1, BLOCK_SAMPLES // decoder.channels)
    decoder.read(early)  # and raises what went wrong while it was opened
    last = decoder.frames if decoder.frames < MAX_SECONDS * sr else None  # libsndfile clears all that it is given
    while last is None or done < last:
        try:
            samples = decoder.read(frames if last is None else min(frames, last - done))
        except (MemoryError, EdgeL3Error):  # these say nothing about the recording
            raise
        except Exception as error:
            for samples in _until_failure(reopen, frames, done):
                yield samples
                done += len(samples)
            if decoder.rest() and not part.broken:
                failed = f"reading failed at {offset + (done - early) / sr:.3f} s"
                raise EdgeL3Error(f"{name}: {failed}: {error}", kind="damaged") from error
            decoder.failed = True  # and nothing lies behind: the file is cut off
            break
        if not len(samples):
            break
        yield samples
        done += len(samples)
    if part.broken:
        raise _damaged(name, offset + (done - early) / sr)


def _damaged(name, seconds):
    """Return the error for a recording that is broken from a time on."""
    advice = "repair the recording or cut it there" if seconds else "it is whole up to 0.000 s; repair the recording"
    text = f"damaged at {seconds:.3f} s: bytes are missing, changed or not in order, and times behind would be wrong"
    return EdgeL3Error(f"{name}: {text}; {advice}", kind="damaged")


def _until_failure(reopen, frames, done):
    """Yield what comes before the place where a decoder failed, within the block that begins at frame `done`.

    libsndfile gives nothing of the block in which it fails. So a new decoder reads up to that block, and then little
    by little.
    """
    with reopen() as decoder:
        while done > 0:
            done -= len(decoder.read(min(frames, done))) or done
        while True:
            try:
                samples = decoder.read(FINE)
            except MemoryError:
                raise
            except Exception:
                return
            if not len(samples):
                return
            yield samples


def _compare(part, decoder, frames, remark):
    """Compare the frames that were read of a part with what its headers promise."""
    sr, promised = decoder.samplerate, part.promised if part.known else decoder.promised / decoder.samplerate
    seconds = frames / sr
    if part.clock is not None:
        promised = (decoder.frames - decoder.early(part)) / sr
    if part.remark:
        remark(part.remark)
    if not part.known and ("truncated" in decoder.notes or frames > decoder.promised):
        remark(f"libsndfile finds the file truncated; {seconds:.3f} s were read")
    elif not part.known and decoder.rest() > TRAILER:
        remark(f"libsndfile stops {decoder.rest()} bytes before the end of the file; {seconds:.3f} s were read")
    elif "cut off" in part.remark:
        return
    elif promised is not None and seconds < promised - part.slack - 1e-9 and promised < MAX_SECONDS:
        lengths = f"{seconds:.3f} s were read of {promised:.3f} s that the header promises"
        remark(f"{lengths}: the file is cut off or broken")
    elif decoder.failed:
        remark(f"{seconds:.3f} s were read: the file is cut off or broken behind")


class _Decoder:
    """What decodes a part of a sound file: libsndfile, or our reader of WAV where soundfile is missing."""

    def __init__(self, sound, pieces, file):
        self._sound, self._pieces, self._file = sound, pieces, file
        self.samplerate, self.channels, self.frames = sound.samplerate, sound.channels, sound.frames
        self.failed = False  # reading ended with an error
        self.notes = sound.extra_info
        found = re.findall(r"(?:Frames|Cols) *: *(\d+)", self.notes)
        self.promised = int(found[-1]) if found else self.frames  # libsndfile counts what is there
        if abs(self.promised - self.frames) < PACKET:
            self.promised = self.frames

    def read(self, frames):
        """Return the next frames, or those that are left: (m, channels)."""
        samples = self._sound.read(frames, dtype="float64", always_2d=True)
        if self._pieces is not None and self._pieces.failure is not None:
            raise self._pieces.failure
        return samples

    def early(self, part):
        """Return the frames that libsndfile yields before the sound of Ogg Opus whose time does not begin with 0."""
        granule, skip = part.clock or (0, 0)
        begin = granule - skip - self.frames * 48000 / self.samplerate
        return round(max(0, min(begin, skip)) * self.samplerate / 48000)

    def rest(self):
        """Return the number of bytes behind those that are read so far, 0 if it is unknown."""
        if self._pieces is not None:
            return self._pieces.size - self._pieces.tell()
        if os.name != "posix":
            return 0
        return os.fstat(self._file.fileno()).st_size - os.lseek(self._file.fileno(), 0, os.SEEK_CUR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sound.close()


def _decoder(source, file, name, part, path):
    """Open what decodes a part of a sound file."""
    soundfile, pieces = find_soundfile(), None
    if part.pieces is not None or path is None or soundfile is None:
        pieces = Pieces(source, part.pieces or ((0, source.size),))
    try:
        if soundfile is None:
            return _Decoder(WavFile(pieces, name, _why_wav_only()), pieces, file)
        handle = pieces
        if pieces is None:  # libsndfile reads by itself: soundfile's callbacks can lose a Ctrl-C
            handle = path
            if os.name == "posix":
                handle = os.dup(file.fileno())
                os.lseek(handle, 0, os.SEEK_SET)
        return _Decoder(_sequential(soundfile)(handle), pieces, file)  # closes the descriptor, even if it fails
    except (EdgeL3Error, MemoryError):
        raise
    except Exception as error:  # soundfile raises its own, RuntimeError, TypeError (raw files), OSError ...
        if pieces is not None and pieces.failure is not None:
            raise pieces.failure from pieces.failure.__cause__
        if part.broken:
            raise _damaged(name, 0.0) from None
        found = getattr(error, "error_string", error)  # without the repr of our object
        found = part.remark or describe(source.read(0, 64)) or found
        expected = "a WAV file" if soundfile is None else "a sound file that libsndfile reads"
        hint = f"; the file is open at byte {source.origin}, not at its start" if source.origin else ""
        raise EdgeL3Error(f"{name}: expected {expected}; found: {found}{hint}", kind="not audio") from error


def _why_wav_only():
    """Say why only WAV can be read, and what to do."""
    if WAV_ONLY:
        return "this copy of edgel3_np reads WAV only"
    why, how = "is not installed", "pip install soundfile"
    if find_spec("soundfile"):
        why, how = "cannot load its library, libsndfile", "install libsndfile (Debian: apt install libsndfile1)"
    return f"soundfile {why}: only WAV can be read; {how}"


@lru_cache(maxsize=1)
def _sequential(soundfile):
    """Return soundfile's class without its seek after each block, which fails for unknown lengths and hides holes."""

    class Sequential(soundfile.SoundFile):
        def seekable(self):
            return False

    return Sequential


def find_soundfile():
    """Return the module soundfile, or None where it is not installed. Embedding arrays does not import it."""
    if not WAV_ONLY:
        with suppress(ImportError, OSError):  # OSError: libsndfile is missing
            import soundfile

            return soundfile
    return None
