"""Tests with real faults (killed processes, full disks, special files, two runs at once) and other executors."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np import iter_files
from edgel3_np.commands.main import main

posix = pytest.mark.skipif(os.name != "posix", reason="only POSIX has signals, limits and FIFOs")
COUNT = 12
SOME_FAILED = 1  # exit code
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}


def start(*arguments, **options):
    """Start the command line in a process and a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "edgel3_np", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        **options,
    )


@pytest.fixture
def sounds(tmp_path, sweep):
    """Write twelve recordings of twenty seconds."""
    directory = tmp_path / "sounds"
    directory.mkdir()
    for i in range(COUNT):
        soundfile.write(directory / f"{i:02}.wav", np.tile(np.roll(sweep, i), 10), 8000)
    return directory


def results(out):
    """Read all results as {name: embedding as bytes}; fail if there is any other file."""
    found = {}
    for path in sorted(out.rglob("*")):
        assert path.suffix == ".npz", f"left behind: {path}"
        with np.load(path, allow_pickle=False) as archive:
            assert len(archive["embedding"]) == len(archive["timestamps"]) > 0
            found[path.name] = archive["embedding"].tobytes()
    return found


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def group_is_gone(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return False


@posix
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("everyone", [True, False])
def test_killed_in_the_middle_then_resumed(sounds, tmp_path, small_npz, small_model, jobs, everyone):
    """After kill -9, no result is partial, lost or computed twice, no other file is left, and all workers end."""
    out = tmp_path / "out"
    arguments = [sounds, "-o", out, "-m", small_npz, "-t", "0.04", "--jobs", jobs]
    program = start(*arguments)
    wait_until(lambda: len(list(out.glob("*.npz"))) >= 3)
    (os.killpg if everyone else os.kill)(program.pid, signal.SIGKILL)
    program.communicate(timeout=60)
    wait_until(lambda: group_is_gone(program.pid), 20)
    whole = results(out)
    assert 3 <= len(whole) < COUNT
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    program = start(*arguments)
    _, err = program.communicate(timeout=200)
    assert program.returncode == 0 and f"{COUNT - len(whole)} done, {len(whole)} skipped, 0 failed" in err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    finished = results(out)
    assert len(finished) == COUNT and finished.items() >= whole.items()
    expected = small_model.embed(sounds / "11.wav", hop_size=0.04).embedding
    assert finished["11.npz"] == expected.tobytes()


@posix
def test_a_worker_that_is_killed(sounds, tmp_path, small_npz):
    """Other workers do the job of the killed worker, and the jobs that are lost with it."""
    reports = iter_files(sounds, tmp_path / "out", model=small_npz, jobs=2)
    done = [next(reports)]
    os.kill(active_children()[0].pid, signal.SIGKILL)
    done += reports
    assert len(done) == COUNT
    assert {report.status for report in done} <= {"done", "skipped"}  # skipped if the killed worker had finished it
    assert len(results(tmp_path / "out")) == COUNT
    assert not active_children()


@linux
def test_a_recording_that_kills_every_worker(sounds, tmp_path, small_npz):
    """This recording is reported, and the others are embedded."""
    code = (
        "import functools, os, sys, signal, multiprocessing, edgel3_np\n"
        "from edgel3_np.collections import bundles, jobs\n"
        "def deadly(real, job):\n"
        "    if job.name == '07.wav':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(job)\n"
        "jobs._embed_file = functools.partial(deadly, jobs._embed_file)\n"
        "bundles._read = functools.partial(deadly, bundles._read)\n"
        "multiprocessing.set_start_method('fork')\n"  # so that workers inherit the change
        "for report in edgel3_np.iter_files(sys.argv[1], sys.argv[2], model=sys.argv[3], jobs=2):\n"
        "    print(os.path.basename(report.input), report.status, report.kind)\n"
    )
    command = [sys.executable, "-c", code, sounds, tmp_path / "out", small_npz]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment(), timeout=200)
    lines = sorted(ran.stdout.splitlines())
    assert ran.returncode == 0 and len(lines) == COUNT
    assert lines.pop(7) == "07.wav failed worker"
    assert {line.split(" ", 1)[1] for line in lines} <= {
        "done None",
        "skipped None",
    }  # done, but lost before the report
    assert len(results(tmp_path / "out")) == COUNT - 1


