#!/usr/bin/env python3
"""Compute the golden embeddings of the shipped model with the slow float64 oracles of the tests.

    python tools/make_golden.py

Run it after `weights/pico-64.npz` has changed; it writes `tests/golden/pico-64.npz`, of the recording that ships, and
`weights/pico-64.golden.npy`, of a second of generated sound, which ships for `python -m edgel3_np.bench`.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import oracles

from edgel3_np.melspectrogram import mel_filters
from edgel3_np.timing import synthesise
from edgel3_np.weights import load_weights, to_dense


def oracle_embedding(mono, weights, hop_size, center):
    """The whole pipeline but the resampler, in float64: shape (t, dim)."""
    frontend = weights.frontend
    kernels = [to_dense(kernel) for kernel in weights.kernels]
    mel = mel_filters(frontend).astype(np.float64)
    embedding = []
    for window in oracles.frame(mono, frontend.sr, int(hop_size * frontend.sr), frontend.sr // 2 if center else 0):
        logmel = oracles.melspectrogram(window, frontend.sr, frontend.n_fft, frontend.hop_length, mel)
        embedding.append(oracles.forward(logmel, kernels, weights.biases, weights.norms))
    return np.array(embedding)


def main():
    """Write the golden file."""
    weights = load_weights(ROOT / "weights" / "pico-64.npz")
    sr = weights.frontend.sr
    sound = oracle_embedding(synthesise(sr, 1.0), weights, 1.0, center=False)
    np.save(ROOT / "weights" / "pico-64.golden.npy", sound[0].astype(np.float32))
    samples, street_sr = soundfile.read(ROOT / "docs" / "demo" / "street.flac", always_2d=True)
    mono = oracles.resample(samples.mean(axis=1), street_sr, sr)
    arrays = {"sha256": np.array(weights.sha256)}
    for hop_size, center in ((0.5, True), (1.1, False)):
        found = oracle_embedding(mono, weights, hop_size, center)
        arrays[f"center={int(center)}|hop={hop_size}"] = found.astype(np.float32)
    path = ROOT / "tests" / "golden" / "pico-64.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size} bytes, for weights {weights.sha256}", file=sys.stderr)


if __name__ == "__main__":
    main()
