#!/usr/bin/env python3
"""Draw the picture of docs/architecture.md: how a map lies in memory, and what happens to a strip of it.

pip install '.[plot]'
python tools/make_layer_picture.py
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

PATH = Path(__file__).resolve().parent.parent / "docs" / "layer.png"
WINDOWS = {"a": "#2f6f9f", "b": "#c06a2b"}  # two windows, and their colours
TILES, COLUMNS = 3, 10  # of a map; the last tile is filled up with zeros
STEPS = [
    ("strip of the map", "2 pairs + 2 rows,\n4, channels, lanes"),
    ("transform", "sums of\nneighbours"),
    ("products", "with the packed\nweights: most time"),
    ("transform back", "pairs, 2, 4,\nfilters, lanes"),
    ("max-pool, ReLU", "into the next map,\nstill in the cache"),
]


def cell(axes, x, y, text, colour):
    """Draw one number of a map; zeros that fill up are grey."""
    filled = text != "0"
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour if filled else "0.92", alpha=0.85, edgecolor="white"))
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=9, color="white" if filled else "0.5")


def draw_maps(axes):
    """Draw one row of the maps of two windows, cut into tiles of four columns."""
    axes.set_title("one row of two windows, a and b, cut into tiles of four columns", fontsize=10, loc="left")
    for line, (window, colour) in enumerate(WINDOWS.items()):
        for column in range(4 * TILES):
            text = f"{window}{column}" if column < COLUMNS else "0"
            cell(axes, column + 0.4 * (column // 4), -1.4 * line, text, colour)
    for tile in range(TILES):
        axes.text(4.4 * tile + 2, 1.35, f"tile {tile}", ha="center", fontsize=9)
    axes.set(xlim=(-0.2, 13.2), ylim=(-1.6, 1.9))


def draw_memory(axes):
    """Draw the same row as it lies in memory: column of the tile by lane."""
    axes.set_title("the same row in memory: x[row, column of the tile, channel, lane]", fontsize=10, loc="left")
    lanes = [(tile, window) for tile in range(TILES) for window in WINDOWS]
    for lane, (tile, window) in enumerate(lanes):
        axes.text(lane + 2.5, 0.25, f"lane {lane}", ha="center", fontsize=8)
        for column in range(4):
            number = 4 * tile + column
            cell(axes, lane + 2, -1 - column, f"{window}{number}" if number < COLUMNS else "0", WINDOWS[window])
    for column in range(4):
        axes.text(1.8, -0.5 - column, f"column {column}", ha="right", va="center", fontsize=8)
    axes.text(2, -4.6, "lane = tile * microbatch + window: the next tile of a window is two lanes on", fontsize=9)
    axes.set(xlim=(-0.2, 13.2), ylim=(-5, 0.9))


def draw_steps(axes):
    """Draw the steps of a strip, from left to right."""
    axes.set_title("a layer goes through its map strip by strip", fontsize=10, loc="left")
    for number, (name, what) in enumerate(STEPS):
        x = 2.65 * number
        axes.add_patch(Rectangle((x, 0), 2.1, 1.5, facecolor="#eef3f7", edgecolor="#2f6f9f"))
        axes.text(x + 1.05, 1.2, name, ha="center", va="center", fontsize=9, weight="bold")
        axes.text(x + 1.05, 0.55, what, ha="center", va="center", fontsize=8)
        if number:
            arrow = FancyArrowPatch(
                (x - 0.53, 0.75), (x - 0.02, 0.75), arrowstyle="-|>", mutation_scale=12, color="0.3"
            )
            axes.add_patch(arrow)
    axes.set(xlim=(-0.2, 13.2), ylim=(-0.2, 1.7))


def main():
    """Write docs/layer.png."""
    figure = Figure(figsize=(9, 7.6), dpi=100)
    panels = figure.subplots(3, 1, gridspec_kw={"height_ratios": [3.2, 5.6, 2.2]})
    for axes, draw in zip(panels, (draw_maps, draw_memory, draw_steps)):
        draw(axes)
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(PATH, metadata={"Software": None})


if __name__ == "__main__":
    main()
