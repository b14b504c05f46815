#!/usr/bin/env python3
"""Compute the golden embeddings of the shipped model with the slow float64 oracles of the tests.

    python tools/make_golden.py

Run it after `weights/pico-64.npz` has changed; it writes `tests/golden/pico-64.npz`.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import oracles

from edgel3_np.melspectrogram import mel_filters
from edgel3_np.weights import load_weights, to_dense


def oracle_embedding(path, weights, hop_size, center):
    """The whole pipeline in float64: shape (t, dim)."""
    samples, sr = soundfile.read(path, always_2d=True)
    frontend = weights.frontend
    mono = oracles.resample(samples.mean(axis=1), sr, frontend.sr)
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
    recording = ROOT / "docs" / "demo" / "street.flac"
    arrays = {"sha256": np.array(weights.sha256)}
    for hop_size, center in ((0.5, True), (1.1, False)):
        found = oracle_embedding(recording, weights, hop_size, center)
        arrays[f"center={int(center)}|hop={hop_size}"] = found.astype(np.float32)
    path = ROOT / "tests" / "golden" / "pico-64.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size} bytes, for weights {weights.sha256}", file=sys.stderr)


if __name__ == "__main__":
    main()
