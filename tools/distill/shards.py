"""Step 2: make training windows with the teacher's embeddings, in shards on disk.

A shard is two files: `00012.x.npy`, log-mel spectrograms (float16, (windows, 64, 50)), and `00012.y.npy`, the
teacher's embeddings of the same rounded spectrograms (float32, (windows, 64)). Its number is its seed. The trainer uses
all shards that it finds and looks for new ones, so they can be made while it runs. This step can be stopped and started
again.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from edgel3_np.audio.framing import windows
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.features.mel import mel_bands, mel_filterbank

from .audio import FRONTEND, PACKAGES, SR, read_clips, read_packages
from .synthetic import coloured_noise, synthetic

FRONTEND_BATCH = 32


def random_window(clips, chances, rng):
    """Draw one second of a random clip, at a random speed and with a random equaliser.

    The second may start before the clip and end after it, in silence, as windows at the ends of a recording do.

    Parameters
    ----------
    clips : list of np.ndarray [shape=(n,), float32]
    chances : np.ndarray [shape=(len(clips),)]
        Probability of each clip.
    rng : np.random.Generator

    Returns
    -------
    window : np.ndarray [shape=(8000,), float64]
    """
    clip = clips[rng.choice(len(clips), p=chances)]
    speed = 2.0 ** rng.uniform(-0.5, 0.5) if rng.random() < 0.4 else 1.0
    n = int(SR * speed) // 2 * 2
    start = int(rng.integers(-n // 2, max(1, len(clip) - n // 2)))
    window = np.zeros(n)
    part = clip[max(start, 0) : max(start + n, 0)]
    window[max(-start, 0) : max(-start, 0) + len(part)] = part
    equalise = rng.random() < 0.4
    if n != SR or equalise:  # both are cheap in the Fourier domain
        spectrum = np.fft.rfft(window)
        wanted = np.zeros(SR // 2 + 1, complex)
        keep = min(len(spectrum), len(wanted))
        wanted[:keep] = spectrum[:keep] * (SR / n)
        window = np.fft.irfft(wanted * random_equaliser(rng) if equalise else wanted, SR)
    return window[::-1] if rng.random() < 0.1 else window


def random_equaliser(rng):
    """Draw a smooth random gain over frequency, sometimes with low or high frequencies cut: shape (4001,)."""
    f = np.log2(np.maximum(np.arange(SR // 2 + 1), 20.0))
    points = np.linspace(f[0], f[-1], 6)
    gain = np.interp(f, points, rng.normal(0.0, 8.0, 6))  # dB
    if rng.random() < 0.3:
        gain -= rng.uniform(6, 48) * np.maximum(rng.uniform(5, 9.5) - f, 0.0)  # dB per octave below a corner
    if rng.random() < 0.3:
        gain -= rng.uniform(6, 96) * np.maximum(f - rng.uniform(9, 12), 0.0)
    return 10.0 ** (np.maximum(gain, -150.0) / 20)


def mix(window, other, level):
    """Add `other` at a level in dB relative to the energy of `window`."""
    energy, added = np.sum(window**2), np.sum(other**2)
    if energy == 0 or added == 0:
        return window + other
    return window + other * np.sqrt(energy / added * 10.0 ** (level / 10))


def draw(clips, chances, rng):
    """Draw one training window: a recording (seven times in eight) or a synthetic signal, perhaps mixed or noisy."""
    window = synthetic(SR, rng) if rng.random() < 1 / 8 else random_window(clips, chances, rng)
    if rng.random() < 0.35:
        window = mix(window, random_window(clips, chances, rng), rng.uniform(-30, 10))
    if rng.random() < 0.25:
        window = mix(window, coloured_noise(SR, rng), rng.uniform(-60, 0))
    if rng.random() < 0.05:
        cut = int(rng.integers(SR))
        window = window * (np.arange(SR) < cut if rng.random() < 0.5 else np.arange(SR) >= cut)
    return window


def load_training_clips(cache, packages):
    """Read the clips of the packages for training, and the probability of each.

    Packages are weighted by the square root of their minutes, clips by their length up to ten seconds.
    """
    clips, chances = [], []
    for row in packages:
        if row["role"] == "train":
            found = [samples for _, samples in read_clips(Path(cache) / "clips" / f"{row['package']}.npz")]
            weights = np.array([min(len(samples), 10 * SR) for samples in found], float)
            if len(found):
                clips += found
                chances += list(weights / weights.sum() * np.sqrt(sum(len(samples) for samples in found)))
    chances = np.array(chances)
    return clips, chances / chances.sum()


def log_mel(seconds, mel, dtype=np.float16):
    """Compute log-mel spectrograms as edgel3_np does, rounded to `dtype`: (n, 8000) -> (n, 64, 50)."""
    bands = mel_bands(mel)
    parts = [seconds[i : i + FRONTEND_BATCH] for i in range(0, len(seconds), FRONTEND_BATCH)]
    return np.concatenate([log_mel_spectrogram(part, FRONTEND, bands) for part in parts]).astype(dtype)


def embed(run, logmel, batch=32):
    """Compute embeddings with a network in torch: (n, 64, 50) -> (n, dim), float32."""
    import torch

    out = []
    with torch.inference_mode():
        for i in range(0, len(logmel), batch):
            x = torch.from_numpy(np.asarray(logmel[i : i + batch], np.float32))[:, None]
            out.append(run(x.contiguous(memory_format=torch.channels_last)).numpy())
    return np.concatenate(out)


def clip_windows(samples, hop=SR // 10):
    """Cut the windows that edgel3_np embeds by default, hop 0.1 s and centred: shape (n, 8000)."""
    batches = windows([np.asarray(samples, np.float64)], SR, hop, SR // 2, 64)
    return np.concatenate([np.array(batch) for batch in batches])


def write_shard(folder, number, logmel, embedding):
    """Write a shard: the embeddings last, so that a shard that has them is complete."""
    for suffix, array in (("x", logmel), ("y", embedding)):
        temporary = Path(folder) / f"{number:05d}.{suffix}.tmp"
        with open(temporary, "wb") as file:
            np.save(file, array)
        os.replace(temporary, temporary.with_suffix(".npy"))


def make_shard(number, size, clips, chances, teacher, mel):
    """Draw `size` windows with seed `number`; return their log-mel spectrograms and the teacher's embeddings."""
    rng = np.random.default_rng(number)
    logmel = log_mel(np.stack([draw(clips, chances, rng) for _ in range(size)]), mel)
    return logmel, embed(teacher, logmel)


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.shards", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder with the decoded audio")
    parser.add_argument("--teacher", type=Path, required=True, help="SEA-64, as h5 or npz")
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="shards")
    parser.add_argument("--step", type=int, default=1, help="number of processes that share the work")
    parser.add_argument("--size", type=int, default=2048, help="windows per shard")
    args = parser.parse_args()

    import torch

    from .network import fold, load_network

    torch.set_num_threads(1)
    teacher = fold(load_network(args.teacher))
    clips, chances = load_training_clips(args.cache, read_packages(args.packages))
    mel = mel_filterbank(FRONTEND).astype(np.float64)
    folder = args.cache / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.first + args.count * args.step, args.step):
        if not (folder / f"{number:05d}.y.npy").exists():
            write_shard(folder, number, *make_shard(number, args.size, clips, chances, teacher, mel))
            print(f"shard {number}: {args.size} windows", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
