"""The whole way from a file to embeddings, on one thread: edgel3_np against soundfile, soxr and onnxruntime.

The other side is what people put together today: soundfile reads the file, soxr resamples it (quality HQ), our own
front end computes spectrograms, and onnxruntime the network, 64 windows at a time. Both embed ten minutes with
`pico-64`. `python benchmarks/pipeline.py` times both in turn, round after round; `compare.py` uses this module.
"""

import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
from engines import onnxruntime

from edgel3_np import list_models, load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.network.threads import one_blas_thread
from edgel3_np.pipeline import SignalStats, framing_for, spectrogram, windows_of
from edgel3_np.weights.format import load_weights

SECONDS, BATCH = 600, 64
RATES, HOPS = (44100, 48000, 8000), (1.0, 0.1)


def installed():
    """Return whether the other side can be put together here."""
    return all(map(find_spec, ("soxr", "onnx", "onnxruntime")))


def compose(path):
    """Return a function (file, hop) -> embeddings, composed of soundfile, soxr, our front end and onnxruntime."""
    import soxr

    network, run = load_model(path).network, onnxruntime(load_weights(path), 1)[0]

    def embed(file, hop_size):
        audio, sr = soundfile.read(file)
        audio = soxr.resample(audio, sr, network.frontend.sr, quality="HQ")
        framing = framing_for(network, hop_size, False)._replace(batch=BATCH)
        parts = []
        with one_blas_thread():
            for batch in windows_of(network, [audio], network.frontend.sr, framing, SignalStats()):
                x = spectrogram(network)(batch, network.frontend, network.bands, framing.hop)
                parts.append(run((x * network.scale + network.shift)[:, np.newaxis]))
        return np.concatenate(parts)

    return embed


def compare(rounds, folder):
    """Time both sides for each rate and hop.

    Yields
    ------
    sr : int
    hop_size : float
    theirs, ours : list of float
        Seconds of each round.

    Raises
    ------
    RuntimeError
        The embeddings differ by more than the resamplers explain.
    """
    path = list_models()["pico-64"]
    model, composed, file = load_model(path), compose(path), str(folder / "minutes.wav")
    for sr in RATES:
        soundfile.write(file, synthesise(sr, float(SECONDS)), sr, "PCM_16")
        for hop_size in HOPS:
            sides = {
                "theirs": composed,
                "ours": lambda file, hop: model.embed(file, hop_size=hop, center=False, threads=1).embedding,
            }
            check(**{name: embed(file, hop_size) for name, embed in sides.items()})
            times = {name: [] for name in sides}
            for _ in range(rounds):
                for name, embed in sides.items():
                    start = time.perf_counter()
                    embed(file, hop_size)
                    times[name].append(time.perf_counter() - start)
            yield sr, hop_size, times["theirs"], times["ours"]


def check(theirs, ours):
    """Raise an error unless both sides give the same number of similar embeddings."""
    cosine = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
    if len(theirs) != len(ours) or not np.median(cosine) > 0.99:
        raise RuntimeError(f"expected the same embeddings, found a median cosine of {np.median(cosine):.4f}")


if __name__ == "__main__":
    if not installed():
        sys.exit('pipeline: expected soxr, onnx and onnxruntime; install them: pip install ".[bench]"')
    with tempfile.TemporaryDirectory() as directory:
        for rate, hop, others, own in compare(9, Path(directory)):
            ratios = [a / b for a, b in zip(others, own)]
            print(
                f"{rate} Hz, hop {hop:g} s: {statistics.median(own):.2f} s, soundfile + soxr + onnxruntime "
                f"{statistics.median(others):.2f} s, ratio {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
