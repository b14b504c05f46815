"""What `bench` measures: the steps from a file to embeddings, the layers, whole embeddings, memory, and imports."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

from ..audio.reading import open_audio
from ..audio.resample import resample
from ..features.columns import COLUMNS, FRAMES, NOTHING, hear
from ..model import build_model, load_model
from ..network.columns import CONTEXT, ColumnNetwork
from ..network.forward import Workspace, forward
from ..network.plan import operations
from ..network.running import MOST, Run, record_head, record_trunk
from ..network.tape import execute
from ..network.threads import one_blas_thread
from ..pipeline import spectrogram
from ..stream import Stream
from ..weights.format import load_weights
from ..weights.locate import find_model
from ..weights.registry import check_bundled
from .checks import FILE_SR, compare_with_float64, synthesise

PACKAGE = __name__.rsplit(".", 2)[0]  # edgel3_np, or its name in a program that holds a copy
WORK = 0.5e6  # microseconds on one thread that generated audio should take, as the cost model estimates
HOPS = (0.1, 1.0)  # seconds


def measure(function, repeats, before=lambda: None):
    """Time a function: one call to warm up, then `repeats` timed calls.

    Parameters
    ----------
    function : callable
    repeats : int > 0
    before : callable, optional
        Called before each call of the function; its time does not count.

    Returns
    -------
    times : dict
        `median`, `min` and `max`, in milliseconds.
    """
    before()
    function()
    times = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return {"median": statistics.median(times), "min": min(times), "max": max(times)}


def time_model(name, repeats, threads=(None,), audio=None):
    """Time every step for one model, and check its numbers.

    Parameters
    ----------
    name : str or Path
        Name of an installed model, or path of a weight file.
    repeats : int > 0
        Timed calls of each step.
    threads : sequence of (int > 0 or None)
        Numbers of threads to time whole embeddings with; None for the default.
    audio : str, optional
        A sound file; by default a few seconds of generated audio.

    Returns
    -------
    report : dict
        `model`, `sha256`; the keys of `compare_with_float64`; `seconds` of audio; `steps`, each with times in
        milliseconds and the `unit` that they are for; `plan`, for each layer; `embed`, for each hop and number of
        threads; `peak_memory_mib` of a process that embeds the audio (None where it is unknown).

    Raises
    ------
    EdgeL3Error
        The model or the sound file cannot be read.
    """
    path = find_model(name)
    weights = load_weights(path)
    check_bundled(name, weights.sha256, path)  # as load_model does
    model = build_model(weights)
    report = {"model": model.name, "sha256": model.sha256, **compare_with_float64(model, weights, path)}
    with tempfile.TemporaryDirectory() as directory:
        if audio is None:
            audio = os.path.join(directory, "sweep.wav")
            _write_sweep(audio, model.network)
        with open_audio(audio) as (sr, blocks):
            mono = np.concatenate(list(blocks))
        report["seconds"] = seconds = len(mono) / sr
        report["steps"] = {
            "import": {"unit": "process", **measure(lambda: in_a_new_process(f"import {PACKAGE}"), repeats)},
            "load model": {"unit": "model", **measure(lambda: load_model(name), repeats)},
            **_time_audio(model, audio, sr, mono, repeats),
        }
        with one_blas_thread():  # as `embed` does
            report["plan"] = time_layers(model.network, repeats)
            report["steps"].update(_time_window(model.network, repeats))
        report["steps"]["stream, hop 0.5 s: computing an embedding"] = {
            "unit": "embedding",
            **_time_stream(model, repeats),
        }
        report["embed"] = [
            _time_embed(model, audio, hop_size, number, seconds, repeats) for hop_size in HOPS for number in threads
        ]
        report["peak_memory_mib"] = peak_memory(audio, str(name))
    return report


def time_layers(network, repeats):
    """Time the layers of a network on one thread.

    Parameters
    ----------
    network : Network
    repeats : int > 0

    Returns
    -------
    layers : list of dict
        One for each layer, or for two that are fused: `layer`, `map` (channels, frames, mel bands), `filters`,
        `density` (per cent), `algorithm`; `estimated` and `measured` microseconds a window; GFLOP/s, `effective`
        (operations of the dense convolution) and `real` (operations of the products computed).
    """
    if isinstance(network, ColumnNetwork):
        return _time_columns(network, repeats)
    work, sums = Workspace(network), {}
    work.log_mel[...] = -40.0
    steps = work.tapes(network.microbatch)
    for _ in range(repeats + 1):  # in the order of a forward pass, so that weights come from where they do then
        for (tape,) in steps:
            start = time.perf_counter()
            execute(tape)
            sums.setdefault(tape.layer, []).append(1e6 * (time.perf_counter() - start) / network.microbatch)
    rows = [network.layers[:2]] if network.fused else []
    rows += [(layer,) for layer in network.layers[2 * network.fused :]]
    return [_describe_layers(row, sums) for row in rows]


def _time_columns(network, repeats):
    """Do the same for a network for streams: microseconds of a window that comes every tenth of a second."""
    work, sums = Run(network), {}
    for tapes, count in ((record_trunk(work, work.piece), work.piece), (record_head(work, MOST, 1), MOST)):
        for _ in range(repeats + 1):
            for tape in tapes:
                start = time.perf_counter()
                execute(tape)
                sums.setdefault(tape.layer, []).append(1e6 * (time.perf_counter() - start) / count)
    return [_describe_layers((layer,), sums) for layer in network.layers]


def _describe_layers(layers, sums):
    """Return a row of `time_layers` for layers that are computed together; `sums` has microseconds a window."""
    name = " and ".join(layer.name for layer in layers)
    measured, dense = statistics.median(sums[name][1:]), sum(layer.operations for layer in layers)
    products = [
        layer.operations
        if layer.algorithm == "patches"
        else operations(layer.algorithm, layer.tile, layer.shape, layer.filters, layer.density)
        for layer in layers
    ]
    tiles = [" {}x{}".format(*layer.tile) if layer.algorithm == "winograd" else "" for layer in layers]
    return {
        "layer": name,
        "map": layers[0].shape,
        "filters": layers[-1].filters,
        "density": 100 * sum(layer.density * layer.operations for layer in layers) / dense,
        "algorithm": " and ".join(layer.algorithm + tile for layer, tile in zip(layers, tiles)),
        "estimated": sum(layer.cost for layer in layers),
        "measured": measured,
        "effective": dense / measured / 1e3,
        "real": sum(products) / measured / 1e3,
    }


def _write_sweep(path, network):
    """Write a WAV file of generated audio: from 4 to 60 seconds, as long as `WORK` asks for."""
    cost = sum(layer.cost for layer in network.layers)  # microseconds a window
    sound = synthesise(seconds=min(60.0, max(4.0, HOPS[0] * WORK / cost)))
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, FILE_SR, 0, "NONE", ""))
        file.writeframes((32767 * sound).astype(np.int16).tobytes())


def _time_audio(model, audio, sr, mono, repeats):
    """Time the reading of a file and the resampling of its audio, for each second of audio."""
    functions = {"read": lambda: _read(audio)}
    if sr != model.sr:
        functions[f"resample {sr} -> {model.sr}"] = lambda: list(resample([mono], sr, model.sr, model.network.exact))
    with one_blas_thread():  # as `embed` does
        return {
            name: {"unit": "s of audio", **_divide(measure(function, repeats), len(mono) / sr)}
            for name, function in functions.items()
        }


def _read(audio):
    with open_audio(audio) as (_, blocks):
        for _ in blocks:
            pass


def _time_window(network, repeats):
    """Time the front end and the network on one thread: one window alone, and each window of a microbatch."""
    if isinstance(network, ColumnNetwork):
        return _time_stream_window(network, repeats)
    windows = np.tile(synthesise(network.frontend.sr, 1.0), (network.microbatch, 1))
    log_mel, work = spectrogram(network)(windows, network.frontend, network.bands), Workspace(network)
    functions = {
        "front end": (lambda: spectrogram(network)(windows, network.frontend, network.bands), len(windows)),
        "network, one window alone": (lambda: forward(work, log_mel[:1]), 1),
        "network, in a batch": (lambda: forward(work, log_mel), len(windows)),
    }
    return {
        name: {"unit": "window", **_divide(measure(function, repeats), count)}
        for name, (function, count) in functions.items()
    }


def _time_stream_window(network, repeats):
    """Do the same for windows of a stream that come every tenth of a second."""
    frontend, work, count = network.frontend, Run(network), MOST
    signal = synthesise(frontend.sr, 20.0)[: (CONTEXT + count - 1) * network.column + frontend.n_fft]
    levels, heard = hear(signal, NOTHING, frontend, network.bands)
    known = work.trunk(levels)[-(COLUMNS + count - 1) :]
    rows, new = np.zeros((count, COLUMNS, 2), np.float32), count * FRAMES
    before = heard[:, : heard.shape[1] - count]
    functions = {
        "front end": (lambda: hear(signal, before, frontend, network.bands), count),
        "network, one window alone": (
            lambda: (work.trunk(levels[:FRAMES]), work.head(known[:COLUMNS], rows[:1], 1)),
            1,
        ),
        "network, in a batch": (lambda: (work.trunk(levels[:new]), work.head(known, rows, 1)), count),
    }
    return {
        name: {"unit": "window", **_divide(measure(function, repeats), count)}
        for name, (function, count) in functions.items()
    }


def _divide(times, number):
    return {key: value / number for key, value in times.items()}


def _time_stream(model, repeats):
    """Time a stream from the last sample that a window needs to its embedding: at the model's rate, hop 0.5 s."""
    stream, second = Stream(model, model.sr, hop_size=0.5, center=False), synthesise(model.sr, 1.0)
    half = len(second) // 2
    stream.feed(second[: half + model.network.context[1]])
    return measure(lambda: stream.feed(second[-1:]), repeats, before=lambda: stream.feed(second[half:-1]))