@posix
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("spool", [1000, 1 << 23])
def test_disk_full(sounds, tmp_path, small_npz, sweep, jobs, spool):
    """A limit of 9,000 bytes per file stands for a full disk.

    The results of long recordings, or their temporary files, do not fit. These recordings are reported, and no partial
    file is left.
    """
    import resource

    soundfile.write(sounds / "short.wav", sweep, 8000)
    code = (
        "import sys\n"
        "from edgel3_np.collections import results\n"
        "from edgel3_np.commands.main import main\n"
        f"results.SPOOL_BYTES = {spool}\n"
        "sys.exit(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, sounds, "-o", tmp_path / "out", "-m", small_npz, "--jobs", str(jobs)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        timeout=200,
    )
    assert ran.returncode == SOME_FAILED and f"failures: {COUNT} output" in ran.stderr
    assert "00.npz: cannot be written: File too large" in ran.stderr
    assert list(results(tmp_path / "out")) == ["short.npz"]


@posix
def test_outputs_that_cannot_be_written(tmp_path, small_npz, sweep, capsys):
    soundfile.write(tmp_path / "a.wav", sweep, 8000)
    (tmp_path / "file").touch()
    arguments = [str(tmp_path / "a.wav"), "-m", str(small_npz)]
    for place in (tmp_path / "file", tmp_path / "file" / "sub", "/proc/none", tmp_path / ("x" * 300)):
        assert main([*arguments, "-o", str(place)]) == SOME_FAILED
        err = capsys.readouterr().err
        assert "failures: 1 output" in err and "cannot be written" in err
    (tmp_path / "out" / "a.npz").mkdir(parents=True)
    assert main([*arguments, "-o", str(tmp_path / "out")]) == SOME_FAILED
    assert os.listdir(tmp_path / "out") == ["a.npz"]


@posix
def test_without_permission(small_npz, sweep):
    """Root may read everything, so if the tests run as root, the program becomes the user nobody."""
    with tempfile.TemporaryDirectory() as directory:
        sounds, out = Path(directory, "sounds"), Path(directory, "out")
        for folder in (sounds, sounds / "closed", out):
            folder.mkdir()
        for name in ("a.wav", "b.wav", "closed/c.wav"):
            soundfile.write(sounds / name, sweep, 8000)
        (sounds / "a.wav").chmod(0)
        (sounds / "closed").chmod(0)
        out.chmod(0o555)
        Path(directory).chmod(0o755)
        code = (
            "import os, sys, edgel3_np\n"
            "model, sounds, out = sys.argv[1:]\n"
            "iter_files = edgel3_np.iter_files\n"
            "edgel3_np.embed(os.path.join(sounds, 'b.wav'), model=model)\n"  # makes all imports while they are allowed
            "if os.geteuid() == 0:\n"
            "    try:\n"
            "        os.setuid(65534)\n"
            "    except OSError:\n"
            "        sys.exit(77)\n"
            "for report in iter_files(sounds, out, model=model):\n"
            "    print(os.path.basename(report.input), report.kind)\n"
        )
        model = Path(directory, "model.npz")  # every user may read this directory
        shutil.copyfile(small_npz, model)
        command = [sys.executable, "-c", code, model, sounds, out]
        ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment(), timeout=100)
        if ran.returncode == 77:
            pytest.skip("there is no other user in this namespace")
        (sounds / "closed").chmod(0o700)
    assert ran.stdout.splitlines() == ["closed unreadable", "a.wav unreadable", "b.wav output"]


@posix
def test_special_files_are_refused_at_once(tmp_path, small_npz):
    import socket

    sounds = tmp_path / "sounds"
    sounds.mkdir()
    os.mkfifo(sounds / "fifo.wav")
    (sounds / "zero.wav").symlink_to("/dev/zero")
    (sounds / "loop.wav").symlink_to("loop.wav")
    listener = socket.socket(socket.AF_UNIX)
    os.chdir(sounds), listener.bind("socket.wav"), os.chdir("/")
    with listener:
        reports = list(iter_files([sounds, "/dev/null"], tmp_path / "out", model=small_npz))
    assert [report.kind for report in reports] == ["unreadable"] * 5


@posix
def test_links_in_the_output_directory_are_not_followed(sounds, tmp_path, small_npz, sweep):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir(), out.mkdir(), (sounds / "sub").mkdir()
    (outside / "precious").write_text("mine")
    soundfile.write(sounds / "sub" / "s.wav", sweep, 8000)
    (out / "sub").symlink_to(outside)
    (out / "00.npz").symlink_to(outside / "precious")
    reports = {os.path.basename(report.input): report for report in iter_files(sounds, out, model=small_npz)}
    assert reports["s.wav"].kind == "output" and "link" in reports["s.wav"].reason
    assert reports["00.wav"].status == "done" and not (out / "00.npz").is_symlink()
    assert os.listdir(outside) == ["precious"] and (outside / "precious").read_text() == "mine"


