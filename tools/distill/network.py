"""The networks in torch: one definition for teacher and student, and the loss between them."""

import warnings

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgel3_np.released.convert import convert_file
from edgel3_np.weights.format import BATCH_NORM_EPSILON, load_weights
from edgel3_np.weights.sparse import to_dense

from .audio import FRONTEND

LOGMEL_MEAN, LOGMEL_STD = -24.0, 19.0  # statistics of the training windows
POOLED = (1, 3, 5)  # a 2x2 max-pool follows these convolutions


class Network(nn.Module):
    """The network of the SEA models with any numbers of filters.

    It has an input batch norm of one channel; eight 3x3 convolutions, each with batch norm and ReLU; 2x2 max-pools
    after the second, fourth and sixth; and a global max-pool.

    Parameters
    ----------
    filters : sequence of 8 int
    bias : bool
        Whether the convolutions have a bias. Before a batch norm it is redundant, so the student trains without one;
        the teacher has one.
    """

    def __init__(self, filters, bias=False):
        super().__init__()
        self.filters = tuple(filters)
        channels = (1,) + self.filters
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, eps=BATCH_NORM_EPSILON, momentum=0.02) for c in channels)
        self.convs = nn.ModuleList(nn.Conv2d(c, out, 3, padding=1, bias=bias) for c, out in zip(channels, channels[1:]))

    def forward(self, logmel):
        """Embed log-mel spectrograms: (b, 1, mels, frames) -> (b, filters[-1])."""
        x = self.norms[0](logmel)
        for index, (conv, norm) in enumerate(zip(self.convs, self.norms[1:])):
            x = functional.relu(norm(conv(x)), inplace=True)
            if index in POOLED:
                x = functional.max_pool2d(x, 2)
        return x.amax(dim=(2, 3))


def new_student(filters, mean, std, seed=0):
    """Make an untrained student whose embeddings have about the right mean and spread.

    The last batch norm starts at those values, because a step of Adam moves it by a thousandth and the teacher's
    embeddings are large.

    Parameters
    ----------
    filters : sequence of 8 int
    mean, std : torch.Tensor [shape=(filters[-1],)]
        Statistics of the teacher's embeddings.
    seed : int

    Returns
    -------
    student : Network
    """
    torch.manual_seed(seed)
    student = Network(filters)
    for conv in student.convs:
        nn.init.kaiming_normal_(conv.weight)
    with torch.no_grad():
        student.norms[0].running_mean.fill_(LOGMEL_MEAN)
        student.norms[0].running_var.fill_(LOGMEL_STD**2)
        student.norms[-1].weight.copy_(
            2.0 * std
        )  # the largest of 48 normal numbers is about 2.2, with a standard deviation of 0.5
        student.norms[-1].bias.copy_(mean - 2.2 * 2.0 * std)
    return student.to(memory_format=torch.channels_last)


def load_network(path):
    """Read a network, teacher or exported student, from a Keras file or from an npz of this package.

    Parameters
    ----------
    path : str or Path
        `edgel3_sea_ust_audio_emb_64.h5` as released (or its h5.gz), or a weight file.

    Returns
    -------
    network : Network
        In evaluation mode.
    """
    weights = load_weights(path) if str(path).endswith(".npz") else convert_file(path)[0]
    network = Network(weights.filters, bias=True).eval()
    with torch.no_grad():
        for conv, kernel, bias in zip(network.convs, weights.kernels, weights.biases):
            conv.weight.copy_(torch.from_numpy(to_dense(kernel).transpose(3, 2, 0, 1).copy()))
            conv.bias.copy_(torch.from_numpy(bias.copy()))
        for norm, values in zip(network.norms, weights.norms):
            for target, value in zip((norm.weight, norm.bias, norm.running_mean, norm.running_var), values):
                target.copy_(torch.from_numpy(value.copy()))
    return network.requires_grad_(False)


def fuse(network):
    """Fold the batch norms into the convolutions.

    The input norm stays: zero padding follows its shift, so it cannot be folded.

    Returns
    -------
    run : nn.Sequential, (b, 1, mels, frames) -> (b, dim)
    """
    layers = [network.norms[0]]
    for index, (conv, norm) in enumerate(zip(network.convs, network.norms[1:])):
        layers += [fuse_conv_bn_eval(conv.eval(), norm.eval()), nn.ReLU()]
        if index in POOLED:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)


def fold(network):
    """Fold the batch norms into the convolutions and compile for inference on a CPU.

    Returns
    -------
    run : callable, (b, 1, mels, frames) -> (b, dim)
    """
    run = fuse(network)
    example = torch.zeros(32, 1, FRONTEND.n_mels, FRONTEND.n_frames).contiguous(memory_format=torch.channels_last)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated, but a third faster here
        return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(run, example)))


def distillation_loss(embedding, target, scale, weight=2):
    """Compute the squared error in units of the teacher's spread, plus `weight` times (1 - cosine).

    Parameters
    ----------
    embedding, target : torch.Tensor [shape=(b, dim)]
    scale : torch.Tensor [shape=(dim,)]
        Standard deviation of the teacher's embeddings.
    weight : float

    Returns
    -------
    loss : torch.Tensor [shape=()]
    """
    error = ((embedding - target) / scale).square().mean()
    return error + weight * (1 - functional.cosine_similarity(embedding, target, dim=1, eps=1e-6).mean())


def count_macs(filters):
    """Count the multiply-accumulate operations of the dense convolutions per window."""
    channels, pixels = (1,) + tuple(filters), (3200, 3200, 800, 800, 192, 192, 48, 48)
    return sum(9 * c * out * size for c, out, size in zip(channels, channels[1:], pixels))
