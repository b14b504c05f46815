"""Draw training material for streams: clips in a row, mixed, filtered and cut, and the teacher's answers.

All of it runs in torch on the device that trains. Signals are in double precision, because the front end sees 160 dB.
"""

from typing import NamedTuple

import numpy as np
import torch

from .audio import SR
from .shards import load_training_clips
from .stream_views import HOP, filterbank, stream_power, window_log_mel, window_samples
from .synthetic import synthetic

CLIPS = 10  # clips in a row, at most
LEAST = 2.0**-30  # steps in which signals are stored: what filters leave of silence is silence


class Bank(NamedTuple):
    """All training clips, end to end."""

    samples: torch.Tensor  # (n,), float32
    starts: torch.Tensor  # (clips,), int64
    lengths: torch.Tensor  # (clips,), int64
    chances: torch.Tensor  # (clips,), float32


class Batch(NamedTuple):
    """Some streams and some windows in each."""

    power: torch.Tensor  # (b, frames, mels), float64
    windows: torch.Tensor  # (b, w), int64
    target: torch.Tensor  # (b, w, dim): the teacher's embeddings
    sounding: torch.Tensor  # (b, w), bool: not silent for the teacher


def load_bank(cache, packages, device, made=800, seed=0):
    """Read all training clips, and make some synthetic ones, an eighth of what is drawn."""
    clips, chances = load_training_clips(cache, packages)
    rng = np.random.default_rng(seed)
    clips = clips + [synthetic(int(SR * rng.uniform(0.5, 4)), rng).astype(np.float32) for _ in range(made)]
    chances = np.concatenate([chances * 7 / 8, np.full(made, 1 / 8 / max(1, made))])
    lengths = torch.tensor([len(clip) for clip in clips])
    samples = torch.from_numpy(np.concatenate(clips)).to(device)
    starts = torch.cumsum(lengths, 0) - lengths
    return Bank(samples, starts.to(device), lengths.to(device), torch.from_numpy(chances).float().to(device))


def draw_tracks(bank, b, n, rng):
    """Draw streams of clips in a row, at random levels and speeds, some with gaps between: (b, n), float64."""
    device = bank.samples.device

    def uniform(*shape):
        return torch.rand(shape, generator=rng, device=device)

    chosen = torch.multinomial(bank.chances, b * CLIPS, replacement=True, generator=rng).view(b, CLIPS)
    lengths = bank.lengths[chosen]
    part = torch.minimum(lengths, (SR * (1 + 9 * uniform(b, CLIPS))).long())
    first = ((lengths - part + 1) * uniform(b, CLIPS)).long()
    speed = torch.where(uniform(b, 1) < 0.4, 2.0 ** (uniform(b, 1) - 0.5), 1.0).double()
    taken = (part / speed).ceil().long()
    gap = torch.where(uniform(b, CLIPS) < 0.5, 1.5 * SR * uniform(b, CLIPS), 0.0).long()
    spread = torch.where(uniform(b, 1) < 0.5, 6.0, 18.0)  # dB
    gain = 10.0 ** (torch.randn((b, CLIPS), generator=rng, device=device) * spread / 20)
    begin = torch.cumsum(taken + gap, 1) - taken
    begin -= (torch.where(uniform(b) < 0.5, uniform(b), 0.0) * taken[:, 0]).long()[:, None]
    time = torch.arange(n, device=device).expand(b, n).contiguous()
    slot = (torch.searchsorted(begin, time, right=True) - 1).clamp_min(0)
    place = (time - begin.gather(1, slot)) * speed
    inside = (place >= 0) & (place < part.gather(1, slot))
    whole = place.floor()
    signal = _between(bank, chosen.gather(1, slot), first.gather(1, slot) + whole.long(), place - whole)
    signal = torch.where(inside, signal * gain.gather(1, slot), 0.0)
    return torch.where(uniform(b, 1) < 0.1, signal.flip(1), signal)


def _between(bank, clip, at, fraction):
    """Interpolate between samples `at` and `at + 1` of clips with a cubic through four samples."""
    last, start = bank.lengths[clip] - 1, bank.starts[clip]
    a, b, c, d = (bank.samples[start + torch.minimum((at + k).clamp_min(0), last)].double() for k in (-1, 0, 1, 2))
    inner = 2 * a - 5 * b + 4 * c - d + fraction * (3 * (b - c) + d - a)
    return b + 0.5 * fraction * (c - a + fraction * inner)