def _time_embed(model, audio, hop_size, threads, seconds, repeats):
    """Measure the speed of `embed` from a file."""
    counts = []  # windows of each call, all equal
    times = measure(
        lambda: counts.append(len(model.embed(audio, hop_size=hop_size, threads=threads).embedding)), repeats
    )
    rate = {new: 1e3 * counts[0] / times[old] for new, old in (("median", "median"), ("min", "max"), ("max", "min"))}
    return {
        "hop_size": hop_size,
        "threads": threads,
        "windows": counts[0],
        "windows_per_second": rate,
        "realtime_factor": 1e3 * seconds / times["median"],
    }


def peak_memory(*arguments):
    """Measure the peak resident memory of a new process.

    Parameters
    ----------
    *arguments : str
        A sound file and a model: the process embeds the one with the other, with a hop of 1 s. Without them it only
        imports this package.

    Returns
    -------
    peak : float or None
        MiB; None where there is no /proc/self/status.
    """
    if not os.path.exists("/proc/self/status"):
        return None
    code = f"import sys, {PACKAGE} as edgel3_np\n"
    code += "if len(sys.argv) > 1: edgel3_np.embed(sys.argv[1], model=sys.argv[2], hop_size=1.0)\n"
    # not getrusage, whose peak a child inherits from its parent
    code += "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    return int(in_a_new_process(code, *arguments)) / 1024