@linux
def test_recordings_whose_names_are_not_text(tmp_path, small_npz, sweep, capfd):
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    soundfile.write(sounds / "a.wav", sweep, 8000)
    os.rename(sounds / "a.wav", os.fsencode(sounds) + b"/caf\xe9.wav")
    with open(os.fsencode(sounds) + b"/b\xff.wav", "wb"):
        pass
    manifest = tmp_path / "m.jsonl"
    code = main([str(sounds), "-o", str(tmp_path / "out"), "-m", str(small_npz), "--manifest", str(manifest)])
    assert code == SOME_FAILED
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9.npz"]
    reports = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert [report["input"][-9:] for report in reports] == ["b\\xff.wav", "f\\xe9.wav"]
    assert all(report["escaped"] and report["input"].isprintable() for report in reports)
    assert ".wav: expected a sound file" in capfd.readouterr().err


def test_a_hundred_thousand_recordings(tmp_path, small_npz):
    """All of them lie in one directory, and the shard takes one in a thousand."""
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for i in range(100_000):
        open(sounds / f"{i}.wav", "wb").close()
    reports = list(iter_files(sounds, tmp_path / "out", model=small_npz, shard=(1, 1000)))
    assert 50 < len(reports) < 200 and {report.kind for report in reports} == {"empty"}


@posix
def test_two_runs_at_once(sounds, tmp_path, small_npz):
    out, alone = tmp_path / "out", tmp_path / "alone"
    programs = [start(sounds, "-o", out, "-m", small_npz, "--jobs", jobs) for jobs in (1, 2)]
    for program in programs:
        _, err = program.communicate(timeout=200)
        assert program.returncode == 0, err
    assert {report.status for report in iter_files(sounds, alone, model=small_npz, hop_size=0.1)} == {"done"}
    assert results(out) == results(alone)
    assert {report.status for report in iter_files(sounds, out, model=small_npz, hop_size=0.1)} == {"skipped"}


CLUSTERS = {
    "distributed": """
        from distributed import Client, LocalCluster
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None,
                          scheduler_port=0) as cluster, Client(cluster) as client:
            work(client.get_executor(pure=False))
            kill = [worker.pid for worker in client.cluster.workers.values()]
            again(client.get_executor(pure=False), kill[0])
    """,
    "loky": """
        from loky import get_reusable_executor
        executor = get_reusable_executor(max_workers=2)
        work(executor)
        again(executor, list(executor._processes)[0])
        executor.shutdown(kill_workers=True)
    """,
}


@posix
@pytest.mark.parametrize("name", CLUSTERS)
def test_executors_of_other_packages(sounds, tmp_path, small_npz, name):
    """A real cluster of two processes gives the same bytes. If one is killed, every job is done or reported."""
    pytest.importorskip(name)
    lines = [line[8:] for line in CLUSTERS[name].splitlines()]
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, edgel3_np\n"
        f"sounds, out, model = sys.argv[1:]; count = {COUNT}\n"
        "def run(executor, out, **options):\n"
        "    return edgel3_np.iter_files(sounds, out, model=model, hop_size=0.1, executor=executor, **options)\n"
        "def work(executor):\n"
        "    assert [report.status for report in run(executor, out)] == ['done'] * count\n"
        "def again(executor, pid):\n"
        "    reports = run(executor, out + '2')\n"
        "    done = [next(reports)]\n"
        "    os.kill(pid, signal.SIGKILL)\n"
        "    done += reports\n"
        "    assert len(done) == count and {report.kind for report in done} <= {None, 'worker'}, done\n"
        "    print(sum(report.status == 'done' for report in done), 'done')\n"
        "if __name__ == '__main__':\n" + "\n".join(f"    {line}" for line in lines if line.strip())
    )
    command = [sys.executable, program, sounds, tmp_path / "out", small_npz]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=200, cwd=tmp_path)
    assert ran.returncode == 0 and "done" in ran.stdout, ran.stderr
    reports = list(iter_files(sounds, tmp_path / "out2", model=small_npz, hop_size=0.1))
    assert {report.status for report in reports} <= {"done", "skipped"} and len(reports) == COUNT
    list(iter_files(sounds, tmp_path / "alone", model=small_npz, hop_size=0.1))
    assert results(tmp_path / "out") == results(tmp_path / "out2") == results(tmp_path / "alone")
