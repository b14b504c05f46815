"""Real clusters on this machine: Dask, Ray, Spark and MPI give the same bytes, survive workers that die, and stop.

Each is skipped where it is not installed; `make engines` installs and tests all of them. The programs, and so their
workers, are processes of their own; their sockets are on this machine.
"""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT

import edgel3_np
from edgel3_np import EdgeL3Error, iter_files

sys.path.append(str(ROOT / "benchmarks"))
import clusters  # noqa: E402

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
COUNT = 12
NAMES = [f"{i:02}.wav" for i in range(COUNT)]
posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals")
SECTIONS = {"dask": "## Dask", "ray": "## Ray", "spark": "## Spark", "mpi": "## MPI"}


@pytest.fixture
def sounds(tmp_path, sweep):
    """Write twelve recordings of two seconds."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        soundfile.write(folder / name, np.roll(sweep, i), 8000)
    return folder


def run(engine, *program, cwd, timeout=200):
    """Run a program on an engine; return the finished process."""
    words, environment = clusters.command(engine, 2, *map(str, program))
    paths = [Path(edgel3_np.__file__).parent.parent, ROOT / "tests", ROOT / "benchmarks"]
    environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes, env=environment, cwd=cwd, start_new_session=True) as program:
        try:
            out, err = program.communicate(timeout=timeout)
        except BaseException:
            os.killpg(program.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, program.returncode, out, err)


def try_engine(engine, what, sounds, out, model, **options):
    """Run `tests/engine_jobs.py`; return what it found, and the finished process."""
    skip_if_missing(engine)
    out.mkdir(exist_ok=True)
    ran = run(engine, ROOT / "tests" / "engine_jobs.py", engine, what, sounds, out, model, cwd=out, **options)
    return (json.loads(ran.stdout.splitlines()[-1]) if ran.stdout.rstrip().endswith(("]", "}")) else None), ran


def skip_if_missing(engine):
    missing = clusters.missing(engine)
    if missing:
        pytest.skip(f"needs {missing}: make engines")


def contents(folder):
    """Read the results of a folder as {name: embedding as bytes}; fail if there is any other file."""
    found = {}
    for path in sorted(folder.iterdir()):
        assert path.suffix == ".npz", f"left behind: {path}"
        with np.load(path) as file:
            found[path.stem] = file["embedding"].tobytes()
    return found


@posix
@pytest.mark.parametrize("engine", ["processes", "dask", "ray", "spark", "mpi"])
def test_the_bytes_of_a_serial_run_and_closing_early(engine, sounds, tmp_path, small_npz):
    out = tmp_path / "out"
    found, ran = try_engine(engine, "all", sounds, out, small_npz)
    assert ran.returncode == 0 and found, ran.stderr
    list(iter_files(sounds, tmp_path / "alone", model=small_npz))
    assert found["same"] == [[name, "done", None] for name in NAMES]
    assert contents(out / "same") == contents(tmp_path / "alone")
    assert found["many"] == ["done"]
    assert [report[1] for report in found["closed"]] == ["done"]
    started, finished = list(out.glob("*.started")), contents(out / "closed")
    assert 1 <= len(finished) <= len(started) <= COUNT // 2
    assert found["again"] == [[name, "skipped", None] for name in NAMES]


@posix
@pytest.mark.parametrize("engine", ["processes", "dask", "ray", "spark"])
def test_a_deadly_recording_is_one_report(engine, sounds, tmp_path, small_npz):
    """Dask may stall after a worker died, as the page says: it is stopped then, and run again."""
    for number in range(4):
        try:
            found, ran = try_engine(engine, "deadly", sounds, tmp_path / "out", small_npz, timeout=60)
            break
        except subprocess.TimeoutExpired:
            assert engine == "dask" and number < 3
    assert found, ran.stderr
    assert [name for name, *how in found if how == ["failed", "worker"]] == ["07.wav"]
    rest = [report for report in found if report[0] != "07.wav"]
    assert [name for name, *_ in rest] == [name for name in NAMES if name != "07.wav"]
    assert {status for _, status, _ in rest} <= {"done", "skipped"}  # done, but lost before the report
    list(iter_files(sounds, tmp_path / "alone", model=small_npz))
    alone = contents(tmp_path / "alone")
    assert alone.pop("07") and contents(tmp_path / "out" / "deadly") == alone


@posix
@pytest.mark.parametrize("engine, what", [("spark", "without processes"), ("mpi", "deadly")])
def test_a_deadly_recording_ends_the_run_and_another_goes_on(engine, what, sounds, tmp_path, small_npz):
    """It ends a stage of Spark whose workers embed themselves, and a whole run of MPI."""
    out = tmp_path / "out"
    found, ran = try_engine(engine, what, sounds, out, small_npz)
    assert ran.returncode != 0 and found is None
    assert ("Py4JJavaError" if engine == "spark" else "Killed") in ran.stderr + ran.stdout
    before = contents(out / "deadly") if (out / "deadly").exists() else {}
    assert "07" not in before
    reports = list(iter_files(sounds, out / "deadly", model=small_npz, jobs=2))
    assert sum(report.status == "skipped" for report in reports) == len(before)
    assert {report.status for report in reports} == {"done", "skipped"}
    assert len(contents(out / "deadly")) == COUNT


@posix
@pytest.mark.parametrize("engine", SECTIONS)
def test_the_recipe_of_the_page(engine, sounds, tmp_path):
    """The block of each section runs as it is printed, in a folder with `recordings`."""
    skip_if_missing(engine)
    section = PAGE.split(f"\n{SECTIONS[engine]}")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
    (tmp_path / "program.py").write_text(code)
    ran = run(engine, "program.py", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == f"{{'done': {COUNT}}}", ran.stdout
    list(iter_files(sounds, tmp_path / "alone", hop_size=1.0))
    assert contents(tmp_path / "embeddings") == contents(tmp_path / "alone")


def test_the_benchmark_measures_the_recipe_of_the_page():
    def code(text):
        node = next(node for node in ast.walk(ast.parse(text)) if getattr(node, "name", "") == "spark_reports")
        return [ast.unparse(statement).replace(", function=function", "") for statement in node.body[1:]]

    page = next(block for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if "spark_reports" in block)
    assert code(page) == code(Path(clusters.__file__).read_text(encoding="utf-8"))


def test_ray_is_neither_started_nor_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EdgeL3Error, match="expected Ray, but it cannot be imported .*pip install ray"):
        edgel3_np.RayExecutor()


class FakeRay:
    """A stand-in for Ray: tasks run when `step` is called."""

    def __init__(self):
        self.connected, self.options_, self.started, self.cancelled = True, None, [], []

    def is_initialized(self):
        return self.connected

    def remote(self, function):
        self.function = function
        return self

    def options(self, **options):
        self.options_ = options
        owner = self

        class Task:
            def remote(self, *args):
                from concurrent.futures import Future

                reference = type("Reference", (), {})()
                done = Future()
                reference.future = lambda: done
                owner.started.append((reference, done, args))
                return reference

        return Task()

    def cancel(self, reference):
        self.cancelled.append(reference)

    def step(self):
        for _, future, args in self.started:
            if not future.done():
                future.set_result(self.function(*args))


@pytest.fixture
def fake(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def test_ray_executor_starts_tasks_that_are_not_tried_again(fake):
    executor = edgel3_np.RayExecutor(num_cpus=2, max_retries=9)
    assert fake.options_ == {"num_cpus": 2, "max_retries": 0}
    future = executor.submit(divmod, 7, 2)
    word = executor.submit("{} {b}".format, 1, b=2)
    assert not future.done()
    fake.step()
    assert future.result() == (3, 1) and word.result() == "1 2"
    executor.shutdown()
    assert fake.cancelled == []


def test_ray_executor_cancels_and_accepts_nothing_when_it_is_shut_down(fake):
    with edgel3_np.RayExecutor() as executor:
        first, second, third = (executor.submit(abs, -number) for number in range(3))
        assert second.cancel()
        assert fake.cancelled == [fake.started[1][0]]
        executor.shutdown(cancel_futures=True)
        assert first.cancelled() and third.cancelled() and len(fake.cancelled) == 3
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(abs, 1)


def test_ray_executor_never_starts_ray(fake):
    executor = edgel3_np.RayExecutor()
    future = executor.submit(abs, -1)
    fake.connected = False
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)
    assert future.cancel() and fake.cancelled == []  # ray.cancel() would start a new cluster
    with pytest.raises(EdgeL3Error, match=r"expected a connection to Ray, found none; call ray.init\(\) first"):
        edgel3_np.RayExecutor()
