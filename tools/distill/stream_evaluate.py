"""Compare a network for streams with the teacher, by the same measures as `evaluate`, on the same windows.

Each clip is a stream of its own, between zeros. The network is that of `stream_reference`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from edgel3_np.audio.framing import count_windows
from edgel3_np.features.mel import mel_filterbank

from . import stream_reference
from .audio import FRONTEND, PACKAGES, SR, read_clips, read_packages
from .evaluate import MUSIC_AND_SPEECH, probes, report, windows_of
from .labels import label_clips, read_labels
from .network import fold, load_network
from .stream_draw import Batch, look
from .stream_views import HOP

GAP, LONGEST = 30, 600  # columns of silence between clips, and of one stream


def clip_count(samples):
    """Return the number of windows that edgel3_np.embed makes of a clip at a hop of 0.1 s, centred."""
    return count_windows(len(samples), SR, HOP, SR // 2)


def material(cache, packages, roles, teacher, device):
    """Put the clips of some packages into long streams, with gaps of silence.

    Returns
    -------
    batches : list of Batch
        One stream each, with all windows of its clips that are not silent.
    names : list of (str, str)
        Package and clip of each window.
    """
    clips = []
    for row in packages:
        if row["role"] in roles:
            for name, samples in read_clips(Path(cache) / "clips" / f"{row['package']}.npz"):
                clips.append(((row["package"], name), samples))
    batches, names, stream = [], [], []
    for index, (clip, samples) in enumerate(clips):
        stream.append((clip, samples))
        if index + 1 == len(clips) or sum(len(part) for _, part in stream) >= LONGEST * HOP:
            batch, found = _one_stream(stream, teacher, device)
            batches.append(batch)
            names += found
            stream = []
    return batches, names


def _one_stream(clips, teacher, device):
    windows, names, parts, at = [], [], [], 0
    for name, samples in clips:
        count = clip_count(samples)
        parts.append(np.pad(samples.astype(np.float64), (0, (count + GAP) * HOP - len(samples))))
        windows.append(np.arange(count) + at)
        names += [name] * count
        at += count + GAP
    samples = torch.from_numpy(np.concatenate(parts))[None].to(device)
    with torch.no_grad():
        batch = look(samples, torch.from_numpy(np.concatenate(windows))[None].to(device), teacher)
    kept = batch.sounding[0]
    batch = Batch(batch.power, batch.windows[:, kept], batch.target[:, kept], batch.sounding[:, kept])
    return batch, [name for name, keep in zip(names, kept.tolist()) if keep]


def environmental(names):
    """Return which windows belong to clips that are neither speech nor music: shape (n,), bool."""
    labels = label_clips(names, read_labels())
    return np.array([label not in MUSIC_AND_SPEECH for label in labels], bool)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tools.distill.stream_evaluate", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    parser.add_argument("--role", choices=("val", "test"), nargs="+", default=["val"])
    parser.add_argument("--student", type=Path, required=True, help="npz from stream_export")
    parser.add_argument("--probe", action="store_true", help="compare linear probes on the classes of labels.tsv, too")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    packages = read_packages(args.packages)
    teacher = fold(load_network(args.teacher))
    found = list(windows_of(args.cache, packages, args.role, teacher, mel_filterbank(FRONTEND).astype(np.float64)))
    network, answers = stream_reference.read(args.student), {}
    clips = {
        (row["package"], name): samples
        for row in packages
        if row["role"] in args.role
        for name, samples in read_clips(args.cache / "clips" / f"{row['package']}.npz")
    }
    for package, name, log_mel, _ in found:
        answers[id(log_mel)] = stream_reference.embed(network, clips[package, name])
    labels = label_clips([item[:2] for item in found], read_labels())
    result = {"agreement": report(found, lambda log_mel: answers[id(log_mel)], labels)}
    if args.probe:
        result["probe"] = probes(found, lambda log_mel: answers[id(log_mel)], labels)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
