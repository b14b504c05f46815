"""The network for streams in torch: in floats with batch norms, and later in integers.

Convolutions run once over the stream (the trunk). A window's embedding is made of its ten columns (the head). While the
network learns its statistics, it works with floats. After `to_integers` every layer works with integers, exactly as an
integer engine does: weights and activations of 8 bits.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from .integers import Layer, set_integer, to_integers
from .network import POOLED
from .stream_views import COLUMNS, FRAMES, distance, levels, offsets, view, window_columns

INPUT_SCALE = 1 / 64  # what one of the 255 steps of the input counts


class Structure(NamedTuple):
    """What can be chosen. The kernels are 3 in mel.

    Parameters
    ----------
    filters : tuple of 8 int
    spans : tuple of 8 int
        Width of each convolution in time: frames, or columns after the pool over time.
    time_pool : int
        Number of the convolution after which five frames become one column, by their maximum: 1, 3 or 5.
    views : str
        `loud`: the spectrogram relative to the loudest window that holds the column. `offset`: also how far the
        quietest such window lies below. `both`: also the spectrogram relative to the quietest. `twice`: the trunk runs
        once for each of them.
    causal : bool
        Whether levels know only the past.
    head : tuple of int
        Filters of the layers over a window's columns; empty: the embedding is the maximum over the trunk's columns.
    """

    filters: tuple = (8, 8, 16, 16, 64, 96, 96, 64)
    spans: tuple = (3, 3, 3, 3, 3, 3, 3, 3)
    time_pool: int = 3
    views: str = "both"
    causal: bool = False
    head: tuple = (96, 64)


class StreamNetwork(nn.Module):
    """A network of a given structure; the embedding has as many numbers as the last layer has filters."""

    def __init__(self, structure, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.structure = structure
        views, filters = {"loud": 1, "offset": 2, "both": 2, "twice": 1}[structure.views], structure.filters
        channels = (views,) + filters
        self.trunk = nn.ModuleList(Layer(c, out, (3, span)) for c, out, span in zip(channels, filters, structure.spans))
        widths = (filters[-1] * (2 if structure.views == "twice" else 1) + 2,) + structure.head
        self.head = nn.ModuleList(
            Layer(c, out, (1, 3), 0 if index else COLUMNS)  # the first knows where in the window a column is
            for index, (c, out) in enumerate(zip(widths, widths[1:]))
        )

    def start_at(self, mean, std):
        """Give the untrained network about the mean and spread of the teacher's embeddings, shapes (dim,)."""
        norm = (self.head or self.trunk)[-1].norm
        with torch.no_grad():
            norm.weight.copy_(2.0 * std)
            norm.bias.copy_(mean - 1.6 * 2.0 * std)

    def forward(self, power, windows):
        """Embed windows of streams.

        Parameters
        ----------
        power : torch.Tensor [shape=(b, frames, mels), float64]
            From `stream_power`.
        windows : torch.Tensor [shape=(b, w), int64]
            Numbers of the windows.

        Returns
        -------
        embedding : torch.Tensor [shape=(b, w, dim), float32]
        """
        found = levels(power, self.structure.causal)
        columns = window_columns(windows)
        feature, scale = self.columns(self.views(power, found))  # (b, features, columns)
        b, w, n = columns.shape
        feature = feature.gather(2, columns.view(b, 1, w * n).expand(-1, feature.shape[1], -1))
        x = feature.view(b, -1, w, n).transpose(1, 2).flatten(0, 1)  # (b * w, features, 10)
        if self.head:
            offset = offsets(found, columns).flatten(0, 1)
            x = torch.cat([x, offset if self.integer() else offset * INPUT_SCALE], dim=1)[:, :, None]
            for layer in self.head:
                x, scale = layer(x, scale)
        return x.flatten(2).amax(dim=2).view(b, w, -1)

    def integer(self):
        return self.trunk[0].integer

    def views(self, power, found):
        """Return the input of the trunk, integers 0 to 255 or a fixed part of them: (b, channels, mels, frames)."""
        kind = self.structure.views
        parts = [view(power, found.loud)]
        if kind in ("both", "twice"):
            parts.append(view(power, found.quiet))
        if kind == "offset":
            apart = distance(found.loud, found.quiet).repeat_interleave(FRAMES, dim=1)
            parts.append(apart[:, None, None].expand_as(parts[0]))
        return torch.cat(parts, dim=1) * (1 if self.integer() else INPUT_SCALE)

    def columns(self, x):
        """Run the trunk: (b, channels, mels, frames) -> (b, features, columns), and their scale."""
        b, scale = len(x), INPUT_SCALE
        if self.structure.views == "twice":
            x = x.flatten(0, 1)[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        for index, layer in enumerate(self.trunk):
            x, scale = layer(x, scale)
            if index in POOLED:
                x = functional.max_pool2d(x, (2, FRAMES if index == self.structure.time_pool else 1))
        return x.amax(dim=2).view(b, -1, x.shape[3]), scale

    def layers(self):
        return [*self.trunk, *self.head]

    def start_integers(self, power, windows):
        """Let all layers work with integers; the scales start at what some streams give."""
        to_integers(self, power, windows)
        if self.head:  # the offsets come in as the other integers do
            with torch.no_grad():
                self.head[0].conv.weight[:, -2:] *= INPUT_SCALE / self.trunk[-1].log_scale.exp()


def load_average(path, name):
    """Read a network of a run's `averages.pt`, in evaluation mode."""
    content = torch.load(path, weights_only=True)[name]
    structure = Structure(*(tuple(part) if isinstance(part, list) else part for part in content["structure"]))
    network = StreamNetwork(structure)
    network.load_state_dict(content["state"])
    if content["integer"]:
        set_integer(network)
    return network.eval().requires_grad_(False)


def multiplications(structure):
    """Count the multiplications of the convolutions for a second of sound at a hop of 0.1 s, all weights counted."""
    views, mels, rate, total = (2 if structure.views in ("offset", "both") else 1), 64, 50, 0
    channels = (views,) + structure.filters
    for index, (c, out, span) in enumerate(zip(channels, structure.filters, structure.spans)):
        total += 3 * span * c * out * mels * rate
        if index in POOLED:
            mels, rate = mels // 2, rate // FRAMES if index == structure.time_pool else rate
    total *= 2 if structure.views == "twice" else 1
    widths = (structure.filters[-1] * (2 if structure.views == "twice" else 1) + 2,) + structure.head
    return total + sum(3 * c * out * COLUMNS * 10 for c, out in zip(widths, widths[1:]))
