"""Cut the sound of hits out of their recordings."""

import io
import os

import numpy as np

from ..audio.reading import find_soundfile, open_audio
from ..errors import EdgeL3Error
from .atomic import atomic
from .results import read_provenance

MAX_STEM = 40  # letters of a recording's name in the name of its clip


def write_clip(hit, directory, number):
    """Write the second of sound that a hit was found in, as a WAV file.

    Parameters
    ----------
    hit : Hit
        From `similar`.
    directory : str or Path
        Made if missing.
    number : int
        Rank of the hit: the name of the clip begins with it.

    Returns
    -------
    path : str
        Of the clip: mono, 16 bits, with the rate of the recording.

    Raises
    ------
    EdgeL3Error
        The recording is unknown, has moved, or cannot be read; or soundfile is missing.
    OSError
        The clip cannot be written.
    """
    if hit.recording is None:
        raise EdgeL3Error(
            f"{hit.path}: expected the name of the recording in it, found none; embed the recording again"
        )
    options = (read_provenance(hit.path) or {}).get("options")
    centred = not (isinstance(options, dict) and options.get("center") is False)
    samples, sr = read_part(hit.recording, hit.time - 0.5 if centred else hit.time, 1.0)
    soundfile = find_soundfile()
    if soundfile is None:
        raise EdgeL3Error("expected soundfile to write clips, found none; install it: pip install soundfile")
    content = io.BytesIO()
    soundfile.write(content, samples, sr, format="WAV", subtype="PCM_16")
    os.makedirs(directory, exist_ok=True)
    stem = os.path.splitext(os.path.basename(hit.recording))[0][:MAX_STEM]
    name = f"{number:03}_{''.join(letter if letter.isalnum() else '_' for letter in stem)}_{hit.time:.1f}s.wav"
    path = os.path.join(os.fsdecode(directory), name)
    with atomic(path) as file:
        file.write(content.getvalue())
    return path


def read_part(recording, start, seconds):
    """Return a part of a recording, shorter where the recording begins or ends inside: samples (n,), and their rate.

    Parameters
    ----------
    recording : str or Path
    start, seconds : float
        The part, in seconds; it may begin before the recording.
    """
    with open_audio(recording) as (sr, blocks):
        first, last, position, parts = max(0, round(start * sr)), round((start + seconds) * sr), 0, [np.zeros(0)]
        for block in blocks:
            parts.append(block[max(0, first - position) : max(0, last - position)])
            position += len(block)
            if position >= last:
                break
    return np.concatenate(parts), sr
