"""Tests of tables as output: the rows are those of npz files, each once, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import soundfile
from interrupts import interrupt_at_line

import edgel3_np
from edgel3_np import EdgeL3Error, EdgeL3Warning, embed_files, iter_files
from edgel3_np.collections.jobs import Job, Report
from edgel3_np.collections.parquet import part as part_module
from edgel3_np.collections.parquet import shard, worker, writer
from edgel3_np.collections.parquet.part import MAX_NUMBER, NAME, Entry, open_part
from edgel3_np.collections.parquet.shard import FOLDER, Shard, write_shard
from edgel3_np.collections.parquet.worker import Embedded, held_of
from edgel3_np.commands.main import main

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
COUNT = 10


@pytest.fixture
def sounds(tmp_path, sweep):
    """Write ten recordings of 1 to 4 s into two folders."""
    folder = tmp_path / "sounds"
    (folder / "sub").mkdir(parents=True)
    for number in range(COUNT):
        sound = np.tile(np.roll(sweep, 999 * number), 2)[: 8000 + 2500 * number]
        soundfile.write(folder / ("sub" if number % 2 else ".") / f"{number}.wav", sound, 8000)
    return folder


@pytest.fixture(params=["one part", "small parts"])
def sizes(request, monkeypatch):
    """Let parts be of the usual size, or so small that one recording does not fit into a row group."""
    if request.param == "small parts":
        monkeypatch.setattr(writer, "GROUP_ROWS", 15)
        monkeypatch.setattr(worker, "SMALL_BYTES", 12 * 16 * 4)
    return request.param


def run(sounds, out, small_npz, **options):
    """Embed into a table; return the reports by the path of the recording relative to its folder."""
    options = {"model": small_npz, "hop_size": 0.2, "format": "parquet", **options}
    reports = list(iter_files(sounds, out, **options))
    root = sounds if isinstance(sounds, Path) else sounds[0].parent
    return {os.path.relpath(report.input, root): report for report in reports}


def statuses(reports):
    return sorted(report.status for report in reports.values())


def rows(table):
    return sorted(zip(table.path, table.time.tolist(), map(bytes, table.embedding)))


def check(out, expected, left=()):
    """Compare a table with the embeddings of npz files, in our reader and pyarrow's; its folder may hold parts only."""
    wanted = edgel3_np.load(expected) if isinstance(expected, (str, Path)) else expected
    assert rows(edgel3_np.load(out)) == rows(wanted)
    assert all(NAME.fullmatch(name) for name in set(os.listdir(out)) - set(left))
    table = pq.read_table(out)
    assert table.schema.names == ["path", "time", "embedding"]
    assert sorted(zip(table["path"].to_pylist(), table["time"].to_pylist())) == [row[:2] for row in rows(wanted)]


@pytest.fixture
def expected(sounds, tmp_path, small_npz):
    """Embed into npz files; return their folder."""
    embed_files(sounds, tmp_path / "npz", model=small_npz, hop_size=0.2)
    return tmp_path / "npz"


@pytest.mark.parametrize(
    "make",
    [None, lambda: ThreadPoolExecutor(3), lambda: ProcessPoolExecutor(2)],
    ids=["no executor", "threads", "processes"],
)
def test_rows_are_those_of_npz_files(sounds, tmp_path, small_npz, expected, sizes, make):
    out, called = tmp_path / "out", []
    if make is None:
        reports = run(sounds, out, small_npz, on_report=called.append)
        assert called == list(reports.values())
    else:
        with make() as executor:
            reports = run(sounds, out, small_npz, executor=executor)
    assert statuses(reports) == ["done"] * COUNT
    check(out, expected)
    for name, report in reports.items():
        with open_part(report.output) as part:
            assert name.replace(os.sep, "/") in list(part.entries.names())
        assert report.windows > 0 and report.seconds > 0.9 and report.elapsed > 0
    assert len(os.listdir(out)) == 1 or sizes == "small parts"
    assert statuses(run(sounds, out, small_npz)) == ["skipped"] * COUNT


def test_processes(sounds, tmp_path, small_npz, expected, sizes):
    reports = iter_files(sounds, tmp_path / "out", model=small_npz, hop_size=0.2, format="parquet", jobs=2)
    assert {report.status for report in reports} == {"done"}
    check(tmp_path / "out", expected)


def test_the_file_is_as_engines_want_it(sounds, tmp_path, small_npz):
    run(sounds, tmp_path / "out", small_npz)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "part-1-of-1-00000.parquet"
    found = pq.read_metadata(path)
    assert found.num_row_groups == 1
    group = found.row_group(0)
    assert "RLE_DICTIONARY" in group.column(0).encodings and group.column(2).compression == "UNCOMPRESSED"
    schema = pq.read_schema(path)
    assert [str(kind) for kind in schema.types[:2]] == ["string", "double"]
    assert str(schema.types[2]).startswith("fixed_size_list<") and schema.types[2].list_size == 16
    said = json.loads(schema.metadata[b"edgel3_np"])
    assert set(said) == {"model", "version", "weights_sha256", "contract", "options"}
    assert said["options"] == {"dim": 16, "hop_size": 0.2, "center": True}


