"""Cut the sound of hits out of their recordings."""

import io
import os
from collections import deque

import numpy as np

from ..audio.reading import find_soundfile, open_audio
from ..errors import EdgeL3Error
from .atomic import atomic
from .gather import is_centred
from .results import MAX_TIME
from .sources import provenance_of

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
    ((_, samples, sr),) = read_parts(hit.recording, [span_of(hit)])
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


def span_of(hit):
    """Return the second of the recording that a hit was found in: its start and end, in seconds."""
    start = hit.time - 0.5 if is_centred(provenance_of(hit.path) or {}) else hit.time
    return max(0.0, start), start + 1.0


def read_parts(recording, spans):
    """Yield parts of a recording, which is read once. A part is shorter where the recording ends inside it.

    Memory holds one part at a time, and what the next ones share with it.

    Parameters
    ----------
    recording : str or Path
    spans : list of (float, float)
        Start and end of each part, in seconds.

    Yields
    ------
    number : int
        Which of the spans, in the order of their ends.
    part : np.ndarray [shape=(n,), float64]
    sr : int
        Its rate, that of the recording.

    Raises
    ------
    EdgeL3Error
        The recording cannot be read, or a span is none.
    """
    for start, end in spans:
        if not 0 <= start <= end <= MAX_TIME:  # false of NaN as well
            raise EdgeL3Error(f"{recording}: expected a time from 0 to {MAX_TIME:g} s, found {start!r} to {end!r}")
    with open_audio(recording) as (sr, blocks):
        ends = [(round(start * sr), round(end * sr)) for start, end in spans]
        order = sorted(range(len(ends)), key=lambda number: ends[number][1])
        needed = np.minimum.accumulate([ends[number][0] for number in order][::-1])[::-1].tolist()  # from here on
        blocks, kept, first, position = (
            iter(blocks),
            deque(),
            0,
            0,
        )  # blocks, the position of the first of them, and of their end
        for place, number in enumerate(order):
            start, end = ends[number]
            while position < end:
                block = next(blocks, None)
                if block is None:
                    break
                kept.append(block)
                position += len(block)
                while kept and first + len(kept[0]) <= needed[place]:
                    first += len(kept.popleft())
            sound = np.concatenate([np.zeros(0), *kept])
            yield number, sound[max(0, start - first) : max(0, end - first)], sr
