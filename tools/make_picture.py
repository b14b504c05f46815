#!/usr/bin/env python3
"""Draw the picture of the README: the demo recording as `edgel3-np plot` draws it, with the names of its scenes.

pip install '.[plot]'
python tools/make_picture.py
"""

import io
from pathlib import Path

import numpy as np
from make_demo_recording import END, SCENES
from matplotlib import colormaps
from PIL import Image  # matplotlib requires it

from edgel3_np import plot

DEMO = Path(__file__).resolve().parent.parent / "docs" / "demo"


def main():
    """Write docs/demo/street.png."""
    figure = plot.plot_recording(DEMO / "street.flac", title="a made-up street, as pico-64 hears it")
    panels = {axes.get_label(): axes for axes in figure.axes}
    for (start, what), (stop, _) in zip(SCENES, [*SCENES[1:], (END, "")]):
        for name in ("waveform", "spectrogram", "embedding", "self-similarity"):
            panels[name].axvline(start, color="black" if name == "waveform" else "white", linewidth=0.6)
        panels["self-similarity"].axhline(start, color="white", linewidth=0.6)
        panels["waveform"].text((start + stop) / 2, -1.25, what, ha="center", va="center", fontsize=8)
    panels["waveform"].set_ylim(-1.6, 0.8)
    content = io.BytesIO()
    figure.savefig(content, dpi=100)
    picture = Image.open(content).convert("RGB")
    picture.quantize(palette=palette(), dither=Image.Dither.NONE).save(DEMO / "street.png", optimize=True)


def palette():
    """Return 64 colours of each colour map and of grey; they make the file a third as large."""
    colours = [colormaps[name](np.linspace(0, 1, 64))[:, :3] for name in ("magma", "viridis", "cividis", "gray")]
    image = Image.new("P", (1, 1))
    image.putpalette(np.rint(255 * np.concatenate(colours)).astype(np.uint8).tobytes())
    return image


if __name__ == "__main__":
    main()
