"""Step 6: compare a student with the teacher on recordings that training never saw.

Windows are those that `edgel3_np.embed` computes by default: hop 0.1 s, centred. Without `--student`, this step only
computes and stores the windows of the validation packages, which the trainer uses to measure its progress
(`--cache-val`).
"""

import argparse
import copy
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from edgel3_np.features.mel import mel_filterbank

from .audio import FRONTEND, PACKAGES, read_clips, read_packages
from .labels import label_clips, read_labels
from .scores import agreement, pooled, probe_accuracy
from .shards import clip_windows, embed, log_mel

MUSIC_AND_SPEECH = {"speech", "music", "drum", "instrument", "bass", None}  # None: menus, jingles and the like


def windows_of(cache, packages, roles, teacher, mel):
    """Compute log-mel spectrograms and the teacher's embeddings of every clip of the packages with some roles.

    Yields
    ------
    package, name : str
    logmel : np.ndarray [shape=(n, 64, 50), float16]
    embedding : np.ndarray [shape=(n, 64), float32]
    """
    for row in packages:
        if row["role"] in roles:
            for name, samples in read_clips(Path(cache) / "clips" / f"{row['package']}.npz"):
                logmel = log_mel(clip_windows(samples), mel)
                yield row["package"], name, logmel, embed(teacher, logmel)


def sounding(logmel):
    """Return which windows are not digital silence, on which any two networks agree: (n, 64, 50) -> (n,)."""
    return logmel.any(axis=(1, 2))


def cache_validation(path, found, limit):
    """Write windows for the trainer: every n-th of those that sound, at most `limit`; return their number."""
    logmel = np.concatenate([item[2][sounding(item[2])] for item in found])
    embedding = np.concatenate([item[3][sounding(item[2])] for item in found])
    step = max(1, -(-len(logmel) // limit))
    with open(f"{path}.tmp", "wb") as file:
        np.savez(file, logmel=logmel[::step], embedding=embedding[::step])
    os.replace(f"{path}.tmp", path)
    return len(logmel[::step])


def report(found, student, labels):
    """Compute figures for each package, each class, all sounds that are neither speech nor music, and all sounds.

    Silent windows are left out.

    Parameters
    ----------
    found : list of (package, name, logmel, embedding)
    student : callable
        Maps log-mel spectrograms (n, 64, 50) to embeddings (n, dim).
    labels : list of (str or None)
        Class of each clip.

    Returns
    -------
    figures : dict
        Package, 'class CLASS', 'environmental' or 'all' -> clips, windows, cosine, p5, error.
    """
    answers = [student(logmel)[sounding(logmel)] for _, _, logmel, _ in found]
    targets = [embedding[sounding(logmel)] for _, _, logmel, embedding in found]
    members = {}
    for i, ((package, _, _, _), label) in enumerate(zip(found, labels)):
        keys = [package, f"class {label}", "all"] + ["environmental"] * (label not in MUSIC_AND_SPEECH)
        for key in keys:
            members.setdefault(key, []).append(i)
    figures = {}
    for key in sorted(members):
        chosen = members[key]
        embedding = np.concatenate([answers[i] for i in chosen])
        cosine, p5, error = agreement(embedding, np.concatenate([targets[i] for i in chosen]))
        figures[key] = {"clips": len(chosen), "windows": len(embedding), "cosine": cosine, "p5": p5, "error": error}
    return figures


def probes(found, student, labels):
    """Compute the accuracy of linear probes on the pooled embeddings of the teacher and of the student.

    Parameters
    ----------
    found : list of (package, name, logmel, embedding)
    student : callable
    labels : list of (str or None)
        Class of each clip; a clip with None is left out.

    Returns
    -------
    figures : dict
        clips, classes, chance; teacher and student: accuracies, averaged over ten divisions into folds; difference_std:
        the standard deviation of their difference.
    """
    chosen = [i for i, label in enumerate(labels) if label is not None]
    names = np.array([labels[i] for i in chosen])
    groups = np.array(
        [hashlib.sha256(found[i][2].tobytes()).hexdigest() for i in chosen]
    )  # some packages hold a file twice
    sides = {
        "teacher": np.stack([pooled(found[i][3]) for i in chosen]),
        "student": np.stack([pooled(student(found[i][2])) for i in chosen]),
    }
    runs = {
        side: [probe_accuracy(features, names, groups, seed=seed) for seed in range(10)]
        for side, features in sides.items()
    }
    counts = np.unique(names, return_counts=True)[1]
    return {
        "clips": len(chosen),
        "classes": len(counts),
        "chance": float(counts.max() / len(chosen)),
        **{side: float(np.mean(values)) for side, values in runs.items()},
        "difference_std": float(np.std(np.subtract(runs["teacher"], runs["student"]))),
    }


def load_student(path):
    """Load a student from a weight file or from a checkpoint of the trainer; return a function for `report`."""
    if str(path).endswith(".npz"):
        whole = load_whole(path)
        if whole:
            return whole
        from .network import load_network

        network = load_network(path)
    else:
        from .export import averaged

        network = averaged(path)
    from .network import fold

    run = fold(copy.deepcopy(network))
    return lambda logmel: embed(run, logmel)


def load_whole(path):
    """Return a function for `report` of a network of whole numbers, computed with this package; None for others."""
    from edgel3_np import load_model
    from edgel3_np.network.forward import Workspace, forward

    from .quantise import STEP, TOP_DB

    network = load_model(path).network
    work = Workspace(network)
    return network.exact and (lambda logmel: forward(work, np.rint((logmel.astype(np.float32) + TOP_DB) / STEP)))


def main():
    parser = argparse.ArgumentParser(prog="python -m tools.distill.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    parser.add_argument("--role", choices=("val", "test"), nargs="+", default=["val"])
    parser.add_argument("--cache-val", type=Path, help="write the windows for the trainer here")
    parser.add_argument("--limit", type=int, default=4000, help="windows for the trainer")
    parser.add_argument("--student", type=Path, help="weight file (npz) or checkpoint (pt)")
    parser.add_argument("--probe", action="store_true", help="compare linear probes on the classes of labels.tsv, too")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    import torch

    from .network import fold, load_network

    torch.set_num_threads(args.threads)
    mel = mel_filterbank(FRONTEND).astype(np.float64)
    teacher = fold(load_network(args.teacher))
    found = list(windows_of(args.cache, read_packages(args.packages), args.role, teacher, mel))
    if args.cache_val:
        count = cache_validation(args.cache_val, found, args.limit)
        print(f"{count} windows of {len(found)} clips", file=sys.stderr)
    if args.student:
        student = load_student(args.student)
        labels = label_clips([item[:2] for item in found], read_labels())
        result = {"agreement": report(found, student, labels)}
        if args.probe:
            result["probe"] = probes(found, student, labels)
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
