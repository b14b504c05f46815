#!/usr/bin/env python3
"""Compute the golden embeddings of the bundled models with the slow oracles of the tests.

    python tools/make_golden.py

Run it after `weights/pico-64.npz` or `weights/pico-64-stream.npz` has changed. It writes `tests/golden/<name>.npz`, for
the demo recording, and `weights/<name>.golden.npy`, for a second of generated sound: `edgel3-np verify` and `bench`
compare with it.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import oracles

from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.features.mel import mel_filterbank
from edgel3_np.weights.format import load_weights


def oracle_embedding(mono, weights, hop_size, center):
    """Compute the whole pipeline except the resampler with the oracles, in float64 and int64: shape (t, dim)."""
    frontend = weights.frontend
    mel = mel_filterbank(frontend).astype(np.float64)
    embedding = []
    for window in oracles.frame(mono, frontend.sr, int(hop_size * frontend.sr), frontend.sr // 2 if center else 0):
        log_mel = oracles.log_mel_spectrogram(window, frontend, mel)
        embedding.append(oracles.whole_forward(np.rint((log_mel + 80) * 255 / 80), weights))
    return np.array(embedding)


def stream_embedding(mono, weights, hop_size, center):
    """Do the same for a network for streams."""
    return oracles.stream_embeddings(mono, weights, round(10 * hop_size), center)


def main():
    """Write the golden files."""
    for name, embed in (("pico-64", oracle_embedding), ("pico-64-stream", stream_embedding)):
        weights = load_weights(ROOT / "weights" / f"{name}.npz")
        sr = weights.frontend.sr
        sound = embed(synthesise(sr, 1.0), weights, 1.0, center=False)
        np.save(ROOT / "weights" / f"{name}.golden.npy", sound[0].astype(np.float32))
        samples, street_sr = soundfile.read(ROOT / "docs" / "demo" / "street.flac", always_2d=True)
        mono = oracles.whole_resample(samples.mean(axis=1), street_sr, sr)
        arrays = {"sha256": np.array(weights.sha256)}
        for hop_size, center in ((0.5, True), (1.1, False)):
            arrays[f"center={int(center)}|hop={hop_size}"] = embed(mono, weights, hop_size, center).astype(np.float32)
        path = ROOT / "tests" / "golden" / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, **arrays)
        print(f"{path}: {path.stat().st_size} bytes, for weights {weights.sha256}", file=sys.stderr)


if __name__ == "__main__":
    main()
