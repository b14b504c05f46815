"""A table of embeddings in a directory, which grows part by part: what it holds, and what a run adds to it.

The part that is being filled is in memory. Now and then it is written as a whole, and replaces what was written of it
before; a recording is reported when its rows are in a file. No recording has rows twice: parts that hold earlier rows
of it are written again without them, just before the new ones appear.
"""

from __future__ import annotations

import os
import time
from contextlib import closing, nullcontext, suppress
from typing import NamedTuple

from ..._version import __version__
from ...errors import EdgeL3Error
from ...model import cached_model
from ..atomic import atomic
from ..export import import_parquet
from ..locks import lock
from ..results import fingerprint
from .known import Known
from .part import MAX_NUMBER, NAME, open_part
from .worker import Embedded, discard, groups_of, held_of
from .writer import Room, drop_entries, rows_of_group, write_part

FORMATS = ("npz", "parquet")
FOLDER = ".edgel3_np-parts"  # in the directory of the table, while a run adds to it
FLUSH_SECONDS = 20.0  # from one writing of the part that is being filled to the next


def check_format(format, output_dir, suffix):
    """Raise `EdgeL3Error` unless the format goes with these options of `embed_files`, and with what is there."""
    if format not in FORMATS:
        raise EdgeL3Error(f"format: expected 'npz' or 'parquet', found {format!r}")
    if format == "parquet":
        if output_dir is None:
            raise EdgeL3Error("format: expected an output directory for the parts of a table (parquet), found none")
        if suffix is not None:
            raise EdgeL3Error(f"suffix: expected none with the format 'parquet', found {suffix!r}")
        import_parquet("use the format npz")
    if output_dir is not None:
        found = _find_other(os.fsdecode(output_dir), format)
        if found is not None:
            what = "a directory of npz files" if format == "npz" else "a directory for a table"
            how = "choose another directory, or --format parquet" if format == "npz" else "choose another directory"
            raise EdgeL3Error(f"{output_dir}: expected {what} or nothing, found {found}; {how}")


def _find_other(folder, format):
    """Return the path of a file of embeddings in the other format below a directory; None if none is found."""
    for place, folders, names in os.walk(folder):
        for name in names:
            if NAME.fullmatch(name) if format == "npz" else name.endswith(".npz"):
                return os.path.join(place, name)
        # parts lie at the top
        folders[:] = [] if format == "npz" else [name for name in folders if not name.startswith(".")]
    return None


class _Todo(NamedTuple):
    """What is left of a `Job` while it waits."""

    input: str
    source: str
    name: str


def write_shard(work, shard, run):
    """Do jobs, and add the embeddings to the table in their `root`.

    Parameters
    ----------
    work : iterable of Job
        They differ in `input`, `output`, `source`, `name` and `other_outputs` only.
    shard : tuple of int (k, n)
        The names of new parts.
    run : callable, iterator of Job -> generator of (Embedded or Report)
        Does jobs, with `embed_for_table`.

    Yields
    ------
    report : Report
        A report `done` comes when the rows are in a file that is synced. Those of recordings that are done when a run
        is interrupted come before the interrupt is raised.

    Raises
    ------
    EdgeL3Error
        Another run writes the same parts, or the directory cannot be written (kind `output`).
    """
    first, todo = None, []
    for job in work:
        first = first or job
        todo.append(_Todo(job.input, job.source, job.name))
    if first is None:
        return
    stem, folder = "{}-of-{}".format(*shard), os.path.join(first.root, FOLDER)
    if os.path.islink(folder):
        raise EdgeL3Error(f"{folder}: expected a directory, found a link; remove it", kind="output")
    with lock(os.path.join(folder, f"{stem}.lock"), f"another run writes the parts {stem}", remove=True):
        parts = Shard(first, stem)
        try:
            yield from _reports(parts, todo, run)
        finally:
            parts.tidy()


