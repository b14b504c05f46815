"""Step 3: train a student on the shards and prune it while it trains.

`run/last.pt` holds everything that is needed to continue after an interruption. `run/best.pt` holds the best network
with its final number of weights, and `run/curve.tsv` holds the learning curve. To continue, start this step again with
the same arguments.
"""

import argparse
import copy
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from .network import count_macs, distillation_loss, fold, new_student
from .pruning import apply_masks, density, update_masks
from .scores import agreement
from .shards import embed

COLUMNS = ["minutes", "windows", "lr", "weights", "loss", "val_cosine", "val_p5", "val_error"]


class Pool:
    """The shards that exist so far, mapped into memory."""

    def __init__(self, folder):
        self.folder, self.names, self.logmels, self.targets = Path(folder), set(), [], []
        self.refresh()

    def refresh(self):
        """Look for new shards."""
        for path in sorted(self.folder.glob("*.y.npy")):
            if path.name not in self.names:
                self.names.add(path.name)
                self.targets.append(np.load(path))
                self.logmels.append(np.load(str(path).replace(".y.", ".x."), mmap_mode="r"))

    def draw(self, n, rng):
        """Draw random windows: (n, 1, mels, frames) and (n, dim), float32."""
        shards = rng.integers(len(self.targets), size=n)
        rows = [rng.integers(len(self.targets[shard])) for shard in shards]
        x = np.stack([self.logmels[shard][row] for shard, row in zip(shards, rows)]).astype(np.float32)
        y = np.stack([self.targets[shard][row] for shard, row in zip(shards, rows)])
        return torch.from_numpy(x)[:, None].contiguous(memory_format=torch.channels_last), torch.from_numpy(y)

    def moments(self):
        """Compute mean and standard deviation (at least a thousandth of the largest) of the targets: shapes (dim,)."""
        targets = np.concatenate(self.targets)
        std = targets.std(axis=0)
        return torch.from_numpy(targets.mean(axis=0)), torch.from_numpy(np.maximum(std, 1e-3 * std.max()))


def reestimate_norms(network, pool, rng, windows, size=128):
    """Set the statistics of the batch norms to plain averages over `windows` training windows."""
    momenta = [norm.momentum for norm in network.norms]
    for norm in network.norms[1:]:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    network.train()
    network.norms[0].eval()
    with torch.no_grad():
        for _ in range(max(1, windows // size)):
            network(pool.draw(size, rng)[0])
    for norm, momentum in zip(network.norms, momenta):
        norm.momentum = momentum
    network.eval()


def learning_rate(progress, peak):
    """Return the learning rate: linear warm-up for 2 % of the training, then a cosine down to 1 % of the peak."""
    warm = 0.02
    if progress < warm:
        return peak * (0.05 + 0.95 * progress / warm)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm) / (1 - warm)))))


def new_state(args, mean, std):
    """Return the student, its average, the masks, the optimiser and the counters of a new run."""
    student = new_student(args.filters, mean, std, args.seed)
    average = copy.deepcopy(student).requires_grad_(False)
    masks = [torch.ones_like(conv.weight) for conv in student.convs]
    optimiser = torch.optim.AdamW(student.parameters(), lr=args.lr, weight_decay=0.0)
    counters = {"windows": 0, "seconds": 0.0, "loss": 0.0, "best": -1.0, "rng": np.random.default_rng(args.seed)}
    return student, average, masks, optimiser, counters


