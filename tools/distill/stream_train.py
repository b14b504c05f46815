"""Train networks for streams, by knowledge distillation from SEA-64; several structures at once on the same material.

All networks see the same batches, so they are compared at equal training. Near the end of the training they turn to
integers (`--integers-from`). `last.pt` holds everything that is needed to continue after an interruption, `averages.pt`
the networks so far (averaged weights), and `curve.tsv` the learning curve. To continue, start this step again with the
same arguments.
"""

import argparse
import copy
import os
import sys
import time
from pathlib import Path

import torch

from .audio import PACKAGES, SR, read_packages
from .integers import set_integer
from .network import distillation_loss, fuse, load_network
from .scores import agreement
from .stream_draw import draw_batch, load_bank
from .stream_evaluate import environmental, material
from .stream_network import StreamNetwork, Structure, load_average, multiplications
from .train import learning_rate

SEPARATE = (3, 3, 3, 3, 3, 3, 1, 1)  # the last convolutions see one column each
STRUCTURES = {
    "plain": Structure(views="loud", head=()),
    "loud": Structure(views="loud"),
    "offset": Structure(views="offset"),
    "both": Structure(),
    "twice": Structure(views="twice"),
    "causal": Structure(views="loud", causal=True),
    "early": Structure(time_pool=1),
    "separate": Structure(spans=SEPARATE),
    "columns": Structure(spans=(3, 3, 3, 3, 1, 1, 1, 1)),
    "deep": Structure(spans=SEPARATE, head=(96, 96, 64)),
    "large": Structure(filters=(12, 12, 24, 24, 64, 96, 96, 64), spans=SEPARATE, head=(96, 96, 64)),
    "final-loud": Structure(views="loud", filters=(8, 8, 16, 16, 64, 96, 96, 96), spans=SEPARATE, head=(96, 96, 64)),
    "final-both": Structure(filters=(8, 8, 16, 16, 64, 96, 96, 96), spans=SEPARATE, head=(96, 96, 64)),
    "final-causal": Structure(
        views="loud", causal=True, filters=(8, 8, 16, 16, 64, 96, 96, 96), spans=SEPARATE, head=(96, 96, 64)
    ),
}
COLUMNS = ["name", "minutes", "steps", "lr", "loss", "val_cosine", "val_p5", "val_error", "all_cosine", "all_p5"]
COSINE = 6  # how much 1 - cosine counts in the loss
MOMENTS = 8  # batches that give mean and spread of the teacher's embeddings


class Student:
    """A network in training, and its average."""

    def __init__(self, network, peak):
        self.network, self.peak, self.loss = network, peak, None
        self.average = copy.deepcopy(network).requires_grad_(False)
        cuda = next(network.parameters()).is_cuda
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=0.0, fused=cuda)

    def step(self, batch, scale, lr, decay):
        """Make one step of the optimiser."""
        self.network.train()
        answer = self.network(batch.power, batch.windows)
        answer = torch.where(batch.sounding[:, :, None], answer, batch.target).flatten(0, 1)
        loss = distillation_loss(answer, batch.target.flatten(0, 1), scale, COSINE)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * self.peak
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        old, new = floats(self.average), floats(self.network)
        torch._foreach_lerp_(old, new, 1 - decay)
        self.loss = loss.detach() if self.loss is None else self.loss.lerp(loss.detach(), 0.01)

    def start_integers(self, batch):
        """Continue from the average, in integers."""
        with torch.no_grad():
            self.network.load_state_dict(self.average.state_dict())
            self.network.start_integers(batch.power, batch.windows)
        self.average = copy.deepcopy(self.network).requires_grad_(False)


def floats(network):
    """Return the parameters and statistics of a network."""
    return [value for value in network.state_dict().values() if value.is_floating_point()]


def new_students(args, mean, std):
    """Return the students, untrained, by name."""
    students = {}
    for name in args.structures:
        if args.start:
            network = load_average(args.start, name).train().requires_grad_(True)
        else:
            network = StreamNetwork(STRUCTURES[name], args.seed)
            network.start_at(mean.cpu(), std.cpu())
        students[name] = Student(network.to(args.device, memory_format=torch.channels_last), args.lr)
    return students