def test_pandas_reads_the_folder(sounds, tmp_path, small_npz, expected, sizes):
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    run(sounds, tmp_path / "out", small_npz)
    frame = pandas.read_parquet(tmp_path / "out")
    found = sorted(zip(frame.path, frame.time, (bytes(vector) for vector in frame.embedding)))
    assert found == rows(edgel3_np.load(expected))


def test_polars_and_duckdb_read_the_parts(sounds, tmp_path, small_npz, expected, sizes):
    polars = pytest.importorskip("polars", reason="needs polars")
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    run(sounds, tmp_path / "out", small_npz)
    (tmp_path / "out" / ".edgel3_np-index").mkdir()
    names = str(tmp_path / "out" / "*.parquet")
    frame = polars.read_parquet(names)
    assert frame.schema == {
        "path": polars.String,
        "time": polars.Float64,
        "embedding": polars.Array(polars.Float32, 16),
    }
    for found in (frame.rows(), duckdb.sql(f"FROM '{names}'").fetchall()):
        found = sorted((path, time, bytes(np.array(vector, np.float32))) for path, time, vector in found)
        assert found == rows(edgel3_np.load(expected))


def test_resume_does_what_has_changed_and_nothing_twice(sounds, tmp_path, small_npz, sizes):
    out = tmp_path / "out"
    assert statuses(run(sounds, out, small_npz)) == ["done"] * COUNT
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert statuses(run(sounds, out, small_npz)) == ["skipped"] * COUNT
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before

    def again(count, **options):
        found = statuses(run(sounds, out, small_npz, **options))
        assert found == ["done"] * count + ["skipped"] * (COUNT - count)
        npz = tmp_path / f"npz{time.monotonic_ns()}"
        embed_files(sounds, npz, model=small_npz, **{"hop_size": 0.2, **options})
        check(out, npz)

    os.utime(sounds / "sub" / "1.wav", ns=(0, 10**18))
    soundfile.write(sounds / "8.wav", np.sin(np.arange(20_000)), 8000)
    again(2)
    again(COUNT, center=False)
    again(COUNT)
    again(COUNT, resume=False)
    os.utime(sounds / "sub" / "9.wav", ns=(0, 10**18))
    again(1)
    again(COUNT, hop_size=0.5)


def test_a_second_run_fills_the_last_part(sounds, tmp_path, small_npz, expected):
    out = tmp_path / "out"
    for number in range(COUNT):
        path = sounds / ("sub" if number % 2 else ".") / f"{number}.wav"
        assert embed_files(path, out, model=small_npz, hop_size=0.2, format="parquet").statuses == {"done": 1}
    assert os.listdir(out) == ["part-1-of-1-00000.parquet"]
    assert {len(row) for row in rows(edgel3_np.load(out))} == {3}
    assert len(edgel3_np.load(out).time) == len(edgel3_np.load(expected).time)


def test_other_weights_replace_all_rows(sounds, tmp_path, small_npz, sizes):
    from factory import random_weights

    from edgel3_np.weights.format import save_weights

    save_weights(tmp_path / "other.npz", random_weights(seed=5))
    out = tmp_path / "out"
    run(sounds, out, small_npz)
    assert statuses(run(sounds, out, tmp_path / "other.npz")) == ["done"] * COUNT
    embed_files(sounds, tmp_path / "npz", model=tmp_path / "other.npz", hop_size=0.2)
    check(out, tmp_path / "npz")


def test_two_folders_with_the_same_names_and_one_that_moves(sounds, tmp_path, small_npz, sizes):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(sounds, other)
    for path in other.rglob("*.wav"):
        soundfile.write(path, np.cos(np.arange(12_000) / len(path.name)), 8000)
    both = [sounds, other]
    for status in ("done", "skipped"):
        reports = list(iter_files(both, out, model=small_npz, hop_size=0.2, format="parquet"))
        assert [report.status for report in reports] == [status] * 2 * COUNT
    assert statuses(run(other, out, small_npz)) == ["skipped"] * COUNT
    embed_files(both, tmp_path / "npz", model=small_npz, hop_size=0.2)
    check(out, tmp_path / "npz")
    shutil.rmtree(out)
    run(sounds, out, small_npz)
    moved = tmp_path / "moved"
    sounds.rename(moved)
    os.utime(moved / "2.wav", ns=(0, 10**18))
    assert statuses(run(moved, out, small_npz)) == ["done"] + ["skipped"] * (COUNT - 1)
    assert len(set(edgel3_np.load(out).path)) == COUNT
    assert str(moved / "2.wav") in edgel3_np.load(out).path


