"""What `bench` measures: steps, layers, whole embeddings, memory; and whether the numbers are right."""

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

from . import network, parallel
from .audio import open_audio
from .convolution import run
from .errors import EdgeL3Error
from .locate import find_model
from .melspectrogram import melspectrogram
from .models import load_model
from .npz import parse_header, read_file
from .plan import fold, operations
from .resample import resample
from .stream import Stream
from .weights import load_weights

FILE_SR = 44100
TOLERANCE = 5e-5  # of the largest value of an embedding
MAX_GOLDEN_BYTES = 1 << 16
BUSY = 0.5e6  # microseconds of estimated work that a generated sound should make


def measure(function, repeats, before=lambda: None):
    """Time a function: one call to warm up, then `repeats` calls; `before` each, something that is not timed.

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


def synthesise(sr=FILE_SR, seconds=4.0):
    """A sweep over noise: shape (n,), float64, within 1; the same every time."""
    t = np.arange(int(sr * seconds)) / sr
    noise = np.random.default_rng(0).standard_normal(len(t))
    return 0.5 * np.sin(2 * np.pi * (100 + 200 * t) * t) + 0.05 * np.clip(noise, -5, 5)


def time_model(name, repeats, threads=(None,), audio=None):
    """Time every step for one model.

    Parameters
    ----------
    name : str or Path
        Of an installed model, or the path of a weight file.
    repeats : int > 0
    threads : sequence of (int > 0 or None)
        Numbers of threads to time whole embeddings with; None for the default.
    audio : str, optional
        A sound file; a few seconds of generated sound by default.

    Returns
    -------
    report : dict
        `model`, `sha256`; what `check` returns; `seconds` of audio; `steps`, each with times in milliseconds and the
        `unit` that they are for; `plan`, for each layer; `embed`, for each hop and number of threads;
        `peak_memory_mib` of a process that embeds the sound (None where it cannot be told).
    """
    model = load_model(name)
    report = {"model": model.name, "sha256": model.sha256, **check(name)}
    steps = {"import": {"unit": "process", **measure(lambda: in_a_new_process(f"import {__package__}"), repeats)}}
    steps["load model"] = {"unit": "model", **measure(lambda: load_model(name), repeats)}
    with tempfile.TemporaryDirectory() as directory:
        if audio is None:
            audio = os.path.join(directory, "sweep.wav")
            cost = sum(layer.cost for layer in model.network.layers)
            sound = synthesise(seconds=min(60.0, max(4.0, 0.1 * BUSY / cost)))
            with wave.open(audio, "wb") as file:
                file.setparams((1, 2, FILE_SR, 0, "NONE", ""))
                file.writeframes((32767 * sound).astype("<i2").tobytes())
        with open_audio(audio) as (sr, blocks):
            mono = np.concatenate(list(blocks))
        report["seconds"] = seconds = len(mono) / sr

        def per_second(function):
            return {"unit": "s of audio", **{key: value / seconds for key, value in measure(function, repeats).items()}}

        with parallel.one_blas_thread():  # as `embed` runs it
            steps["read"] = per_second(lambda: _read(audio))
            if sr != model.sr:
                steps[f"resample {sr} -> {model.sr}"] = per_second(lambda: list(resample([mono], sr, model.sr)))
            report["plan"] = time_layers(model.network, repeats)
            steps.update(_time_one_window(model.network, repeats))
        steps["stream: last sample to embedding"] = {"unit": "embedding", **_time_stream(model, repeats)}
        report["steps"] = steps
        report["embed"] = [
            _time_embed(model, audio, hop_size, number, seconds, repeats)
            for hop_size in (0.1, 1.0)
            for number in threads
        ]
        report["peak_memory_mib"] = peak_memory(audio, str(name))
    return report


def time_layers(net, repeats):
    """Time the layers of a network on one thread.

    Returns
    -------
    layers : list of dict
        `layer`, `map`, `filters`, `density` (per cent), `kernel`; `estimated` and `measured` microseconds a window;
        `effective` (of the dense convolution) and `real` (of the products computed) GFLOP/s.
    """
    work, layers = network.workspace(net), []
    for layer, x, (steps,) in zip(net.layers, work.maps, work.steps):
        x[...] = np.random.default_rng(0).random(x.shape, np.float32)
        took = 1e3 * measure(lambda steps=steps: run(steps), repeats)["median"] / net.block  # microseconds
        layers.append(
            {
                "layer": layer.name,
                "map": layer.shape,
                "filters": layer.filters,
                "density": 100 * layer.density,
                "kernel": layer.kernel,
                "estimated": layer.cost,
                "measured": took,
                "effective": layer.operations / took / 1e3,
                "real": operations(layer.kernel, layer.shape, layer.filters, layer.density) / took / 1e3,
            }
        )
    return layers


def _time_one_window(net, repeats):
    """Times of the front end and of the network on one thread: of a block of windows, for each of them."""
    windows = np.tile(synthesise(net.frontend.sr, 1.0), (net.block, 1))
    logmel, work = melspectrogram(windows, net.frontend, net.bands), network.workspace(net)
    functions = {
        "front end": lambda: melspectrogram(windows, net.frontend, net.bands),
        "network": lambda: network.forward(net, logmel, work),
    }
    return {
        name: {"unit": "window", **{key: value / net.block for key, value in measure(function, repeats).items()}}
        for name, function in functions.items()
    }


def _time_stream(model, repeats):
    """Time from the last sample that a window needs to its embedding, in a stream at the model's rate, hop 0.5 s."""
    stream, second = Stream(model, model.sr, hop_size=0.5, center=False), synthesise(model.sr, 1.0)
    half = len(second) // 2
    stream.feed(second[:half])
    return measure(lambda: stream.feed(second[-1:]), repeats, before=lambda: stream.feed(second[half:-1]))


