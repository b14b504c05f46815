#!/usr/bin/env python3
"""Draw the picture of docs/architecture.md: how a map lies in memory, and what happens to a strip of it.

pip install '.[plot]'
python tools/make_layer_picture.py
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

PATH = Path(__file__).resolve().parent.parent / "docs" / "layer.png"
COLOURS = ("#2f6f9f", "#3f8f7f", "#b8862b", "#a04f6f")  # of the phases
COLUMNS, PHASES = 10, 4  # a map that is ten columns wide, in tiles of four
STEPS = [
    ("strip of the map", "rows under\nrows of tiles"),
    ("1, 2: transform", "rows, then\ncolumns: points"),
    ("3: products", "lanes x channels\ntimes packed weights"),
    ("4: transform back", "columns, then\nrows: pixels"),
    ("5: max-pool, ReLU", "into the next map,\nstill in the cache"),
]


def cell(axes, x, y, text, colour, width=1.0):
    """Draw one pixel of a map; zeros are grey."""
    filled = text != "0"
    axes.add_patch(Rectangle((x, y), width, 1, facecolor=colour if filled else "0.92", alpha=0.85, edgecolor="white"))
    axes.text(x + width / 2, y + 0.5, text, ha="center", va="center", fontsize=9, color="white" if filled else "0.5")


def draw_map(axes):
    """Draw two rows of a map, cut into tiles of four columns, and the row of zeros above it."""
    axes.set_title("a map: two of its rows, cut into tiles of four columns", fontsize=10, loc="left")
    for line in range(3):
        for column in range(PHASES * -(-COLUMNS // PHASES)):
            text = f"{line},{column}" if line and column < COLUMNS else "0"
            cell(axes, column + 0.4 * (column // PHASES), -1.1 * line, text, COLOURS[column % PHASES])
    for tile in range(-(-COLUMNS // PHASES)):
        axes.text(4.4 * tile + 2, 1.2, f"tile {tile}", ha="center", fontsize=9)
    axes.set(xlim=(-0.2, 13.2), ylim=(-2.4, 1.7))


def draw_memory(axes):
    """Draw the second of these rows as it lies in memory: phase by phase, all channels of a pixel side by side."""
    axes.set_title("its last row in memory: x[window, row, phase, tile, channel]", fontsize=10, loc="left")
    tiles = -(-COLUMNS // PHASES)
    for phase in range(PHASES):
        axes.text(3.25 * phase + 1.5, 1.25, f"phase {phase}", ha="center", fontsize=9)
        for tile in range(tiles):
            column = tile * PHASES + phase
            text = f"2,{column}" if column < COLUMNS else "0"
            cell(axes, 3.25 * phase + tile, 0, text, COLOURS[phase])
    axes.text(
        0, -0.9, "each cell is all channels of a pixel; the pixels of one phase are next to each other", fontsize=9
    )
    axes.set(xlim=(-0.2, 13.2), ylim=(-1.2, 1.8))


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
    figure = Figure(figsize=(9, 5.8), dpi=100)
    panels = figure.subplots(3, 1, gridspec_kw={"height_ratios": [4.0, 2.9, 2.2]})
    for axes, draw in zip(panels, (draw_map, draw_memory, draw_steps)):
        draw(axes)
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(PATH, metadata={"Software": None})


if __name__ == "__main__":
    main()