def equalise(signal, rng):
    """Filter four streams in ten as `shards.random_equaliser` does: smooth gains, some low or high cuts."""
    b, n = signal.shape
    device = signal.device

    def uniform(low, high):
        return low + (high - low) * torch.rand((b, 1), generator=rng, device=device)

    f = torch.log2((torch.arange(n // 2 + 1, device=device) * (SR / n)).clamp_min(20.0))
    place = (f - f[0]) / (f[-1] - f[0]) * 5
    left = place.floor().long().clamp_max(4)
    points = 8.0 * torch.randn((b, 6), generator=rng, device=device)
    gain = points[:, left] + (place - left) * (points[:, left + 1] - points[:, left])
    low = uniform(6, 48) * (uniform(5, 9.5) - f).clamp_min(0.0)
    high = uniform(6, 96) * (f - uniform(9, 12)).clamp_min(0.0)
    gain = gain - torch.where(uniform(0, 1) < 0.3, low, 0.0) - torch.where(uniform(0, 1) < 0.3, high, 0.0)
    filtered = torch.fft.irfft(torch.fft.rfft(signal) * 10.0 ** (gain.clamp_min(-150.0) / 20).double(), n)
    return torch.where(uniform(0, 1) < 0.4, filtered, signal)


def add(signal, other, level, chosen):
    """Add `other` to the chosen streams, at levels in dB relative to the energy of the streams."""
    energy, added = signal.square().sum(1, keepdim=True), other.square().sum(1, keepdim=True)
    factor = torch.sqrt(energy / added.clamp_min(1e-30) * 10.0 ** (level / 10))
    factor = torch.where((energy > 0) & (added > 0), factor, 1.0)
    return signal + torch.where(chosen, other * factor, 0.0)


def coloured_noise(b, n, rng, device):
    """Draw noise whose power falls as 1 / f ** a, with a from 0 to 2: (b, n), float64."""
    white = torch.randn((b, n), generator=rng, device=device, dtype=torch.float64)
    f = torch.arange(n // 2 + 1, device=device, dtype=torch.float64).clamp_min(1.0)
    slope = torch.rand((b, 1), generator=rng, device=device, dtype=torch.float64)
    return torch.fft.irfft(torch.fft.rfft(white) * f**-slope, n)


def draw_streams(bank, b, n, rng):
    """Draw streams with all that can happen to them: (b, n), float64."""
    device = bank.samples.device

    def uniform(low, high):
        return low + (high - low) * torch.rand((b, 1), generator=rng, device=device)

    signal = equalise(draw_tracks(bank, b, n, rng), rng)
    signal = add(signal, draw_tracks(bank, b, n, rng), uniform(-30, 10), uniform(0, 1) < 0.35)
    signal = add(signal, coloured_noise(b, n, rng, device), uniform(-60, 0), uniform(0, 1) < 0.25)
    ends = torch.sort(torch.rand((b, 2), generator=rng, device=device) * n, dim=1).values
    time = torch.arange(n, device=device)
    cut = (time >= ends[:, :1]) & (time < ends[:, 1:]) & (uniform(0, 1) < 0.1)
    return torch.round(torch.where(cut, 0.0, signal) / LEAST) * LEAST


def draw_batch(bank, teacher, b, w, rng, columns=100):
    """Draw streams and the teacher's answers for some windows of each.

    Parameters
    ----------
    bank : Bank
    teacher : callable, (n, 1, mels, frames) -> (n, dim)
    b, w : int
        Streams; windows in each.
    rng : torch.Generator
    columns : int
        Length of a stream, in tenths of a second.

    Returns
    -------
    batch : Batch
    """
    with torch.no_grad():
        samples = draw_streams(bank, b, columns * HOP, rng)
        windows = torch.rand((b, columns + 1), generator=rng, device=samples.device).argsort(dim=1)[:, :w]
        return look(samples, windows, teacher)


def look(samples, windows, teacher):
    """Return the batch of given streams (b, 800 * n), float64, and windows (b, w)."""
    mel = filterbank(samples.device)
    log_mel = window_log_mel(window_samples(samples, windows), mel)
    target = teacher(log_mel.contiguous(memory_format=torch.channels_last)).view(*windows.shape, -1)
    sounding = log_mel.flatten(1).any(dim=1).view(windows.shape)
    return Batch(stream_power(samples, mel), windows, target, sounding)