def save_state(path, args, state):
    """Write a checkpoint, completely or not at all."""
    student, average, masks, optimiser, counters = state
    content = {
        "filters": list(args.filters),
        "student": student.state_dict(),
        "average": average.state_dict(),
        "masks": masks,
        "optimiser": optimiser.state_dict(),
        "counters": {**counters, "rng": counters["rng"].bit_generator.state},
        "args": {key: str(value) for key, value in vars(args).items()},
    }
    torch.save(content, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def load_state(path, args, mean, std):
    """Read a checkpoint; return the same as `new_state`."""
    content = torch.load(path, weights_only=True)
    args.filters = content["filters"]
    student, average, _, optimiser, counters = new_state(args, mean, std)
    student.load_state_dict(content["student"])
    average.load_state_dict(content["average"])
    optimiser.load_state_dict(content["optimiser"])
    rng = counters["rng"]
    rng.bit_generator.state = content["counters"]["rng"]
    return student, average, content["masks"], optimiser, {**content["counters"], "rng": rng}


def train_step(student, average, masks, optimiser, batch, scale, decay):
    """Make one step of the optimiser, set pruned weights to zero, and return the loss."""
    student.train()
    student.norms[0].eval()  # its statistics are fixed; its scale and shift are trained
    x, y = batch
    loss = distillation_loss(student(x), y, scale)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(student.parameters(), 5.0)
    optimiser.step()
    apply_masks([conv.weight for conv in student.convs], masks)
    with torch.no_grad():
        for mean, value in zip(average.parameters(), student.parameters()):
            mean.lerp_(value, 1 - decay)
    return float(loss.detach())


def train(args, pool, val, log):
    """Train until `args.windows` windows or `args.minutes` minutes, whichever comes first.

    Parameters
    ----------
    args : argparse.Namespace
        What `parse_arguments` returns.
    pool : Pool
    val : tuple of np.ndarray
        Log-mel spectrograms (n, 64, 50) and the teacher's embeddings (n, 64), which measure the progress.
    log : callable, str -> None

    Returns
    -------
    state : tuple
        The same as `new_state` returns.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    last, curve = args.out / "last.pt", args.out / "curve.tsv"
    mean, scale = pool.moments()
    state = load_state(last, args, mean, scale) if last.exists() else new_state(args, mean, scale)
    student, average, masks, optimiser, counters = state
    weights = [conv.weight for conv in student.convs]
    total = sum(weight.numel() for weight in weights)
    step = counters["windows"] // args.batch
    log(f"filters {args.filters}: {total} weights, {count_macs(args.filters) / 1e6:.1f} MMAC; scale {scale.mean():.3f}")
    clock, next_look = time.time() - counters["seconds"], counters["seconds"] + args.every
    while True:
        counters["seconds"] = time.time() - clock
        progress = max(counters["windows"] / args.windows, counters["seconds"] / 60 / args.minutes)
        done = progress >= 1.0
        if done or counters["seconds"] >= next_look:
            row = look(args, state, pool, val, progress)
            with open(curve, "a") as file:
                if file.tell() == 0:
                    file.write("\t".join(COLUMNS) + "\n")
                file.write("\t".join(row) + "\n")
            log("  ".join(f"{name} {value}" for name, value in zip(COLUMNS, row)))
            save_state(last, args, state)
            pool.refresh()
            next_look = counters["seconds"] + args.every
        if done:
            return state
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress, args.lr)
        if step % 10 == 0:
            share = density(progress, args.prune_start, args.prune_stop, min(1.0, args.kept / total))
            update_masks(weights, masks, round(share * total))
        decay = min(args.decay, (1 + step) / (10 + step))
        loss = train_step(student, average, masks, optimiser, pool.draw(args.batch, counters["rng"]), scale, decay)
        counters["loss"] += (loss - counters["loss"]) * max(0.005, 1 / (step + 1))
        counters["windows"] += args.batch
        step += 1


def look(args, state, pool, val, progress):
    """Score the averaged network on the validation windows, save it if it is the best; return a row of the curve."""
    student, average, masks, optimiser, counters = state
    apply_masks([conv.weight for conv in average.convs], masks)
    reestimate_norms(average, pool, np.random.default_rng(0), args.norm_windows)
    cosine, p5, error = agreement(embed(fold(copy.deepcopy(average)), val[0]), val[1])
    alive = sum(int(mask.sum()) for mask in masks)
    if alive <= args.kept and cosine + p5 > counters["best"]:
        counters["best"] = cosine + p5
        save_state(args.out / "best.pt", args, state)
    minutes, lr = counters["seconds"] / 60, optimiser.param_groups[0]["lr"]
    return [
        f"{minutes:.1f}", str(counters["windows"]), f"{lr:.2e}", str(alive), f"{counters['loss']:.4f}",
        f"{cosine:.4f}", f"{p5:.4f}", f"{error:.3f}",
    ]  # fmt: skip


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tools.distill.train", description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, help="folder with the training shards")
    parser.add_argument("--val", type=Path, required=True, help="npz of validation windows, from evaluate --cache-val")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--filters", type=lambda text: [int(f) for f in text.split(",")], required=True)
    parser.add_argument("--kept", type=int, default=50_000, help="non-zero weights of the finished network")
    parser.add_argument("--windows", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.998, help="decay of the averaged weights per step")
    parser.add_argument("--prune-start", type=float, default=0.2, help="share of the training, from 0 to 1")
    parser.add_argument("--prune-stop", type=float, default=0.65)
    parser.add_argument("--every", type=float, default=240, help="seconds between scores on the validation windows")
    parser.add_argument(
        "--norm-windows", type=int, default=3072, help="windows for the statistics of the batch norms at each score"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    with np.load(args.val) as data:
        val = data["logmel"], data["embedding"]
    train(args, Pool(args.shards), val, lambda text: print(text, file=sys.stderr, flush=True))


if __name__ == "__main__":
    main()
