#!/usr/bin/env python3
"""Draw README's picture: the demo recording, and how alike its seconds are to each other.

pip install '.[plot]'
python tools/make_picture.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from make_demo_recording import END, SCENES
from matplotlib import pyplot

import edgel3_np
from edgel3_np.audio import open_audio
from edgel3_np.melspectrogram import melspectrogram
from edgel3_np.resample import resample

DEMO = Path(__file__).resolve().parent.parent / "docs" / "demo"


def spectrogram(path, network):
    """Log-mel of every second, side by side: shape (n_mels, frames)."""
    frontend = network.frontend
    with open_audio(path) as (sr, blocks):
        mono = np.concatenate(list(resample(blocks, sr, frontend.sr)))
    windows = mono[: len(mono) // frontend.sr * frontend.sr].reshape(-1, frontend.sr)
    return np.concatenate(list(melspectrogram(windows, frontend, network.bands)), axis=1)


def main():
    """Write docs/demo/street.png."""
    model = edgel3_np.load_model()
    embedding, timestamps = model.embed(DEMO / "street.flac")
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(7, 8.2), height_ratios=(1, 3), sharex=True, layout="constrained"
    )
    frontend = model.frontend
    above.imshow(
        spectrogram(DEMO / "street.flac", model.network), origin="lower", aspect="auto", extent=(0, END, 0, 64)
    )
    hertz = np.array([0, 250, 500, 1000, 2000, 4000])
    top = np.log10(1 + frontend.sr / 2 / 700)
    above.set_yticks(64 * np.log10(1 + hertz / 700) / top, hertz)
    above.set_ylabel("frequency, Hz (mel scale)")
    above.set_title("a made-up street: log-mel spectrogram of each second")
    extent = (timestamps[0], timestamps[-1]) * 2
    image = below.imshow(unit @ unit.T, origin="lower", aspect="auto", extent=extent, cmap="cividis", vmax=1)
    below.set(xlabel="time, s", ylabel="time, s", title=f"how alike any two moments are to {model.name}")
    below.set_xlim(0, END - 0.5)
    figure.colorbar(image, ax=below, label="cosine of the embeddings", shrink=0.8)
    for (start, what), (stop, _) in zip(SCENES, [*SCENES[1:], (END, "")]):
        for axes in (above, below):
            axes.axvline(start, color="white", linewidth=0.6)
        below.axhline(start, color="white", linewidth=0.6)
        above.text((start + stop) / 2, 60, what, color="white", ha="center", va="top", fontsize=8)
    figure.savefig(DEMO / "street.png", dpi=80)


if __name__ == "__main__":
    main()
