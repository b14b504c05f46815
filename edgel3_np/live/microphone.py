"""Read a microphone with sounddevice (PortAudio): blocks of samples, and how many were lost where this is too slow."""

from __future__ import annotations

import queue
from contextlib import contextmanager

import numpy as np

from ..audio.samples import check_sr, to_mono
from ..errors import EdgeL3Error
from .moments import Block
from .sources import Source

NAME = "microphone"
BLOCK = 0.05  # seconds of sound that PortAudio hands over at a time
WAITING = 10.0  # seconds of sound that may wait for being embedded; more is lost
LONG = 3600.0  # seconds; no overflow is longer, and a clock that says so is wrong
PATIENCE = 10  # seconds without sound after which the device counts as broken
DTYPE = "int16"  # which every device has


@contextmanager
def open_microphone(device, sr, channels, notice):
    """Open a microphone and begin to record.

    Sound that arrives faster than it is taken waits; after ten seconds of it, all that arrives is lost until nothing
    waits any more. So what is lost is lost in one piece, and what is left is long enough for windows.

    Parameters
    ----------
    device : int, str or None
        Number or part of the name of a device; None: the system's default.
    sr : int > 0 or None
        Sampling rate, Hz; None: the device's own.
    channels : int > 0
    notice : callable, str -> None
        Called whenever samples were lost, with their number.

    Yields
    ------
    source : Source
        Its blocks end with the device only.

    Raises
    ------
    EdgeL3Error
        sounddevice or PortAudio is missing, or there is no such device, or it does not record like this; while blocks
        are read: the device stops.
    """
    sounddevice = import_sounddevice()
    try:
        rate = sounddevice.query_devices(device, "input")["default_samplerate"] if sr is None else sr
        sr, size = check_sr(rate, NAME), round(BLOCK * rate)
        waiting = Waiting(sr, round(WAITING * rate / size))
        stream = sounddevice.RawInputStream(
            device=device,
            samplerate=sr,
            channels=channels,
            dtype=DTYPE,
            blocksize=size,
            callback=lambda content, frames, time, status: waiting.put(
                bytes(content), frames, time.inputBufferAdcTime, status.input_overflow
            ),
        )
    except EdgeL3Error:
        raise
    except (ValueError, sounddevice.PortAudioError) as error:  # ValueError: no such device
        raise _refused(device, error) from error
    try:
        stream.start()
        yield Source(sr, _blocks(stream, waiting, sr, channels, notice))
    except sounddevice.PortAudioError as error:
        raise _refused(device, error) from error
    finally:
        stream.close()


def import_sounddevice():
    """Return the module sounddevice; raise `EdgeL3Error` if it, or the library PortAudio, is not installed."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: there is no PortAudio
        raise EdgeL3Error(
            f"{NAME}: expected sounddevice and PortAudio, but they cannot be loaded ({error}); "
            "pip install sounddevice, and for PortAudio apt install libportaudio2; or do without them: "
            "arecord -f S16_LE -r 16000 -c 1 -t raw | edgel3-np listen - --rate 16000"
        ) from error
    return sounddevice


def _refused(device, error):
    which = "the default device" if device is None else f"device {device!r}"
    return EdgeL3Error(f"{NAME}: cannot record from {which}: {error}; `python -m sounddevice` lists devices")


def _blocks(stream, waiting, sr, channels, notice):
    """Yield a `Block` for each piece that arrives."""
    silent = 0
    while True:
        try:
            content, lost, overflowed = waiting.take(1.0)
        except queue.Empty:
            silent += 1
            if stream.active and silent < PATIENCE:
                continue
            raise EdgeL3Error(
                f"{NAME}: expected samples, found none for {silent} s: the device has stopped; is it plugged in?",
                kind="damaged",
            ) from None
        _report(lost, overflowed, sr, notice)
        samples = np.frombuffer(content, DTYPE).reshape(-1, channels)
        yield Block(to_mono(samples, 0, sr, NAME), lost + overflowed)
        silent = 0


def _report(lost, overflowed, sr, notice):
    """Say how many samples were lost, if any were."""
    if lost:
        why = "it comes faster than it is embedded; take a longer hop or a smaller model"
        notice(f"{NAME}: {lost} samples ({lost / sr:.2f} s) of sound are lost: {why}")
    if overflowed:
        lost = f"about {overflowed} samples ({overflowed / sr:.2f} s)"
        notice(f"{NAME}: {lost} of sound are lost in the sound system, by its clock; is this machine busy?")


class Waiting:
    """Sound on its way from PortAudio's thread, which puts it, to the thread that takes it.

    Parameters
    ----------
    sr : int > 0
        Sampling rate, Hz.
    size : int > 0
        Pieces that may wait.
    """

    def __init__(self, sr, size):
        self._queue, self._sr = queue.Queue(size), sr
        self._lost, self._overflowed = 0, 0  # samples since the last piece that was kept: lost here, and by PortAudio
        self._skipping, self._expected = False, None

    def put(self, content, frames, time, overflowed):
        """Keep a piece, or lose it.

        Parameters
        ----------
        content : bytes
        frames : int > 0
        time : float
            Seconds, on the clock of the sound system, when the first sample was recorded.
        overflowed : bool
            Samples were lost before it. PortAudio does not say how many, but the clock does, roughly.
        """
        if overflowed:
            late = 0.0 if self._expected is None else (time - self._expected) * self._sr
            self._overflowed += round(late) if 1 <= late < LONG * self._sr else 1
        self._expected = time + frames / self._sr
        self._skipping = self._queue.full() or (self._skipping and not self._queue.empty())
        if self._skipping:
            self._lost += frames
        else:
            self._queue.put_nowait((content, self._lost, self._overflowed))
            self._lost, self._overflowed = 0, 0

    def take(self, timeout):
        """Return the next piece, and how many samples were lost before it, here and by PortAudio.

        Raises
        ------
        queue.Empty
            None comes within `timeout` seconds.
        """
        return self._queue.get(timeout=timeout)