def test_shards(sounds, tmp_path, small_npz, expected, sizes):
    out = tmp_path / "out"
    done = [run(sounds, out, small_npz, shard=(number, 3)) for number in (1, 2, 3)]
    assert sum(map(len, done)) == COUNT and set(map(str, done[0])).isdisjoint(done[1])
    check(out, expected)
    assert {name.split("-00")[0] for name in os.listdir(out)} <= {f"part-{number}-of-3" for number in (1, 2, 3)}
    os.utime(sounds / "4.wav", ns=(0, 10**18))
    assert statuses(run(sounds, out, small_npz)) == ["done"] + ["skipped"] * (COUNT - 1)
    check(out, expected)


def test_a_report_comes_when_its_rows_are_in_a_file(sounds, tmp_path, small_npz, expected, sizes, monkeypatch):
    monkeypatch.setattr(shard, "FLUSH_SECONDS", 0.0)
    seen = set()
    for report in iter_files(sounds, tmp_path / "out", model=small_npz, hop_size=0.2, format="parquet"):
        seen.add(report.input)
        assert set(edgel3_np.load(tmp_path / "out").path) >= seen
    check(tmp_path / "out", expected)
    assert len(os.listdir(tmp_path / "out")) == 1 or sizes == "small parts"


def test_bad_recordings_are_reported(sounds, tmp_path, small_npz, expected):
    (sounds / "bad.wav").write_text("no sound")
    soundfile.write(sounds / "empty.wav", np.zeros(0), 8000)
    reports = run(sounds, tmp_path / "out", small_npz)
    assert (reports["bad.wav"].kind, reports["empty.wav"].kind) == ("not audio", "empty")
    assert reports["bad.wav"].output == str(tmp_path / "out") and statuses(reports).count("done") == COUNT
    check(tmp_path / "out", expected)
    assert statuses(run(sounds, tmp_path / "out", small_npz)) == ["failed"] * 2 + ["skipped"] * COUNT


def test_a_recording_that_fails_later_keeps_its_rows(sounds, tmp_path, small_npz, expected):
    run(sounds, tmp_path / "out", small_npz)
    (sounds / "2.wav").write_text("no sound any more")
    assert run(sounds, tmp_path / "out", small_npz)["2.wav"].kind == "not audio"
    check(tmp_path / "out", expected)


def test_remarks_and_incomplete_recordings(sounds, tmp_path, small_npz):
    content = (sounds / "8.wav").read_bytes()
    (sounds / "cut.wav").write_bytes(content[:-9000])
    soundfile.write(sounds / "short.wav", np.zeros(100), 8000)
    out = tmp_path / "out"
    for status in ("done", "skipped"):
        reports = run(sounds, out, small_npz)
        short, cut = reports["short.wav"], reports["cut.wav"]
        assert (short.status, cut.status) == (status, status) and "shorter" in short.remarks[0]
        assert cut.incomplete and not short.incomplete and cut.remarks
    (path,) = out.iterdir()
    with open_part(path) as part:
        entries = [part.entries[number] for number in range(len(part.entries))]
        provenance = next(entry for entry in entries if entry.name == "cut.wav").provenance(part.about)
    assert provenance["incomplete"] is True and provenance["remarks"] == list(cut.remarks)
    reports = run(sounds, out, small_npz, strict=True)
    assert reports["cut.wav"].kind == "incomplete" and statuses(reports).count("skipped") == COUNT + 1


def test_strict_and_closing_early_write_what_is_done(sounds, tmp_path, small_npz):
    (sounds / "5.wav").write_text("no sound")  # after 4.wav
    reports = iter_files(sounds, tmp_path / "out", model=small_npz, hop_size=0.2, format="parquet", strict=True)
    found = []
    for report in reports:
        found.append(report.status)
        if report.status == "failed":
            break
    reports.close()
    assert found[-1] == "failed" and 1 <= found.count("done") < COUNT
    assert len(set(edgel3_np.load(tmp_path / "out").path)) == found.count("done")

    def failing(report):
        raise ZeroDivisionError

    (sounds / "5.wav").unlink()
    (sounds / "0.wav").write_text("no sound")  # the first
    out = tmp_path / "other"
    reports = iter_files(sounds, out, model=small_npz, hop_size=0.2, format="parquet", on_report=failing)
    with pytest.raises(ZeroDivisionError):
        list(reports)
    assert not os.path.exists(out / FOLDER)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_full_disk_is_reported_and_a_second_run_finishes(sounds, tmp_path, small_npz, expected, sizes, after):
    out, real, calls = tmp_path / "out", writer.write_part, []

    def full(file, *arguments):
        calls.append(1)
        file.write(b"something")
        if len(calls) > after:
            raise OSError(28, "No space left on device")
        file.seek(0)
        file.truncate()
        real(file, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "write_part", full)
        patch.setattr(shard, "FLUSH_SECONDS", 0.0)
        reports = run(sounds, out, small_npz)
    done = {report.input for report in reports.values() if report.status == "done"}
    failed = [report for report in reports.values() if report.status == "failed"]
    assert {report.kind for report in failed} == {"output"} and len(done) + len(failed) == COUNT
    assert "No space left" in failed[0].reason and failed[0].windows == 0
    assert (set(edgel3_np.load(out).path) if done else set()) == done
    assert statuses(run(sounds, out, small_npz)) == ["done"] * len(failed) + ["skipped"] * len(done)
    check(out, expected)
    for name in ("2.wav", "sub/3.wav"):
        os.utime(sounds / name, ns=(0, 10**18))
    calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "write_part", full)
        patch.setattr(writer, "write_part", full)
        run(sounds, out, small_npz)
    assert statuses(run(sounds, out, small_npz))[-COUNT + 2 :] == ["skipped"] * (COUNT - 2)
    check(out, expected)


