"""What the network for streams sees: frames of the whole stream, their levels, and the columns of each window.

A **frame** f is centred on sample 80 + 160 f. A **column** c is five frames, 5 c to 5 c + 4, and 800 samples, 800 c to
800 c + 799. A **window** i is ten columns, i - 5 to i + 4: the 8000 samples around sample 800 i, as `edgel3_np.embed`
centres them at a hop of 0.1 s. Outside the signal there are zeros. No step here depends on the level of the signal: all
levels are ratios of powers.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch.nn import functional

from edgel3_np.features.mel import mel_filterbank

from .audio import FRONTEND, SR

HOP = SR // 10  # samples in a column
FRAMES = HOP // FRONTEND.hop_length  # frames in a column
COLUMNS = 10  # columns in a window
MARGIN = 10  # columns computed before and after the signal
STEPS = 255 / 80.0  # of 8 bits: from 0, which is 80 units or more below a level, to 255, at the level
TINY = 1e-300  # a power that no sound has


class Levels(NamedTuple):
    """Largest powers, per column of the stream and per window that ends there."""

    window: torch.Tensor  # (b, columns), float64: of the ten columns that end with this one
    loud: torch.Tensor  # (b, columns): of the loudest window that holds the column
    quiet: torch.Tensor  # (b, columns): of the quietest


@lru_cache(maxsize=2)
def filterbank(device="cpu"):
    """Return the mel filterbank: shape (bins, mels), float64."""
    return torch.from_numpy(mel_filterbank(FRONTEND)).double().to(device)


def frame_power(padded, mel):
    """Compute mel powers of frames 160 samples apart: (b, m) -> (b, frames, mels), float64."""
    n_fft, hop_length = FRONTEND.n_fft, FRONTEND.hop_length
    hann = torch.hann_window(n_fft, periodic=True, dtype=torch.float64, device=padded.device)
    parts = []
    frames = padded.unfold(1, n_fft, hop_length)
    for part in frames.split(max(1, (1 << 16) // len(padded)), dim=1):
        spectrum = torch.fft.rfft(part * hann)
        parts.append((spectrum.real**2 + spectrum.imag**2) @ mel)
    return torch.cat(parts, dim=1)


def stream_power(samples, mel):
    """Compute mel powers of a signal and of `MARGIN` columns around it.

    Parameters
    ----------
    samples : torch.Tensor [shape=(b, 800 * n), float64]
    mel : torch.Tensor
        From `filterbank`.

    Returns
    -------
    power : torch.Tensor [shape=(b, 5 * (n + 2 * MARGIN), mels), float64]
        The first frame belongs to column -MARGIN.
    """
    pad = MARGIN * HOP + (FRONTEND.n_fft - FRONTEND.hop_length) // 2
    return frame_power(functional.pad(samples, (pad, pad)), mel)


def window_samples(samples, windows):
    """Take windows out of signals: (b, 800 * n) and their numbers (b, w), 0 to n -> (b * w, 8000), float64."""
    half = COLUMNS // 2 * HOP
    views = functional.pad(samples, (half, half)).unfold(1, COLUMNS * HOP, HOP)  # (b, n + 1, 8000)
    return torch.gather(views, 1, windows[:, :, None].expand(-1, -1, views.shape[2])).flatten(0, 1)


def window_log_mel(seconds, mel):
    """Compute the teacher's log-mel spectrograms: (b, 8000), float64 -> (b, 1, mels, frames), float32, -80 to 0."""
    pad = FRONTEND.pad_left
    power = frame_power(functional.pad(seconds, (pad, pad)), mel)
    level = 5.0 * torch.log10(power.clamp_min(1e-20))
    level = (level - level.amax(dim=(1, 2), keepdim=True)).clamp_min(-80.0)
    return level.transpose(1, 2)[:, None].float()


def levels(power, causal):
    """Compute the levels of all columns; causal levels know only the window that ends with the column."""
    peak = power.unflatten(1, (-1, FRAMES)).amax(dim=(2, 3))  # (b, columns)
    ending = functional.pad(peak, (COLUMNS - 1, COLUMNS - 1)).unfold(1, COLUMNS, 1).amax(dim=2)
    window = ending[:, : peak.shape[1]]
    if causal:
        return Levels(window, window, window)
    holding = ending.unfold(1, COLUMNS, 1)  # the ten windows that hold a column
    return Levels(window, holding.amax(dim=2), holding.amin(dim=2))


def steps(power, level):
    """Return powers in 8 bits below a level: 0 (80 units or more below it, or silence) to 255, as float32."""
    ratio = (power / level.clamp_min(TINY)).clamp(1e-30, 1.0)
    return torch.where(power > 0, (255 + STEPS * 5 * torch.log10(ratio)).round().clamp_min(0), 0).float()


def distance(upper, lower):
    """Return how far one level lies above another, in the same steps: 0 (not above) to 255, as float32."""
    ratio = (upper / lower.clamp_min(TINY)).clamp(1.0, 1e30)
    return torch.where(upper > 0, (STEPS * 5 * torch.log10(ratio)).round().clamp_max(255), 0).float()


def view(power, level):
    """Return frames relative to the level of their columns: (b, frames, mels), (b, columns) -> (b, 1, mels, frames)."""
    return steps(power, level.repeat_interleave(FRAMES, dim=1)[:, :, None]).transpose(1, 2)[:, None]


def window_columns(windows):
    """Return where the columns of windows are in a stream with its margin: (b, w) -> (b, w, 10)."""
    first = windows + MARGIN - COLUMNS // 2
    return first[:, :, None] + torch.arange(COLUMNS, device=windows.device)


def offsets(found, columns):
    """Return the levels of a window's columns relative to the window, in 8-bit steps.

    Parameters
    ----------
    found : Levels
    columns : torch.Tensor [shape=(b, w, 10)]
        From `window_columns`.

    Returns
    -------
    offsets : torch.Tensor [shape=(b, w, 2, 10), float32]
        How far the loud level lies above the window's, and the window's above the quiet level.
    """
    b, w, n = columns.shape
    loud, quiet = (level.gather(1, columns.view(b, -1)).view(b, w, n) for level in (found.loud, found.quiet))
    own = found.window.gather(1, columns[:, :, -1])[:, :, None]
    return torch.stack([distance(loud, own), distance(own, quiet)], dim=2)
