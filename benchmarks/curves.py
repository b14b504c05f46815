"""Curves for RESULTS.md: cost against sparsity, length of audio and number of threads. compare.py uses this module."""

import os
from dataclasses import replace

import networks
import numpy as np

from edgel3_np import load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.diagnostics.timing import measure
from edgel3_np.network.maps import Arena, Scratch, plain_map
from edgel3_np.network.plan import TILES, Layer, estimate_cost
from edgel3_np.network.tape import Tape, execute
from edgel3_np.network.threads import one_blas_thread

SPARSITIES = (0, 50, 80, 85, 90, 93, 95, 96, 97, 98, 99)  # per cent
# (channels, frames, mels), filters: conv3 and conv6 of the 48 kHz networks, conv4 and conv6 of sea-64
SHAPES = {
    "48 kHz conv3": ((64, 99, 128), 128),
    "48 kHz conv6": ((256, 49, 64), 256),
    "sea-64 conv4": ((64, 25, 32), 64),
    "sea-64 conv6": ((128, 12, 16), 128),
}
LENGTHS = (1, 2, 5, 10, 30, 60, 120)  # seconds
ROUNDS = 5


VARIANTS = [
    ("direct", (1, 1)),
    ("rows", (1, 1)),
    ("sparse", (1, 1)),
    *(("winograd", (m, m)) for m, n in TILES if m == n),
]


def time_algorithm(algorithm, tile, shape, filters, sparsity):
    """Return the milliseconds a window that an algorithm takes for a layer, on one thread: the best of some rounds."""
    channels, frames, columns = shape
    layer = Layer("conv", algorithm, tile, shape, filters, True, False, 1 - sparsity / 100, 0.0)
    kernel = networks.random_kernel(np.random.default_rng(0), channels, filters, sparsity).astype(np.float64)
    layer = replace(layer, weights=layer.module.pack(kernel, np.zeros(filters), layer))
    x, out = layer.module.new_map(layer, 1, Arena()), plain_map(1, frames, columns, filters, Arena())
    x.tiles[...] = np.random.default_rng(0).random(x.tiles.shape, np.float32)
    scratch, tape = Scratch(layer.module.scratch_size(layer, 1), Arena()), Tape(layer.name)
    for strip in layer.module.strips(layer):
        scratch.reset()
        layer.module.record(tape, layer, x, out, scratch, strip)
    return measure(lambda: execute(tape), ROUNDS)["min"]


def against_sparsity(axes):
    """Draw time against sparsity, one panel for each shape; yield a table of the sparsities where `sparse` wins."""
    yield "Milliseconds a window, one thread, best of 5. `sparse` is the fastest from a sparsity of about:"
    yield ""
    yield "| layer | measured | cost model |"
    yield "|---|---|---|"
    for axis, (name, (shape, filters)) in zip(axes.flat, SHAPES.items()):
        dense = {}
        with one_blas_thread():
            for algorithm, tile in VARIANTS:
                if algorithm == "sparse":
                    sparse = [time_algorithm(algorithm, tile, shape, filters, sparsity) for sparsity in SPARSITIES]
                    axis.plot(SPARSITIES, sparse, "o-", label=algorithm)
                else:
                    label = algorithm if algorithm != "winograd" else "winograd {}x{}".format(*tile)
                    dense[label] = time_algorithm(algorithm, tile, shape, filters, 0)
                    axis.axhline(dense[label], label=label, color=f"C{len(dense)}")
        axis.set(title=name, xlabel="zeros, %", ylabel="ms a window", yscale="log")
        axis.legend(fontsize=8)
        best = min(dense.values())
        crossing = next((s for s, took in zip(SPARSITIES, sparse) if took < best), None)
        model = min(estimate_cost(*variant, shape, filters, 1.0) for variant in VARIANTS if variant[0] != "sparse")
        steps = np.arange(0, 100, 0.5)
        chosen = next((s for s in steps if estimate_cost("sparse", (1, 1), shape, filters, 1 - s / 100) < model), None)
        cells = ("never" if found is None else f"{found:g} %" for found in (crossing, chosen))
        yield f"| {name} | {' | '.join(cells)} |"


def embed_rate(model, seconds, hop_size, threads=None):
    """Return windows a second: the median of some rounds."""
    audio, counts = synthesise(model.sr, float(seconds)), []  # windows of each call, all equal

    def embed():
        counts.append(len(model.embed(audio, model.sr, hop_size=hop_size, threads=threads).embedding))

    took = measure(embed, ROUNDS)["median"]
    return 1e3 * counts[0] / took


def against_length(axis, model):
    """Draw windows a second against the length of audio, and yield the lines of a table."""
    yield f"{model.name}, windows a second from samples, default threads, median of 5:"
    yield ""
    yield "| seconds of audio | " + " | ".join(map(str, LENGTHS)) + " |"
    yield "|---|" + "---|" * len(LENGTHS)
    for hop_size in (0.1, 1.0):
        rates = [embed_rate(model, seconds, hop_size) for seconds in LENGTHS]
        axis.plot(LENGTHS, rates, "o-", label=f"hop {hop_size:g} s")
        yield f"| hop {hop_size:g} s | " + " | ".join(f"{rate:.0f}" for rate in rates) + " |"
    axis.set(title=f"{model.name}: length", xlabel="seconds of audio", ylabel="windows a second", xscale="log", ylim=0)
    axis.legend()


def against_threads(axis, models):
    """Draw windows a second against the number of threads, and yield the lines of a table."""
    counts = list(range(1, 2 * (os.cpu_count() or 1) + 1))
    yield f"Windows a second from samples, hop 0.1 s, median of 5, on {os.cpu_count()} cores:"
    yield ""
    yield "| threads | " + " | ".join(map(str, counts)) + " |"
    yield "|---|" + "---|" * len(counts)
    for model in models:
        seconds = 30 if model.sr == 8000 else 3
        rates = [embed_rate(model, seconds, 0.1, threads) for threads in counts]
        axis.plot(counts, [rate / rates[0] for rate in rates], "o-", label=model.name)
        yield f"| {model.name} | " + " | ".join(f"{rate:.1f}" for rate in rates) + " |"
    axis.set(title="threads", xlabel="threads", ylabel="speed, relative to one thread", ylim=0)
    axis.legend()


def draw(output, folder, say):
    """Write the pictures; return the title, the file name and the lines of text of each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    models = [load_model(networks.write(name, folder)) for name in ("pico-64", "sea-64", "sparse-95.45")]
    sections = []
    for title, name, panels, function in (
        ("Cost against sparsity", "sparsity.png", (2, 2), against_sparsity),
        ("Cost against length of audio", "length.png", (1, 1), lambda axis: against_length(axis, models[0])),
        ("Cost against threads", "threads.png", (1, 1), lambda axis: against_threads(axis, models)),
    ):
        say(f"{title.lower()} ...")
        figure, axes = plt.subplots(*panels, figsize=(5 * panels[1], 3.5 * panels[0]), constrained_layout=True)
        sections.append((title, name, list(function(axes))))
        figure.savefig(output / name, dpi=100)
        plt.close(figure)
    return sections