@pytest.mark.parametrize("prepared", [False, True])
def test_an_interrupt_at_any_line_loses_nothing_and_doubles_nothing(
    sounds, tmp_path, small_npz, expected, monkeypatch, prepared
):
    """Ctrl-C at each line of the code that writes; a report `done` is always true."""
    monkeypatch.setattr(writer, "GROUP_ROWS", 40)
    monkeypatch.setattr(worker, "SMALL_BYTES", 12 * 16 * 4)
    base, number, interrupted = tmp_path / "base", 0, True
    modules = {f"edgel3_np.collections.parquet.{name}" for name in ("shard", "writer", "known", "worker")}
    if prepared:
        run(sounds, base, small_npz)
        for name in ("2.wav", "4.wav", "sub/9.wav"):
            os.utime(sounds / name, ns=(0, 10**18))
    while interrupted:
        number += 13
        out, done = tmp_path / f"out{number}", []
        if prepared:
            shutil.copytree(base, out)

        def work(out=out, done=done):
            options = {"model": small_npz, "hop_size": 0.2, "format": "parquet", "on_report": done.append}
            for _ in iter_files(sounds, out, **options):
                pass

        interrupted = interrupt_at_line(number, work, modules.__contains__)
        finished = {report.input for report in done if report.status == "done"}
        found = set(edgel3_np.load(out).path) if list(out.glob("*.parquet")) else set()
        assert finished <= found
        table = edgel3_np.load(out) if found else None
        assert not found or len(set(zip(table.path, table.time))) == len(table.time)
        reports = run(sounds, out, small_npz)
        assert set(statuses(reports)) <= {"done", "skipped"}
        assert {report.input for report in reports.values() if report.status == "done"}.isdisjoint(finished)
        check(out, expected)
        shutil.rmtree(out)
    assert number > 500


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}


