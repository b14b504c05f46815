"""What is in the parts of a table already: which recordings a run can skip, and which rows it replaces."""

from __future__ import annotations

import os
from typing import NamedTuple

from ...errors import EdgeL3Error
from ..find import clamped
from ..jobs import Report, state_of
from .part import NAME, Entries, open_part


class _Part(NamedTuple):
    path: str
    about: dict
    entries: Entries


class Known:
    """The parts in a directory.

    Parameters
    ----------
    root : str
    stem : str
        `K-of-N`.
    made : dict
        How embeddings are to be made, from `fingerprint`.
    resume, strict : bool
        As in `Job`.

    Attributes
    ----------
    problems : list of Report
        Of parts that cannot be read.
    last : int
        Number of the last part whose name has the stem; -1 if there is none.
    """

    def __init__(self, root, stem, made, resume, strict):
        self._made, self._resume, self._strict = made, resume, strict
        self._parts, self.problems, self.last = [], [], -1
        self._places: dict = {}  # name of a recording -> part, number in it, and again for each root
        for name in sorted(os.listdir(root)):
            match = NAME.fullmatch(name)
            if match is not None:
                self._add(os.path.join(root, name))
                if f"{match[1]}-of-{match[2]}" == stem:
                    self.last = max(self.last, int(match[3]))

    def _add(self, path):
        try:
            with open_part(path) as part:
                self._parts.append(_Part(path, part.about, part.entries))
        except EdgeL3Error as error:
            if not os.path.lexists(path):  # another run has replaced its last recordings
                return
            text = str(error) if error.kind == "damaged" else f"{error}; remove it: its recordings are embedded again"
            self.problems.append(Report(path, "", "failed", error.kind, text))
            return
        for number, recording in enumerate(part.entries.names()):
            before = self._places.get(recording, ())
            self._places[recording] = (*before, len(self._parts) - 1, number)

    def find(self, job, sources):
        """Look a recording up.

        Its own entries are those of its name and root. If there is none, the collection may have moved: then they are
        those of its name and of a root that the run has not, whose recordings are gone.

        Parameters
        ----------
        job : has `input`, `source` and `name`
        sources : set of str
            All roots of the run.

        Returns
        -------
        report : Report or None
            That the recording is skipped; None if it is to be embedded.
        others : list of (str, (str, str))
            Path of the part, and key, of each entry that is out of date.
        """
        codes = self._places.get(job.name, ())
        places = ((self._parts[part], number) for part, number in zip(codes[::2], codes[1::2]))
        found = [(part, part.entries[number]) for part, number in places]
        own = [pair for pair in found if pair[1].root == job.source]
        own = own or [pair for pair in found if pair[1].root not in sources and _is_gone(pair[1])]
        number = self._find_fresh(job, own) if own and self._resume else None
        report = None
        if number is not None:
            part, entry = own.pop(number)
            report = Report(job.input, part.path, "skipped", remarks=entry.remarks, incomplete=entry.incomplete)
        return report, [(part.path, entry.key) for part, entry in own]

    def _find_fresh(self, job, own):
        """Return which of its entries tells a recording as it is now; None if none does."""
        try:
            state = state_of(job.input)
        except EdgeL3Error:  # embedding it tells what is wrong
            return None
        for number, (part, entry) in enumerate(own):
            same = (entry.bytes, entry.mtime_ns) == (state["bytes"], clamped(state["mtime_ns"]))
            if same and self._made.items() <= part.about.items() and not (self._strict and entry.incomplete):
                return number
        return None

    def about(self, path):
        """Return what a part says of all its embeddings, and its number of rows; None and 0 if it is not known."""
        for part in self._parts:
            if part.path == path:
                return part.about, int(part.entries.windows.sum())
        return None, 0


def _is_gone(entry):
    return not os.path.lexists(os.path.join(entry.root, entry.name))
