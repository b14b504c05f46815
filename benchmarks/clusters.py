"""Embed many short recordings on each engine: clips a second, processor time, and seconds until the engine is ready.

    python benchmarks/clusters.py                        # all engines that are installed: `make engines` installs them
    python benchmarks/clusters.py ray dask --clips 500   # fewer clips, on two engines

Each engine runs in a program of its own, with the default model and a hop of a second. It starts,
embeds a hundred clips to warm up, and then embeds the collection once a round, each time into a new folder.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile

import edgel3_np
from edgel3_np.collections.embed import find_jobs
from edgel3_np.collections.executors import run_in_processes, run_jobs
from edgel3_np.collections.jobs import embed_file

KINDS = {"1 s at 8 kHz": (1.0, 8000, 1.0), "5 s at 44.1 kHz": (5.0, 44100, 0.2)}  # seconds, rate, part of --clips
WARM = 100
DASK = {  # a worker has one recording at a time, and a recording that kills it is not tried again
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
}
MPI = {  # Open MPI 5 and 4: as root, and more processes than cores
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
}


def run_serially(jobs, function=embed_file):
    """Yield the report of each job, which this process does."""
    return map(function, jobs)


def spark_reports(context, jobs, size=10_000, function=None):
    """Yield the reports of jobs, slice by slice. Each Spark task has a process for its recordings, which may die."""
    work = partial(run_in_processes, count=1, function=function)
    while part := list(islice(jobs, size)):
        tasks = min(len(part), 4 * context.defaultParallelism)
        yield from context.parallelize(part, tasks).mapPartitions(work).collect()


@contextmanager
def serial(workers):
    """Run jobs in this process."""
    yield run_serially


@contextmanager
def processes(workers):
    """Run jobs in processes of edgel3_np, as with `jobs=2`."""
    yield partial(run_in_processes, count=workers)


@contextmanager
def dask(workers):
    """Start a scheduler of Dask and worker processes on this machine."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set(DASK)

    options = {"host": "127.0.0.1", "dashboard_address": None, "scheduler_port": 0, "silence_logs": 50}
    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, **options)
    with cluster, Client(cluster) as client:
        yield partial(run_jobs, executor=client.get_executor(pure=False), pending=64)


@contextmanager
def ray(workers):
    """Start Ray on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    folder = tempfile.mkdtemp(prefix="ray")  # short: names of sockets have at most 107 characters
    options = {"include_dashboard": False, "object_store_memory": 100 << 20, "log_to_driver": False}
    ray.init(num_cpus=workers, configure_logging=False, _temp_dir=folder, **options)
    try:
        with edgel3_np.RayExecutor() as executor:
            yield partial(run_jobs, executor=executor, pending=64)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def spark(workers, reports=spark_reports):
    """Start Spark in local mode; it needs Java."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{workers}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    with builder.getOrCreate() as session:
        session.sparkContext.setLogLevel("OFF")
        yield partial(reports, session.sparkContext)


@contextmanager
def mpi(workers):
    """Use the workers of this program, which `mpiexec -n ... python -m mpi4py.futures` has started."""
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        yield partial(run_jobs, executor=executor, pending=64)


ENGINES = {function.__name__: function for function in (serial, processes, dask, ray, spark, mpi)}
NEEDS = {"dask": "distributed", "ray": "ray", "spark": "pyspark", "mpi": "mpi4py"}


def missing(engine):
    """Return what an engine needs and this machine has not, or None."""
    if engine in NEEDS and find_spec(NEEDS[engine]) is None:
        return NEEDS[engine]
    if engine == "spark" and shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "Java"
    return "mpiexec" if engine == "mpi" and find_mpiexec() is None else None


def find_mpiexec():
    """Return the path of mpiexec, first looking next to this Python."""
    return shutil.which("mpiexec", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))