def time_import(repeats=3):
    """Measure what it costs to import this package in a new process.

    Parameters
    ----------
    repeats : int > 0
        Processes.

    Returns
    -------
    facts : dict
        `seconds`: the median; `numpy`: how many of them NumPy takes; `modules`: how many are loaded afterwards; `scipy`
        and `scipy.signal`: whether they are among those.
    """
    code = "import sys, json, time; start = time.perf_counter(); import numpy; middle = time.perf_counter()\n"
    code += f"import {PACKAGE}; end = time.perf_counter(); loaded = sys.modules\n"
    code += "facts = {'seconds': end - start, 'numpy': middle - start, 'modules': len(loaded)}\n"
    code += "print(json.dumps({**facts, 'scipy': 'scipy' in loaded, 'scipy.signal': 'scipy.signal' in loaded}))"
    runs = [json.loads(in_a_new_process(code)) for _ in range(repeats)]
    return {**runs[0], **{key: statistics.median(run[key] for run in runs) for key in ("seconds", "numpy")}}


def in_a_new_process(code, *arguments):
    """Run Python code that imports this copy of the package, in a new process; return what it prints."""
    code = f"import sys; sys.path = [path for path in sys.path if path]  # without the working directory\n{code}"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=variables()).stdout


def variables():
    """Return environment variables with which a new process imports this copy of the package, and the same others."""
    root = Path(__file__).resolve().parents[__package__.count(".") + 1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *map(os.path.abspath, sys.path)])}