def start(tmp_path, *arguments):
    """Start the command line, with parts of 30 rows and a flush after each recording."""
    code = (
        "import sys\n"
        "from edgel3_np.collections.parquet import shard, writer\n"
        "writer.GROUP_ROWS, shard.FLUSH_SECONDS = 30, float(sys.argv[1])\n"
        "from edgel3_np.commands.main import main\n"
        "sys.exit(main(sys.argv[2:]))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def lines_of(manifest):
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


@pytest.fixture
def many(tmp_path, sweep):
    """Write forty recordings of 8 s."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(40):
        soundfile.write(folder / f"{number:02}.wav", np.tile(np.roll(sweep, number), 4), 8000)
    return folder


@posix
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("wanted", [1, 4, 9])
def test_killed_in_the_middle_then_resumed(many, tmp_path, small_npz, jobs, wanted):
    """After kill -9 of all processes, what was reported is in the table, and nothing is in it twice."""
    out, manifest = tmp_path / "out", tmp_path / "manifest"
    arguments = [0, many, "-o", out, "-m", small_npz, "-t", 0.4, "--format", "parquet", "-j", jobs]
    arguments += ["--manifest", manifest, "-q"]
    program = start(tmp_path, *arguments)
    wait_until(lambda: len(lines_of(manifest)) >= wanted)
    os.killpg(program.pid, signal.SIGKILL)
    program.communicate(timeout=60)
    done = {line["input"] for line in lines_of(manifest)}
    whole = edgel3_np.load(out)
    assert done <= set(whole.path) and len(done) < 40
    assert len(set(zip(whole.path, whole.time))) == len(whole.time)
    assert {path.suffix for path in out.iterdir() if not path.name.startswith(".")} == {".parquet"}
    pq.read_table(out)
    manifest.unlink()
    program = start(tmp_path, *arguments)
    program.communicate(timeout=200)
    assert program.returncode == 0
    found = [line["status"] for line in lines_of(manifest)]
    assert found.count("skipped") == len(set(whole.path)) and found.count("done") == 40 - len(set(whole.path))
    embed_files(many, tmp_path / "npz", model=small_npz, hop_size=0.4)
    check(out, tmp_path / "npz")


@posix
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_writes_what_is_finished(many, tmp_path, small_npz, jobs):
    out, manifest = tmp_path / "out", tmp_path / "manifest"
    folder = out / FOLDER
    arguments = [100, many, "-o", out, "-m", small_npz, "-t", 0.1, "--format", "parquet", "-j", jobs]
    program = start(tmp_path, *arguments, "--manifest", manifest)
    wait_until(lambda: len(lines_of(manifest)) >= 2 or program.poll() is not None)
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130 and "interrupted; every file that is done is whole" in err, err
    done = {line["input"] for line in lines_of(manifest) if line["status"] == "done"}
    found = set(edgel3_np.load(out).path)
    assert done <= found and 2 <= len(done) <= len(found) < 40 and not folder.exists()
    interrupted_while_working = f"{len(found)} done" in err  # and not while a report was printed
    assert done == found or not interrupted_while_working


@posix
def test_a_worker_that_is_killed(sounds, tmp_path, small_npz, expected):
    reports = iter_files(
        [sounds], tmp_path / "out", model=small_npz, hop_size=0.2, format="parquet", jobs=2, on_report=None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "FLUSH_SECONDS", 0.0)
        done = [next(reports)]
        os.kill(active_children()[0].pid, signal.SIGKILL)
        done += reports
    assert [report.status for report in done] == ["done"] * COUNT
    check(tmp_path / "out", expected)


def test_two_runs_at_once(sounds, tmp_path, small_npz):
    first = iter_files(sounds, tmp_path / "out", model=small_npz, format="parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "FLUSH_SECONDS", 0.0)
        next(first)
    with pytest.raises(EdgeL3Error, match="another run writes the parts 1-of-1; try again later"):
        run(sounds, tmp_path / "out", small_npz)
    other = run(sounds, tmp_path / "out", small_npz, shard=(2, 2))
    list(first)
    assert not (tmp_path / "out" / FOLDER).exists()
    table = edgel3_np.load(tmp_path / "out")
    assert len(set(table.path)) == COUNT
    run(sounds, tmp_path / "out", small_npz)  # it finds what the two have done twice
    assert len(other) > 0
    table = edgel3_np.load(tmp_path / "out")
    assert len(set(zip(table.path, table.time))) == len(table.time)


def test_a_damaged_part_is_reported_and_its_recordings_are_embedded_again(sounds, tmp_path, small_npz, expected):
    out = tmp_path / "out"
    run(sounds, out, small_npz)
    path = out / "part-1-of-1-00000.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    reports = run(sounds, out, small_npz)
    assert statuses(reports) == ["done"] * COUNT + ["failed"]
    (report,) = (report for report in reports.values() if report.status == "failed")
    assert (report.input, report.kind) == (str(path), "damaged") and "remove it" in report.reason
    path.unlink()
    assert statuses(run(sounds, out, small_npz)) == ["skipped"] * COUNT
    check(out, expected)


def test_a_part_whose_rows_are_damaged_does_not_stop_the_others(sounds, tmp_path, small_npz, expected):
    out = tmp_path / "out"
    run(sounds, out, small_npz)
    path = out / "part-1-of-1-00000.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
    for name in ("2.wav", "sub/3.wav"):
        os.utime(sounds / name, ns=(0, 10**18))
    assert statuses(run(sounds, out, small_npz)) == ["done"] * 2 + ["skipped"] * (COUNT - 2)
    with pytest.warns(EdgeL3Warning, match="00000.parquet: expected a part of a table.*; remove it, and embed its"):
        assert len(set(edgel3_np.load(out).path)) == 2
    path.unlink()
    assert statuses(run(sounds, out, small_npz)) == ["done"] * (COUNT - 2) + ["skipped"] * 2
    embed_files(sounds, tmp_path / "again", model=small_npz, hop_size=0.2)
    check(out, tmp_path / "again")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"format": "csv"}, "format: expected 'npz' or 'parquet', found 'csv'"),
        ({"format": None}, "format: expected"),
        ({"suffix": "a"}, "suffix: expected none with the format 'parquet'"),
        ({"output_dir": None}, "format: expected an output directory"),
        ({"shard": (1, 10**10)}, "shard: expected a whole number from 1 to 999999999, found 10000000000"),
    ],
)
def test_wrong_options(sounds, tmp_path, small_npz, options, message):
    out = options.pop("output_dir", tmp_path / "out")
    with pytest.raises(EdgeL3Error, match=message):
        iter_files(sounds, out, **{"model": small_npz, "format": "parquet", **options})
    assert not (tmp_path / "out").exists()


def test_a_link_and_a_folder_that_cannot_be_made_are_refused(sounds, tmp_path, small_npz):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EdgeL3Error, match="expected a directory, found a link"):
        run(sounds, tmp_path / "out", small_npz)
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeL3Error, match="cannot be written"):
        run(sounds, tmp_path / "file" / "out", small_npz)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_command_line(sounds, tmp_path, small_npz, expected, capsys):
    out = str(tmp_path / "out")
    arguments = [str(sounds), "-o", out, "-m", str(small_npz), "-t", "0.2", "--format", "parquet"]
    assert main([*arguments, "--index", "--json"]) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["status"] for line in told.out.splitlines()] == ["done"] * COUNT
    assert f"{COUNT} done" in told.err and "1 read" in told.err
    check(out, expected, [".edgel3_np-index"])
    assert main([*arguments[:1], "--format", "parquet"]) == 2
    assert "expected an output directory" in capsys.readouterr().err
    assert main(["similar", str(sounds / "2.wav"), out, "--clips", str(tmp_path / "clips"), "-m", str(small_npz)]) == 0
    assert len(list((tmp_path / "clips").iterdir())) == COUNT - 1
    told = capsys.readouterr()
    page = str(tmp_path / "page.html")
    assert main(["similar", str(sounds / "2.wav"), out, "--json", "--html", page, "-m", str(small_npz)]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {hit["path"] for hit in hits} == {f"{out}{os.sep}part-1-of-1-00000.parquet"}
    assert {hit["recording"] for hit in hits} == {str(path) for path in sounds.rglob("*.wav")} - {str(sounds / "2.wav")}
    assert os.path.getsize(page) > 10_000
    assert main(["map", out, "-o", str(tmp_path / "map.html")]) == 0
    assert main(["export", out, "-o", str(tmp_path / "all.csv")]) == 0


def test_clips_of_centred_windows_and_of_others(sounds, tmp_path, small_npz):
    from edgel3_np.collections.clips import span_of
    from edgel3_np.collections.search import similar

    for center, start in ((True, -0.5), (False, 0.0)):
        out = tmp_path / str(center)
        run(sounds, out, small_npz, center=center)
        for hit in similar(sounds / "2.wav", out, model=small_npz):
            assert span_of(hit)[0] == max(0.0, hit.time + start)


def test_memory_does_not_grow_with_a_recording(tmp_path):
    """A recording of 120 MB waits in a file, and is written group by group."""
    import tracemalloc

    from edgel3_np.collections.parquet.worker import groups_of
    from edgel3_np.collections.results import save_embedding

    dim, count = 512, 60_000
    batch, path = np.random.default_rng(0).random((1000, dim)).astype(np.float32), str(tmp_path / "part-1-of-1-00000")
    times = lambda count, first: np.arange(first, first + count) * 0.1  # noqa: E731
    said = {"input": {"name": "a"}}
    save_embedding(tmp_path / "x.npz", (batch for _ in range(count // 1000)), times, said)
    entry = Entry("a", "/r", 1, 2, count)
    embedded = Embedded(edgel3_np.Report("a", str(tmp_path / "x.npz"), "done"), entry, None, None)
    tracemalloc.start()
    with open(path, "wb") as file:
        about = {"options": {"dim": dim}}
        writer.write_part(file, about, dim, [entry], groups_of(embedded, writer.rows_of_group(dim)))
    with open_part(path) as part:
        part.check()
        assert sum(map(len, part.result(0).embedding)) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * writer.GROUP_BYTES // 2
    assert pq.read_metadata(path).num_row_groups == 4


def made_jobs(names, root, model, source="/r"):
    """Make jobs of recordings that do not exist; `source` may be a list."""
    sources = [source] * len(names) if isinstance(source, str) else source
    sha256 = edgel3_np.load_model(model).sha256
    for name, folder in zip(names, sources):
        yield Job(f"{folder}/{name}", "x", str(root), folder, name, str(model), sha256, None, 1.0, True, 1, True)


def made_results(jobs, remarks=None, windows=1):
    """Yield embeddings of those recordings."""
    for number, job in enumerate(jobs):
        said = (remarks(number),) if remarks else ()
        entry = Entry(job.name, job.source, 1, 2, windows, said)
        report = Report(job.input, job.output, "done", windows=windows)
        yield Embedded(report, entry, np.arange(windows) * 1.0, np.full((windows, 16), number, np.float32))


def set_limits(monkeypatch, **limits):
    for name, value in limits.items():
        monkeypatch.setattr(part_module, name, value)
        if hasattr(writer, name):
            monkeypatch.setattr(writer, name, value)


@pytest.mark.parametrize("kind", ["long names", "other letters", "roots", "remarks", "all"])
def test_a_part_never_holds_more_text_than_its_readers_take(tmp_path, small_npz, monkeypatch, kind):
    """What is reported `done` can be read, whatever the names, folders and remarks are."""
    set_limits(monkeypatch, MAX_NAMES_BYTES=2000, MAX_SAID_BYTES=2000)
    count, sources, remarks = 200, "/r", None
    names = [f"{number}.wav" for number in range(count)]
    if kind in ("long names", "all"):
        names = [f"{'x' * 70}/{name}" for name in names]
    if kind == "other letters":
        names = [f"{'鳥の声' * 9}\udcff/{name}" for name in names]
    if kind in ("roots", "all"):
        sources = [f"/{'ü' * (number % 40)}/{number}" for number in range(count)]
    if kind in ("remarks", "all"):
        remarks = lambda number: f"{number} samples “lost”"  # noqa: E731
    work = made_jobs(names, tmp_path, small_npz, sources)
    reports = list(write_shard(work, (1, 1), lambda jobs: made_results(jobs, remarks)))
    assert [report.status for report in reports] == ["done"] * count
    found = []
    for path in tmp_path.glob("*.parquet"):
        with open_part(path) as part:
            part.check()
            found += part.entries.names()
            assert len(part.entries) > 3
    assert sorted(found) == sorted(names) and len({report.output for report in reports}) > 1


def test_text_that_no_part_can_hold_is_a_failure(tmp_path, small_npz, monkeypatch):
    set_limits(monkeypatch, MAX_NAMES_BYTES=200)
    names = ["a.wav", "b" * 300, "c.wav"]
    reports = list(write_shard(made_jobs(names, tmp_path, small_npz), (1, 1), made_results))
    assert [report.status for report in reports] == ["done", "failed", "done"]
    assert "expected at most 200 bytes of names, found 301" in reports[1].reason and reports[1].kind == "output"
    assert {os.path.basename(path) for path in edgel3_np.load(tmp_path).path} == {"a.wav", "c.wav"}


def test_paths_of_a_row_group_are_bounded(sounds, tmp_path, small_npz, monkeypatch):
    """Arrow holds the path of each row: long ones leave less room for rows, also of one recording."""
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    shutil.copytree(sounds, deep)
    monkeypatch.setattr(writer, "GROUP_BYTES", 8000)
    embed_files(deep, tmp_path / "npz", model=small_npz, hop_size=0.2)
    assert statuses(run(deep, tmp_path / "out", small_npz)) == ["done"] * COUNT
    check(tmp_path / "out", tmp_path / "npz")
    groups = []
    for path in (tmp_path / "out").glob("*.parquet"):
        file = pq.ParquetFile(path)
        groups += [file.read_row_group(number)["path"].to_pylist() for number in range(file.num_row_groups)]
    sizes = [sum(map(len, group)) for group in groups]
    assert max(sizes) <= 8000 and len(sizes) < 40


def test_a_recording_of_too_many_row_groups_is_a_failure(sounds, tmp_path, small_npz, monkeypatch):
    monkeypatch.setattr(writer, "GROUP_ROWS", 5)
    monkeypatch.setattr(worker, "MAX_GROUPS", 3)
    reports = run(sounds, tmp_path / "out", small_npz)
    failed = {name: report for name, report in reports.items() if report.status == "failed"}
    assert 0 < len(failed) < COUNT and {report.kind for report in failed.values()} == {"output"}
    assert "expected at most 15 windows" in next(iter(failed.values())).reason
    assert len(set(edgel3_np.load(tmp_path / "out").path)) == COUNT - len(failed)


def test_the_most_row_groups_can_be_read(tmp_path):
    """A footer of so many groups, with paths of 4,000 letters as their statistics, is within the reader's limits."""
    count, path = part_module.MAX_GROUPS, tmp_path / "part-1-of-1-00000.parquet"
    entry = Entry("x.wav", "/" + "d" * 4000, 1, 2, count)
    groups = ([part_module.Held(entry, np.zeros(1), np.full((1, 2), n, np.float32))] for n in range(count))
    with open(path, "wb") as file:
        writer.write_part(file, {"options": {"dim": 2}}, 2, [entry], groups)
    with open_part(path) as part:
        part.check()
        np.testing.assert_array_equal(np.concatenate(list(part.result(0).embedding))[:, 0], np.arange(count))


@pytest.mark.parametrize("seconds", [10**10, -(10**10)])
def test_times_that_int64_does_not_hold(sounds, tmp_path, small_npz, expected, seconds):
    path = sounds / "2.wav"
    try:
        os.utime(path, (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("this file system has no such times")
    if abs(path.stat().st_mtime_ns) < 2**63:
        pytest.skip("this file system has no such times")
    assert statuses(run(sounds, tmp_path / "out", small_npz)) == ["done"] * COUNT
    assert statuses(run(sounds, tmp_path / "out", small_npz)) == ["skipped"] * COUNT
    check(tmp_path / "out", expected)
    os.utime(path, ns=(0, 10**18))
    assert statuses(run(sounds, tmp_path / "out", small_npz)) == ["done"] + ["skipped"] * (COUNT - 1)


@pytest.mark.parametrize("where", ["write", "sync"])
def test_a_full_disk_leaves_the_earlier_rows_of_a_recording(sounds, tmp_path, small_npz, monkeypatch, sizes, where):
    """Whichever file cannot be written or synced: the recording has its old rows or its new ones, once."""
    base, number, failures = tmp_path / "base", 0, 1
    run(sounds, base, small_npz)
    for name, seconds in (("2.wav", 8), ("sub/5.wav", 1)):  # one becomes long, one short
        soundfile.write(sounds / name, np.sin(np.arange(8000 * seconds) / 7), 8000)
        embed_files(sounds / name, tmp_path / "new", model=small_npz, hop_size=0.2)
        number, failures = 0, 1
        while failures:
            number += 1
            out = tmp_path / f"{number}-{len(name)}"
            shutil.copytree(base, out)
            with monkeypatch.context() as patch:
                fail_at(patch, where, number)
                reports = run(sounds, out, small_npz)
            failures = statuses(reports).count("failed")
            table = edgel3_np.load(out)
            assert len(set(table.path)) == COUNT and len(set(zip(table.path, table.time))) == len(table.time)
            new = edgel3_np.load(tmp_path / "new" / (Path(name).stem + ".npz"))
            changed = table.embedding[table.path == str(sounds / name)]
            assert (changed.shape == new.embedding.shape and (changed == new.embedding).all()) == (not failures)
            assert set(statuses(run(sounds, out, small_npz))) <= {"done", "skipped"}
        assert number > 1
        shutil.rmtree(base)
        shutil.copytree(out, base)


def fail_at(patch, where, wanted):
    """Let the disk be full when file number `wanted` is written, or first synced."""
    seen, write, sync = [], writer.write_part, os.fsync

    def full():
        if len(seen) == wanted:
            raise OSError(28, "No space left on device")

    def failing_write(file, *arguments):
        seen.append(1)
        full()
        write(file, *arguments)

    def failing_sync(descriptor):
        inode = os.fstat(descriptor).st_ino
        if not os.path.isdir(f"/proc/self/fd/{descriptor}") and inode not in seen:
            seen.append(inode)
            full()
        sync(descriptor)

    if where == "write":
        patch.setattr(shard, "write_part", failing_write)
        patch.setattr(writer, "write_part", failing_write)
    else:
        patch.setattr(os, "fsync", failing_sync)


def test_a_folder_and_then_one_inside_it(sounds, tmp_path, small_npz, sizes):
    """Recordings of the same name, relative to the folder that is given, are different ones while both exist."""
    for number in range(3):
        soundfile.write(sounds / "sub" / f"{2 * number}.wav", np.sin(np.arange(9000) / (5 + number)), 8000)
    out = tmp_path / "out"
    assert statuses(run(sounds, out, small_npz)) == ["done"] * (COUNT + 3)
    assert statuses(run(sounds / "sub", out, small_npz)) == ["done"] * 8
    assert set(edgel3_np.load(out).path) == {str(path) for path in sounds.rglob("*.wav")}
    for folder, count in ((sounds, COUNT + 3), (sounds / "sub", 8)):
        assert statuses(run(folder, out, small_npz)) == ["skipped"] * count


def test_numbers_of_parts_end(sounds, tmp_path, small_npz, expected):
    out = tmp_path / "out"
    run(sounds, out, small_npz)
    os.rename(out / "part-1-of-1-00000.parquet", out / f"part-1-of-1-{MAX_NUMBER - 1}.parquet")
    assert statuses(run(sounds, out, small_npz)) == ["skipped"] * COUNT
    assert statuses(run(sounds, out, small_npz, center=False)) == ["done"] * COUNT
    assert os.listdir(out) == [f"part-1-of-1-{MAX_NUMBER}.parquet"]
    with pytest.raises(EdgeL3Error, match="expected a number below 999999999 in names of parts, found .*another direc"):
        run(sounds, out, small_npz)
    assert len(set(edgel3_np.load(out).path)) == COUNT


def test_the_file_of_another_recording_is_refused(tmp_path):
    from edgel3_np.collections.results import save_embedding

    path, batch = tmp_path / "1-of-1.1.npz", np.ones((5, 4), np.float32)
    times = lambda count, first: np.arange(first, first + count) * 0.1  # noqa: E731
    save_embedding(path, [batch], times, {"input": {"name": "a.wav"}})
    report = Report("/r/a.wav", str(path), "done")
    assert len(held_of(Embedded(report, Entry("a.wav", "/r", 1, 2, 5), None, None)).time) == 5
    for entry in (Entry("b.wav", "/r", 1, 2, 5), Entry("a.wav", "/r", 1, 2, 6)):
        with pytest.raises(EdgeL3Error, match="found another recording"):
            held_of(Embedded(report, entry, None, None))


def test_a_damaged_last_part_is_left_alone(tmp_path, small_npz, monkeypatch):
    """Nothing of it is taken into memory, so nothing of it is written into another part."""
    monkeypatch.setattr(part_module.Part, "check", lambda part: None)  # as if it were damaged after that
    names = [f"{number}.wav" for number in range(20)]
    list(write_shard(made_jobs(names, tmp_path, small_npz), (1, 1), lambda jobs: made_results(jobs, windows=400)))
    (path,) = tmp_path.glob("*.parquet")
    parts = Shard(next(made_jobs(names, tmp_path, small_npz)), "1-of-1")
    parts._stale[str(path)] = {("/r", "0.wav"), ("/r", "1.wav")}
    content = path.read_bytes()
    place = content.rindex(np.full(400, 19, np.float32).tobytes())
    path.write_bytes(content[:place] + np.full(400, np.nan, np.float32).tobytes() + content[place + 1600 :])
    assert parts._continued() is None and not parts._held and not parts._replaced