def _reports(parts, todo, run):
    yield from parts.problems
    sources, left = {job.source for job in todo}, []
    todo.reverse()
    while todo:  # memory is given back on the way
        job = todo.pop()
        report = parts.skipped(job, sources)
        if report is None:
            left.append(job)
        else:
            yield report
    left.reverse()
    try:
        with closing(run(parts.jobs(left))) as results:
            for result in results:
                yield from parts.take(result)
    except GeneratorExit:  # nobody takes reports any more
        parts.flush()
        raise
    except BaseException:
        yield from parts.flush()
        raise
    yield from parts.flush()


class Shard:
    """The parts that are in a directory, and the one that is being filled.

    Parameters
    ----------
    first : Job
        One of those that will be done.
    stem : str
        `K-of-N`, for the names of new parts.

    Attributes
    ----------
    problems : list of Report
        Of parts that cannot be read.
    """

    def __init__(self, first, stem):
        self._first, self._root, self._stem = first, first.root, stem
        model = cached_model(first.model, first.dim)
        made = fingerprint(model, first.hop_size, first.center)
        self._about = {"model": model.name, "version": __version__, **made}
        self._dim = model.dim
        self._known = Known(self._root, stem, made, first.resume, first.strict)
        self.problems, self._next = self._known.problems, self._known.last + 1  # number of the next part
        self._earlier: dict = {}  # key of a recording -> (path, key) of each of its earlier entries
        self._stale: dict = {}  # path of a part -> keys of what is to be removed from it
        self._held: dict = {}  # key -> Held: the part that is being filled
        self._waiting: dict = {}  # key -> Report: what is held and not yet written
        self._replaced: dict = {}  # key -> Held: what is in the file of that part and not to be in the next writing
        self._room = Room(self._dim)  # that `_held` takes
        self._path = None  # of the part that is being filled
        self._due = time.monotonic() + FLUSH_SECONDS

    def skipped(self, job, sources):
        """Return the report that a recording is in the table already; None if it is to be embedded."""
        report, others = self._known.find(job, sources)
        if report is None and others:
            self._earlier[job.source, job.name] = others
        elif report is not None:
            for path, key in others:  # two runs at once have left them
                self._stale.setdefault(path, set()).add(key)
        return report

    def jobs(self, left):
        """Yield the `Job` of each recording that is to be embedded; what is left is used up."""
        number = 0
        while left:
            job, number = left.pop(), number + 1
            output = os.path.join(self._root, FOLDER, f"{self._stem}.{number}.npz")
            yield self._first._replace(
                input=job.input, source=job.source, name=job.name, output=output, other_outputs=()
            )

    def take(self, result):
        """Add a recording; return the reports that can be made now."""
        if not isinstance(result, Embedded):
            before = self.flush() if self._first.strict else []  # it may be the last one
            return [*before, result._replace(output=self._root)]
        if result.entry.windows > rows_of_group(self._dim, result.entry):
            return self._write_long(result)
        try:
            held = held_of(result)
        except EdgeL3Error as error:
            return [_not_written(result.report, error)]
        finally:
            discard(result)
        ready = self._make_room(result.entry)
        self._replace(result.entry.key)
        self._hold(held)
        self._waiting[result.entry.key] = result.report
        return [*ready, *self.flush()] if time.monotonic() > self._due else ready

    def _hold(self, held):
        self._held[held.entry.key] = held
        self._room.add(held.entry)

    def _let_go(self, key):
        held = self._held.pop(key)
        self._room.remove(held.entry)
        return held

    def _make_room(self, entry):
        """Begin a new part if a recording does not fit into the present one; return the reports of what that wrote."""
        if self._path is None:
            self._path = self._continued() or self._new_path()
        if self._room.fits(entry):
            return []
        path, ready = self._new_path(), self.flush()
        self._held, self._room, self._path = {}, Room(self._dim), path
        return ready

    def _path_of(self, number):
        return os.path.join(self._root, f"part-{self._stem}-{number:05}.parquet")

    def _new_path(self):
        if self._next > MAX_NUMBER:
            expected = f"expected a number below {MAX_NUMBER} in names of parts, found {self._path_of(MAX_NUMBER)}"
            raise EdgeL3Error(f"{self._root}: {expected}; choose another directory", "output")
        self._next += 1
        return self._path_of(self._next - 1)

    def _continued(self):
        """Take the last part into memory and return its path, if it was made in the same way and is not full."""
        path = self._path_of(self._known.last)
        about, rows = self._known.about(path)
        if about != self._about or rows >= rows_of_group(self._dim):
            return None
        stale = self._stale.get(path, ())
        try:
            with open_part(path) as part:
                part.check()
                for held in part.held():
                    if held.entry.key not in stale:  # those are removed by the next writing
                        self._hold(held)
        except EdgeL3Error:  # it is damaged, and its readers say so
            self._held, self._room = {}, Room(self._dim)
            return None
        return path

    def _replace(self, key):
        """See to it that the earlier rows of a recording are removed when its new ones are written."""
        for path, old in self._earlier.pop(key, ()):
            if path != self._path:
                self._stale.setdefault(path, set()).add(old)
            elif old in self._held:
                self._replaced[old] = self._let_go(old)

    def flush(self):
        """Write the part that is being filled, if there is something new; return the reports of what is new in it."""
        self._due = time.monotonic() + FLUSH_SECONDS
        problem = None
        if self._waiting or self._stale:
            groups = [list(self._held.values())] if self._waiting else []
            problem = self._publish(self._path, [held.entry for held in self._held.values()], groups, self._stale)
        waiting, replaced = self._waiting, self._replaced
        self._waiting, self._replaced, self._stale = {}, {}, {}
        reports = [report._replace(output=self._path) for report in waiting.values()]
        if problem is None:
            return reports
        for key in waiting:
            self._let_go(key)
        for held in replaced.values():
            self._hold(held)
        return [_not_written(report, problem) for report in reports]

    def _publish(self, path, entries, groups, stale):
        """Write a part, if there are row groups, and remove stale rows of others; return the error if that fails."""
        name = os.path.join(self._root, FOLDER, "lock")
        try:
            with lock(name, "another run writes", wait=True, remove=True) if stale else nullcontext():
                if not groups:
                    _drop(stale)
                    return None
                with atomic(path) as file:
                    write_part(file, self._about, self._dim, entries, groups)
                    if stale:  # a full disk is noticed before anything is removed
                        file.flush()
                        os.fsync(file.fileno())
                        _drop({other: keys for other, keys in stale.items() if other != path})
        except (OSError, EdgeL3Error) as error:
            return error
        return None

    def _write_long(self, embedded):
        """Write a recording that is larger than a row group into a part of its own; return its report."""
        path, ready, stale = self._new_path(), self.flush(), {}
        earlier = self._earlier.pop(embedded.entry.key, ())
        for other, key in earlier:
            stale.setdefault(other, set()).add(key)
        rows = rows_of_group(self._dim, embedded.entry)
        problem = self._publish(path, [embedded.entry], groups_of(embedded, rows), stale)
        discard(embedded)
        if problem is None:
            for other, key in earlier:
                if other == self._path and key in self._held:
                    self._let_go(key)
        report = embedded.report._replace(output=path)
        return [*ready, report if problem is None else _not_written(report, problem)]

    def tidy(self):
        """Remove the files of recordings that were embedded and not taken."""
        folder = os.path.join(self._root, FOLDER)
        with suppress(OSError):
            for name in os.listdir(folder):
                if name.startswith(f"{self._stem}.") and name.endswith(".npz"):
                    os.unlink(os.path.join(folder, name))


def _drop(stale):
    for path, keys in stale.items():
        with suppress(EdgeL3Error):  # a damaged part: nobody reads its rows
            drop_entries(path, keys)


def _not_written(report, error):
    why = getattr(error, "strerror", None) or error
    reason = f"{report.input}: its rows cannot be written to {report.output}: {why}"
    return report._replace(
        status="failed", kind="output", reason=reason, windows=0, seconds=0.0, remarks=(), incomplete=False
    )
