"""Layers that learn in floats and then in integers.

After `to_integers` a layer computes exactly what an engine of integers does: a sum of products of integer weights (8
bits, one scale for each filter) and integer activations (8 bits, one scale for each layer), times a factor, plus a
bias, rounded and clipped. Every sum stays below 2^24, so float32 holds it exactly in whatever order it is added.
"""

import torch
from torch import nn
from torch.nn import functional

from edgel3_np.weights.format import BATCH_NORM_EPSILON

LARGEST_WEIGHT, LARGEST = 127, 255  # of integers: weights -127 to 127, activations 0 to 255
EXACT = 2.0**24 - 1  # float32 holds every integer up to this


def round_through(x):
    """Round, and pass the gradient on as if nothing had been rounded."""
    return x + (x.round() - x).detach()


class Layer(nn.Module):
    """A convolution, a batch norm and a ReLU; once `integer` is set, the same in integers.

    In integers the statistics of the batch norm are fixed, and it is folded into the weights.

    Parameters
    ----------
    c_in, c_out : int
    kernel : (int, int)
        Mel and time.
    positions : int
        If not zero, each of so many places in time has a bias of its own.
    """

    def __init__(self, c_in, c_out, kernel, positions=0):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=(kernel[0] // 2, kernel[1] // 2), bias=False)
        self.norm = nn.BatchNorm2d(c_out, eps=BATCH_NORM_EPSILON, momentum=0.02)
        self.bias = nn.Parameter(torch.zeros(c_out, 1, max(1, positions)), requires_grad=positions > 0)
        self.log_scale = nn.Parameter(torch.zeros(()))  # of what one of the outgoing integers counts
        self.integer = self.last = False
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, x, scale):
        """Compute activations.

        Parameters
        ----------
        x : torch.Tensor [shape=(b, c_in, mels, times)]
            Integers if the layer works with integers.
        scale : float or torch.Tensor [shape=()]
            What one of these integers counts.

        Returns
        -------
        y : torch.Tensor [shape=(b, c_out, mels, times)]
            The last layer of a network gives numbers that are not integers.
        scale : torch.Tensor [shape=()]
        """
        if not self.integer:
            return functional.relu(self.norm(self.conv(x)) + self.bias), None
        weight, factor, bias = self.constants(scale)
        y = functional.conv2d(x, weight, padding=self.conv.padding) * factor + bias
        return (y.relu() if self.last else round_through(y.clamp(0, LARGEST))), self.log_scale.exp()

    def constants(self, scale):
        """Return the integer weights, and factor and bias that turn their sums into outgoing integers."""
        norm, weight = self.norm, self.conv.weight
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = weight * gain.view(-1, 1, 1, 1)
        with torch.no_grad():
            flat = weight.abs().flatten(1)
            room = EXACT / LARGEST - flat.shape[1]  # rounding adds at most a half to each; the rest is for the bias
            unit = torch.maximum(flat.amax(dim=1) / LARGEST_WEIGHT, flat.sum(dim=1) / room).clamp_min(1e-12)
        weight = round_through(weight / unit.view(-1, 1, 1, 1))
        bias = (norm.bias - norm.running_mean * gain).view(-1, 1, 1) + self.bias
        out = 1.0 if self.last else self.log_scale.exp()
        return weight, (unit * scale / out).view(-1, 1, 1), bias / out

    def train(self, mode=True):
        """Set the mode; the statistics of a layer of integers stay."""
        super().train(mode)
        if self.integer:
            self.norm.eval()
        return self


def to_integers(network, *arguments):
    """Let all layers of a network work with integers.

    The scale of a layer starts at the 99.99 % quantile of its activations on some inputs, and is learnt from then on.
    """
    layers, hooks = network.layers(), []

    def note(layer, _, output):
        layer.log_scale.data.copy_((_quantile(output[0], 0.9999) / LARGEST).log())

    for layer in layers:
        hooks.append(layer.register_forward_hook(note))
    with torch.no_grad():
        network.eval()(*arguments)
    for hook in hooks:
        hook.remove()
    set_integer(network)


def set_integer(network):
    """Switch a network to integers whose scales are known."""
    network.layers()[-1].last = True
    for layer in network.layers():
        layer.integer = True


def _quantile(x, share):
    flat = x.detach().flatten()
    rest = max(1, round((1 - share) * flat.numel()))
    return torch.topk(flat, rest).values[-1].clamp_min(1e-6)
