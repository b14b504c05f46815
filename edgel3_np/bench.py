"""`python -m edgel3_np.bench`: where the time goes on this machine."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import __version__, network, parallel
from .audio import open_audio
from .errors import EdgeL3Error
from .melspectrogram import melspectrogram
from .models import DEFAULT, load_model
from .resample import resample

SECONDS = 4.0  # of generated sound
FILE_SR = 44100


def measure(function, repeats):
    """Time a function: one call to warm up, then `repeats` calls.

    Returns
    -------
    times : dict
        `median`, `min` and `max`, in milliseconds.
    """
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def synthesise(sr=FILE_SR, seconds=SECONDS):
    """A sweep over noise: shape (n,), float64, within 1; the same every time."""
    t = np.arange(int(sr * seconds)) / sr
    noise = np.random.default_rng(0).standard_normal(len(t))
    return 0.5 * np.sin(2 * np.pi * (100 + 200 * t) * t) + 0.05 * np.clip(noise, -5, 5)


def environment():
    """Versions and hardware, for the head of a table."""
    import scipy
    import soundfile

    try:
        with open("/proc/cpuinfo") as file:
            cpu = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or "unknown"
    return {
        "edgel3_np": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "soundfile": soundfile.__version__,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
    }


def run(model_name, repeats, audio=None):
    """Time every step for one model.

    Parameters
    ----------
    model_name : str or Path
    repeats : int > 0
    audio : str, optional
        A sound file; four seconds of generated sound by default.

    Returns
    -------
    report : dict
        `model`; `steps`: name to times in milliseconds, with the `unit` each is for; `windows_per_second`.
    """
    import soundfile

    model = load_model(model_name)
    steps = {"import": {"unit": "process", **measure(_import_in_a_new_process, repeats)}}
    steps["load model"] = {"unit": "model", **measure(lambda: load_model(model_name), repeats)}
    with tempfile.TemporaryDirectory() as directory:
        if audio is None:
            audio = os.path.join(directory, "sweep.wav")
            soundfile.write(audio, synthesise(), FILE_SR)
        with open_audio(audio) as (sr, blocks):
            mono = np.concatenate(list(blocks))
        seconds = len(mono) / sr

        def per_second(function):
            times = measure(function, repeats)
            return {"unit": "s of audio", **{key: value / seconds for key, value in times.items()}}

        steps["read"] = per_second(lambda: _read(audio))
        with parallel.one_blas_thread():  # as `embed` runs it
            steps[f"resample {sr} -> {model.sr}"] = per_second(lambda: list(resample([mono], sr, model.sr)))
        counts = []  # windows of each call, all equal
        whole = measure(lambda: counts.append(len(model.embed(audio, hop_size=0.1).embedding)), repeats)
    with parallel.one_blas_thread():  # likewise
        steps.update(_time_one_window(model.network, repeats))
    rate = {key: 1e3 * counts[0] / value for key, value in whole.items()}
    return {
        "model": model.name,
        "sha256": model.sha256,
        "steps": steps,
        "windows_per_second": {"median": rate["median"], "min": rate["max"], "max": rate["min"]},
        "realtime_factor_hop_0.1": 1e3 * seconds / whole["median"],
    }


def _time_one_window(net, repeats):
    """Times of the front end, of each layer and of the whole network, on one thread."""
    window = synthesise(net.frontend.sr, 1.0)[np.newaxis]
    logmel, work = melspectrogram(window, net.frontend, net.mel), network.workspace(net)
    steps = {"front end": measure(lambda: melspectrogram(window, net.frontend, net.mel), repeats)}
    network.forward(net, logmel, work)  # fills the maps that the layers are timed on
    for layer, x in zip(net.layers, work.maps):
        name = f"{layer.name} ({layer.kernel}, {100 * layer.density:.0f} %)"
        steps[name] = measure(lambda layer=layer, x=x: [None for _ in network.strips(layer, x, work)], repeats)
    steps["network"] = measure(lambda: network.forward(net, logmel, work), repeats)
    return {name: {"unit": "window", **times} for name, times in steps.items()}


def _read(audio):
    with open_audio(audio) as (_, blocks):
        for _ in blocks:
            pass


def _import_in_a_new_process():
    path = os.pathsep.join([str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", "import edgel3_np"], check=True, env={**os.environ, "PYTHONPATH": path})


def table(report):
    """Lines of text that show a report."""
    yield f"{report['model']}: median (min, max) in ms"
    for name, times in report["steps"].items():
        spread = f"({times['min']:.3f}, {times['max']:.3f})"
        yield f"  {name:28} {times['median']:10.3f}  {spread:22} per {times['unit']}"
    rate = report["windows_per_second"]
    spread = f"({rate['min']:.1f}, {rate['max']:.1f})"
    yield f"  from file to embeddings, hop 0.1 s: {rate['median']:.1f} {spread} windows per second,"
    yield f"  {report['realtime_factor_hop_0.1']:.1f} times real time"


def main(arguments=None):
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m edgel3_np.bench", description="Time each step from file to embedding."
    )
    add = parser.add_argument
    add(
        "-m",
        "--model",
        action="append",
        metavar="NAME|PATH",
        help=f"model to time; may be repeated (default: {DEFAULT})",
    )
    add(
        "-r",
        "--repeats",
        type=int,
        default=5,
        help="timed calls of each step, after one to warm up (default: %(default)s)",
    )
    add("-a", "--audio", metavar="FILE", help=f"sound file (default: {SECONDS:g} s of generated sound)")
    add("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats: expected at least 1, found {options.repeats}")
    reports = []
    try:
        for name in options.model or [DEFAULT]:
            print(f"timing {name} ...", file=sys.stderr)
            reports.append(run(name, options.repeats, options.audio))
    except EdgeL3Error as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    facts = environment()
    if options.json:
        print(json.dumps({"environment": facts, "reports": reports}, indent=2))
    else:
        print(", ".join(f"{key} {value}" for key, value in facts.items()))
        for report in reports:
            print("\n".join(table(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