def save(path, content):
    """Write a file, completely or not at all."""
    torch.save(content, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def save_state(args, students, counters, rng):
    """Write `last.pt` and `averages.pt`."""
    states, averages = {}, {}
    for name, student in students.items():
        states[name] = (student.network.state_dict(), student.optimiser.state_dict(), student.loss)
        averages[name] = {
            "structure": tuple(student.network.structure),
            "integer": student.network.integer(),
            "state": {key: value.cpu() for key, value in student.average.state_dict().items()},
            "counters": counters,
        }
    save(args.out / "averages.pt", averages)
    save(args.out / "last.pt", {"students": states, "averages": averages, "counters": counters, "rng": rng.get_state()})


def load_state(args, students, rng):
    """Read `last.pt` into new students; return the counters."""
    content = torch.load(args.out / "last.pt", weights_only=True, map_location="cpu")
    for name, student in students.items():
        network, optimiser, student.loss = content["students"][name]
        if content["averages"][name]["integer"]:
            set_integer(student.network)
            set_integer(student.average)
        student.network.load_state_dict(network)
        student.optimiser.load_state_dict(optimiser)
        student.average.load_state_dict(content["averages"][name]["state"])
    rng.set_state(content["rng"])
    return content["counters"]


def score(student, val, groups):
    """Compare the average with the teacher: agreement on environmental sounds, cosines on all."""
    student.average.eval()
    with torch.no_grad(), torch.backends.cudnn.flags(benchmark=False, allow_tf32=True):  # each stream has its length
        answer = torch.cat([student.average(batch.power, batch.windows)[0] for batch in val]).cpu().numpy()
    target = torch.cat([batch.target[0] for batch in val]).cpu().numpy()
    return (*agreement(answer[groups], target[groups]), *agreement(answer, target)[:2])


def train(args, bank, teacher, val, log):
    """Train until `args.steps` steps or `args.seconds` seconds, whichever comes first; return the students.

    Parameters
    ----------
    args : argparse.Namespace
        What `parse_arguments` returns.
    bank : Bank
    teacher : callable
    val : (list of Batch, np.ndarray)
        Windows that track the training, and which of them are environmental sounds.
    log : callable, str -> None
    """
    args.out.mkdir(parents=True, exist_ok=True)
    rng = torch.Generator(device=args.device).manual_seed(args.seed)
    batches = [draw_batch(bank, teacher, args.batch, args.windows, rng) for _ in range(MOMENTS)]
    target = torch.cat([batch.target[batch.sounding] for batch in batches])
    mean, scale = target.mean(dim=0), target.std(dim=0)
    scale = scale.clamp_min(1e-3 * float(scale.max()))
    students = new_students(args, mean, scale)
    for name in args.structures:
        log(f"{name}: {multiplications(STRUCTURES[name]) / 1e6:.1f} MMAC/s, {STRUCTURES[name]}")
    counters = {"steps": 0, "seconds": 0.0}
    if (args.out / "last.pt").exists():
        counters = load_state(args, students, rng)
    clock, next_look = time.time() - counters["seconds"], counters["seconds"] + args.every
    while True:
        counters["seconds"] = time.time() - clock
        progress = max(counters["steps"] / args.steps, counters["seconds"] / args.seconds)
        done = progress >= 1.0
        if done or counters["seconds"] >= next_look:
            record(args, students, counters, val, progress, log)
            save_state(args, students, counters, rng)
            next_look = counters["seconds"] + args.every
        if done:
            return students
        batch = draw_batch(bank, teacher, args.batch, args.windows, rng)
        if progress >= args.integers_from:
            for student in students.values():
                if not student.network.integer():
                    student.start_integers(batch)
        decay = min(args.decay, (1 + counters["steps"]) / (10 + counters["steps"]))
        for student in students.values():
            student.step(batch, scale, learning_rate(progress, 1.0), decay)
        counters["steps"] += 1


def record(args, students, counters, val, progress, log):
    """Score all students, and add a line for each to the learning curve."""
    with open(args.out / "curve.tsv", "a") as file:
        if file.tell() == 0:
            file.write("\t".join(COLUMNS) + "\n")
        for name, student in students.items():
            figures = score(student, *val)
            lr = learning_rate(progress, student.peak)
            row = [name, f"{counters['seconds'] / 60:.2f}", str(counters["steps"]), f"{lr:.2e}"]
            row += [f"{float(student.loss):.4f}"] + [f"{value:.4f}" for value in figures]
            file.write("\t".join(row) + "\n")
            log("  ".join(row))


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tools.distill.stream_train", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="folder with the decoded audio")
    parser.add_argument("--teacher", type=Path, required=True, help="SEA-64, as h5 or npz")
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--structures", type=lambda text: text.split(","), required=True, help=", ".join(STRUCTURES))
    parser.add_argument("--start", type=Path, help="averages.pt of a run whose networks are trained further")
    parser.add_argument("--steps", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--batch", type=int, default=64, help="streams of ten seconds")
    parser.add_argument("--windows", type=int, default=24, help="windows of each stream")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.998, help="decay of the averaged weights per step")
    parser.add_argument("--integers-from", type=float, default=0.7, help="share of the training, from 0 to 1")
    parser.add_argument("--every", type=float, default=60, help="seconds between scores on the validation windows")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True  # exact for integers of 8 bits
    packages = read_packages(args.packages)
    teacher = fuse(load_network(args.teacher)).to(args.device)

    def log(text):
        print(text, file=sys.stderr, flush=True)

    begin = time.time()
    bank = load_bank(args.cache, packages, args.device)
    val, names = material(args.cache, packages, ["val"], teacher, args.device)
    log(f"{len(bank.samples) / SR / 3600:.2f} h, {len(names)} validation windows, {time.time() - begin:.0f} s")
    torch.backends.cudnn.benchmark = True
    train(args, bank, teacher, (val, environmental(names)), log)


if __name__ == "__main__":
    main()