def command(engine, workers, *program):
    """Return the command line that runs a program on an engine, and its environment."""
    if engine != "mpi":
        return [sys.executable, *program], dict(os.environ)
    words = [find_mpiexec(), "-n", str(workers + 1), sys.executable, "-m", "mpi4py.futures", *program]
    return words, {**os.environ, **MPI}


def processor_seconds(root):
    """Return the processor time of a process and of all below it, those that have ended too (Linux)."""
    parents, took = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            took[int(path.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    below, found = {root}, set()
    while below:
        found |= below
        below = {number for number, parent in parents.items() if parent in below}
    return sum(took.get(number, 0.0) for number in found)


def measure(engine, workers, rounds, sounds):
    """Embed a collection on an engine.

    Returns
    -------
    start : float
        Seconds until the engine is ready.
    seconds : list of (float, float)
        Of each round: seconds, and processor seconds of all processes of the engine.
    """
    root = os.getppid() if engine == "mpi" else os.getpid()

    def embed(run, out, count=None):
        begin, used = time.perf_counter(), processor_seconds(root)
        jobs = find_jobs(sounds, out, hop_size=1.0)[1]
        statuses = {report.status for report in run(islice(jobs, count))}
        if statuses != {"done"}:
            raise RuntimeError(f"{engine}: expected that all recordings are done, found {statuses}")
        return time.perf_counter() - begin, processor_seconds(root) - used

    begin = time.perf_counter()
    with ENGINES[engine](workers) as run, tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter() - begin
        embed(run, Path(folder, "warm"), WARM)
        seconds = [embed(run, Path(folder, str(number))) for number in range(rounds)]
    return start, seconds


def make_clips(folder, seconds, rate, count):
    """Write recordings of noise, no two alike."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        samples = rng.standard_normal(round(seconds * rate)) * rng.uniform(0.01, 0.2)
        soundfile.write(folder / f"{number:06}.wav", np.clip(samples, -1, 1), rate, "PCM_16")


def compare(engines, workers, rounds, clips):
    """Measure engines one after the other, and print a row of a table for each."""
    print(f"\n{workers} workers, {rounds} rounds; medians, with the slowest and the fastest round\n")
    titles = "".join(f" {kind}: clips a second | processor ms a clip |" for kind in KINDS)
    print(f"| engine | seconds to start |{titles}")
    print("|---|---|" + "---|---|" * len(KINDS))
    with tempfile.TemporaryDirectory() as folder:
        counts = {kind: round(clips * part) for kind, (_, _, part) in KINDS.items()}
        for kind, (seconds, rate, _) in KINDS.items():
            make_clips(Path(folder, kind), seconds, rate, counts[kind])
        for engine in engines:
            starts, cells = [], []
            for kind, count in counts.items():
                measured = ["--measure", engine, "--folder", str(Path(folder, kind))]
                options = ["--workers", str(workers), "--rounds", str(rounds)]
                words, environment = command(engine, workers, __file__, *measured, *options)
                ran = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=environment, check=True)
                start, took = json.loads(ran.stdout.splitlines()[-1])
                speeds, used = [count / seconds for seconds, _ in took], [1000 * used / count for _, used in took]
                starts.append(start)
                cells.append(f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})")
                cells.append(f"{statistics.median(used):.1f} ({min(used):.1f} to {max(used):.1f})")
            print(f"| {engine} | {statistics.median(starts):.1f} | {' | '.join(cells)} |", flush=True)


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", choices=[*ENGINES, []], metavar="ENGINE", help=", ".join(ENGINES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=2000, help="of a second; a fifth as many of five seconds")
    parser.add_argument("--measure", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.measure, options.workers, options.rounds, options.folder)))
        return
    lacking = {engine: missing(engine) for engine in options.engines or ENGINES}
    for engine, what in lacking.items():
        if what:
            print(f"{engine}: left out, because {what} is missing", file=sys.stderr)
    engines = [engine for engine, what in lacking.items() if not what]
    compare(engines, options.workers, options.rounds, options.clips)


if __name__ == "__main__":
    main()
