"""What a page shows and plays of a sound: a small spectrogram as PNG, and the sound itself as FLAC."""

import io
import struct
import zlib

import numpy as np

from ..audio.reading import find_soundfile
from ..audio.resample import resample
from ..errors import EdgeL3Error

LOWEST_SR = 8000  # Hz; browsers refuse rates far below
WIDTH, HEIGHT = 240, 72  # pixels
FRAME = 0.04  # seconds of a Fourier transform, about
RANGE = 70.0  # dB below the loudest that still have a colour
MEL = 700.0  # Hz, up to which rows are about equally wide
# from black over purple and orange to pale yellow: colours of equal steps in lightness
COLOURS = ((0, 0, 4), (52, 16, 102), (120, 28, 109), (190, 55, 82), (237, 105, 37), (251, 180, 26), (252, 255, 164))


def encode_clip(samples, sr, highest_sr):
    """Return a clip as FLAC, which today's browsers play.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float64]
    sr : int
        Hz.
    highest_sr : int
        Hz; a clip of a higher rate is resampled to it.

    Returns
    -------
    content : bytes
        16 bits, mono.

    Raises
    ------
    EdgeL3Error
        soundfile is missing.
    """
    soundfile = find_soundfile()
    if soundfile is None:
        raise EdgeL3Error("expected soundfile to write clips, found none; install it: pip install soundfile")
    rate = min(max(sr, LOWEST_SR), highest_sr)
    if rate != sr:
        samples = np.concatenate([np.zeros(0), *resample([samples], sr, rate)])
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def draw_spectrogram(samples, sr):
    """Return a small spectrogram as PNG: time from left to right, frequency from 0 Hz at the bottom to `sr / 2`.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float64]
        At least one.
    sr : int
        Hz.

    Returns
    -------
    content : bytes
        `WIDTH` by `HEIGHT` pixels; the loudest has the lightest colour, and 70 dB below it the darkest.
    """
    n_fft = 2 ** max(6, round(np.log2(FRAME * sr)))
    padded = np.pad(samples, n_fft // 2)
    starts = np.linspace(0, len(samples) - 1, WIDTH).astype(np.int64)
    frames = padded[starts[:, np.newaxis] + np.arange(n_fft)]  # (WIDTH, n_fft)
    power = np.abs(np.fft.rfft(frames * np.hanning(n_fft))) ** 2  # (WIDTH, bins)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    shares = np.linspace(0, 1, HEIGHT)  # of the height, from the bottom
    hertz = MEL * ((1 + sr / 2 / MEL) ** shares - 1)
    rows = np.stack([np.interp(hertz, np.arange(n_fft // 2 + 1) * sr / n_fft, column) for column in level])
    shade = np.clip(1 + (rows - rows.max()) / RANGE, 0, 1) if power.any() else np.zeros(rows.shape)
    return _png(np.round(255 * shade.T[::-1]).astype(np.uint8))


def _png(image):
    """Return an image, shape (rows, columns), uint8, as PNG with the colours of `COLOURS`."""
    steps = np.linspace(0, 255, len(COLOURS))
    palette = np.stack([np.interp(np.arange(256), steps, part) for part in np.transpose(COLOURS)], axis=1)
    rows = np.insert(image, 0, 0, axis=1)  # each row begins with the number of its filter: none
    head = struct.pack(">2I5B", image.shape[1], image.shape[0], 8, 3, 0, 0, 0)
    chunks = (b"IHDR", head), (b"PLTE", np.round(palette).astype(np.uint8).tobytes())
    chunks += (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
