"""A page of hits: listen to each, answer yes, no or unsure, and save labels that `train` reads."""

import hashlib
import json
import math
import os
from typing import NamedTuple

from ..collections.clips import read_parts
from ..collections.names import as_text
from ..errors import EdgeL3Error
from .assemble import by_recording, encoded, relative_url, write_page
from .media import draw_spectrogram, encode_clip

SCRIPTS = ["page.js", "player.js", "hits.js"]
CONTEXT = 1.0  # seconds of sound before and after what is asked about
LONGEST = 10.0  # seconds of it that can be heard
HIGHEST_SR = 24000  # Hz, of clips in the page


class Candidate(NamedTuple):
    """A stretch of a recording that a page asks about.

    Parameters
    ----------
    recording : str or None
        Absolute path; None: unknown.
    start, end : float
        Seconds; the end may be infinite, if it is that of the recording.
    label : str
        What is thought to be heard; empty: whoever answers names it.
    score : float or None
    """

    recording: object
    start: float
    end: float
    label: str = ""
    score: object = None


def write_hits(path, candidates, *, title, link=False, query=None, on_problem, on_item=lambda: None):
    """Write a page of hits.

    Parameters
    ----------
    path : str or Path
        Of the page; it ends in `.html`.
    candidates : list of Candidate
        In the order of the page.
    title : str
    link : bool
        Play the recordings where they are, by relative links, instead of copying clips into the page. The browser must
        know their format.
    query : Candidate, optional
        What was searched for; it is shown first.
    on_problem : callable, EdgeL3Error -> None
        Called for each recording that cannot be read: its hits are on the page, but cannot be heard.
    on_item : callable, optional
        Called after each hit.

    Returns
    -------
    size : int
        Bytes of the page.

    Raises
    ------
    EdgeL3Error
        The page cannot be written.
    """
    path = os.fsdecode(path)
    asked = [[as_text(item.recording or ""), *item[1:4]] for item in candidates]
    about = {
        "title": as_text(title),
        "key": hashlib.sha256(json.dumps(asked).encode()).hexdigest(),  # under which the browser keeps the answers
        "labels": sorted({item.label for item in candidates} - {""}),
        "file": f"{as_text(os.path.splitext(os.path.basename(path))[0])}-labels.csv",
    }
    asked = [*([query] if query else []), *candidates]
    return write_page(path, SCRIPTS, about, _items(path, asked, query, link, on_problem, on_item), link)


def _items(path, asked, query, link, on_problem, on_item):
    """Yield what the script wants to know of each candidate; each recording is read once."""
    for recording, numbers in by_recording(asked).items():
        items, problem = {}, "the recording has no sound here"
        for number in numbers:
            begin, _ = _span_of(asked[number])
            items[number] = {**_describe(number + (query is None), asked[number]), "begin": begin}
        try:
            for number, media in _media(path, recording, numbers, asked, link):
                yield {**items.pop(number), **media}
                on_item()
        except EdgeL3Error as error:
            on_problem(error)
            problem = as_text(str(error))
        for item in items.values():
            yield {**item, "problem": problem}
            on_item()


def _span_of(candidate):
    """Return which part of the recording is to be heard, with what surrounds it: start and end in seconds."""
    end = min(candidate.end, candidate.start + LONGEST)
    return max(0.0, candidate.start - CONTEXT), end + CONTEXT


def _describe(number, candidate):
    whole = as_text(candidate.recording or "")
    return {
        "number": number,
        "path": whole,
        "start": round(candidate.start, 6),
        "end": round(candidate.end, 6) if math.isfinite(candidate.end) else None,
        "heardEnd": round(min(candidate.end, candidate.start + LONGEST), 6),
        "label": candidate.label,
        "score": None if candidate.score is None else round(candidate.score, 6),
    }


def _media(path, recording, numbers, asked, link):
    """Yield the picture of each part of a recording, and its sound or where that is."""
    if recording is None:
        raise EdgeL3Error("the recording is unknown: its embeddings do not name it")
    for place, part, sr in read_parts(recording, [_span_of(asked[number]) for number in numbers]):
        if len(part):
            sound = {"url": relative_url(recording, path)} if link else {}
            if not link:
                sound["clip"] = encoded(encode_clip(part, sr, HIGHEST_SR))
            picture = encoded(draw_spectrogram(part, sr))
            yield numbers[place], {**sound, "image": picture, "length": len(part) / sr, "top": sr / 2}