def _time_embed(model, audio, hop_size, threads, seconds, repeats):
    """Speed of `embed` from a file."""
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


def check(name):
    """Compare a model's embedding of a second of generated sound with computations in float64.

    Returns
    -------
    differences : dict
        Relative to the largest value: `difference` from the network without our kernels (each convolution a sum of nine
        products of shifted maps), on our spectrogram; `golden`, from the embedding that came with the model, of the
        whole pipeline (None if none did); the `limit` of both.

    Raises
    ------
    EdgeL3Error
        The model cannot be loaded, or the embedding that came with it is not one of the model's.
    """
    path, model = find_model(name), load_model(name)
    net = model.network
    sound = synthesise(model.sr, 1.0)
    found = model.embed(sound, model.sr, center=False).embedding[0]
    logmel = melspectrogram(sound[np.newaxis], net.frontend, net.bands)[0]
    x = (logmel.T * net.scale + net.shift)[:, :, np.newaxis].astype(np.float64)  # (frames, mels, channels)
    for layer, (taps, bias) in zip(net.layers, fold(load_weights(path))):
        frames, columns, _ = x.shape
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = bias + sum(padded[dy : dy + frames, dx : dx + columns] @ taps[dy, dx] for dy, dx in np.ndindex(3, 3))
        x = np.maximum(x, 0.0) if layer.relu else x
        if layer.pool:
            x = _blocks(x, frames // 2, columns // 2).max(axis=(1, 3))
    bands, times = net.grid
    expected = _blocks(x, times, bands).max(axis=(1, 3)).swapaxes(0, 1).ravel()  # (bands, times, channels) in turn
    golden = read_golden(path, model.dim)
    return {
        "difference": _difference(found, expected),
        "golden": None if golden is None else _difference(found, golden),
        "limit": TOLERANCE,
    }


def _blocks(x, rows, columns):
    """A map (frames, mels, channels) as a grid of blocks: (rows, frames of a block, columns, mels of it, channels)."""
    down, across = x.shape[0] // rows, x.shape[1] // columns
    return x[: rows * down, : columns * across].reshape(rows, down, columns, across, -1)


def read_golden(path, dim):
    """The embedding that came with a weight file, of the sound that `check` uses: shape (dim,); None if none did."""
    path = Path(path) if isinstance(path, str) else path
    path = path.parent.joinpath(os.path.splitext(path.name)[0] + ".golden.npy")
    if not path.is_file():
        return None
    content = read_file(path, MAX_GOLDEN_BYTES)
    try:
        dtype, shape, start = parse_header(content)
    except ValueError as error:
        raise EdgeL3Error(f"{path}: expected an npy file, found {error}; install the model again") from error
    if (dtype, shape, len(content)) != ("<f4", (dim,), start + 4 * dim):
        raise EdgeL3Error(
            f"{path}: expected all of {dim} numbers of dtype <f4, found {len(content) - start} bytes of dtype {dtype}, "
            f"shape {shape}; install the model again"
        )
    return np.frombuffer(content, dtype, offset=start)


def _difference(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def peak_memory(*arguments):
    """Peak resident memory of a new process, in MiB; None where unknown.

    It embeds the sound file that the first argument names, with the model that the second does, hop 1 s; without
    arguments it imports the package and no more.
    """
    code = f"import sys, {__package__} as edgel3_np\n"
    code += "if len(sys.argv) > 1: edgel3_np.embed(sys.argv[1], model=sys.argv[2], hop_size=1.0)\n"
    # not getrusage, whose peak a child inherits from its parent
    code += "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    return int(in_a_new_process(code, *arguments)) / 1024 if os.path.exists("/proc/self/status") else None


def time_import(repeats=3):
    """What it costs to import this package in a new process.

    Returns
    -------
    facts : dict
        `seconds`, median; `numpy`, of these, those that NumPy takes; `modules`, how many are in memory then; whether
        `scipy` and `scipy.signal` are among them.
    """
    code = "import sys, json, time; start = time.perf_counter(); import numpy; middle = time.perf_counter()\n"
    code += f"import {__package__}; end = time.perf_counter(); loaded = sys.modules\n"
    code += "facts = {'seconds': end - start, 'numpy': middle - start, 'modules': len(loaded)}\n"
    code += "print(json.dumps({**facts, 'scipy': 'scipy' in loaded, 'scipy.signal': 'scipy.signal' in loaded}))"
    runs = [json.loads(in_a_new_process(code)) for _ in range(repeats)]
    return {**runs[0], **{key: statistics.median(run[key] for run in runs) for key in ("seconds", "numpy")}}


def in_a_new_process(code, *arguments):
    """Run Python code that uses this package; return what it prints."""
    code = f"import sys; sys.path = [path for path in sys.path if path]  # not where it is started\n{code}"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=variables()).stdout


def variables():
    """Environment variables for a new process, so that it imports this copy of the package, and the same others."""
    root = Path(__file__).resolve().parents[__package__.count(".") + 1]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *map(os.path.abspath, sys.path)])}


def _read(audio):
    with open_audio(audio) as (_, blocks):
        for _ in blocks:
            pass
