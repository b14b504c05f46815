"""Tests of the training tools, end to end, on generated audio and a tiny network."""

import argparse
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training tools need PyTorch (the extra 'train')")
soundfile = pytest.importorskip("soundfile")

from edgel3_np import load_model  # noqa: E402
from edgel3_np.features.mel import mel_filterbank  # noqa: E402
from tools.distill import audio, evaluate, export, network, pruning, scores, shards, synthetic, train  # noqa: E402
from tools.distill.labels import label_clips, read_labels  # noqa: E402

FILTERS = [4, 4, 8, 8, 16, 16, 16, 16]
KEPT = 3000  # the network has 9,108 weights


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Make a folder with two decoded 'packages'; return it and the list of packages."""
    folder, rng = tmp_path_factory.mktemp("distill"), np.random.default_rng(0)
    (folder / "clips").mkdir()
    for package in ("alpha", "beta"):
        clips = [synthetic.synthetic(20000, rng).astype(np.float32) + 1e-3 for _ in range(6)]
        audio.write_clips(folder / "clips" / f"{package}.npz", [f"{i}.wav" for i in range(6)], clips)
    return folder, [{"package": "alpha", "role": "train"}, {"package": "beta", "role": "val"}]


@pytest.fixture(scope="module")
def teacher():
    """Make a random network with the structure of a teacher."""
    torch.manual_seed(1)
    net = network.Network(FILTERS, bias=True).eval()
    net.norms[0].running_mean.fill_(-24.0)
    net.norms[0].running_var.fill_(361.0)
    return network.fold(net)


@pytest.fixture(scope="module")
def run(cache, teacher):
    """Train; return the state, the arguments, the validation windows, an early loss and the messages."""
    folder, packages = cache
    torch.set_num_threads(1)
    mel = mel_filterbank(network.FRONTEND).astype(np.float64)
    clips, chances = shards.load_training_clips(folder, packages)
    assert len(clips) == 6 and chances.sum() == pytest.approx(1)
    (folder / "shards").mkdir()
    for number in range(2):
        shards.write_shard(folder / "shards", number, *shards.make_shard(number, 192, clips, chances, teacher, mel))
    found = list(evaluate.windows_of(folder, packages, ["val"], teacher, mel))
    evaluate.cache_validation(folder / "val.npz", found, 64)
    args = train.parse_arguments(
        f"--shards {folder}/shards --val {folder}/val.npz --out {folder}/run --windows 2400 --batch 32 --every 1e9 "
        f"--kept {KEPT} --filters {','.join(map(str, FILTERS))} --prune-stop 0.6 --norm-windows 384".split()
    )
    with np.load(args.val) as data:
        val = data["logmel"], data["embedding"]
    messages = []
    first = argparse.Namespace(**{**vars(args), "windows": 320, "kept": 10**6})
    train.train(first, train.Pool(args.shards), val, messages.append)
    loss = torch.load(folder / "run" / "last.pt", weights_only=True)["counters"]["loss"]
    state = train.train(args, train.Pool(args.shards), val, messages.append)  # it continues from the checkpoint
    return state, args, found, loss, messages


def test_loss_falls_and_training_resumes(run):
    state, args, _, first_loss, _ = run
    assert state[4]["windows"] == 2400
    assert state[4]["loss"] < 0.8 * first_loss
    curve = (args.out / "curve.tsv").read_text().splitlines()
    assert curve[0].split("\t") == train.COLUMNS
    assert [line.split("\t")[1] for line in curve[1:]] == ["320", "2400"]


def test_pruned_weights_are_zero(run):
    student, _, masks, _, _ = run[0]
    assert sum(int(mask.sum()) for mask in masks) == KEPT
    best = export.averaged(run[1].out / "best.pt")
    for net in (student, best):
        for conv, mask in zip(net.convs, masks):
            assert not conv.weight[mask == 0].any()


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-4), (np.float16, 5e-3)])
def test_exported_file_gives_the_students_embeddings(run, tmp_path, dtype, tolerance):
    student = export.averaged(run[1].out / "best.pt")
    provenance = {"source": {"file": "test"}, "license": "none", "citation": "none"}
    export.write(tmp_path / "tiny.npz", export.to_weights(student, "tiny", provenance, dtype))
    model = load_model(tmp_path / "tiny.npz")
    samples = np.random.default_rng(3).standard_normal(12000)
    embedding = model.embed(samples, 8000)[0]
    logmel = shards.log_mel(
        shards.clip_windows(samples), mel_filterbank(network.FRONTEND).astype(np.float64), np.float32
    )
    expected = shards.embed(student, logmel)
    assert embedding.shape == expected.shape == (11, FILTERS[-1])
    assert np.abs(embedding - expected).max() <= tolerance * np.abs(expected).max()
    again = network.load_network(tmp_path / "tiny.npz")
    assert np.abs(shards.embed(network.fold(again), logmel) - embedding).max() <= 1e-4 * np.abs(expected).max()


def test_report(run):
    found, labels = run[2], ["bird"] * 3 + ["speech"] * 3
    figures = evaluate.report(found, evaluate.load_student(run[1].out / "best.pt"), labels)
    assert figures["all"] == figures["beta"] and figures["all"]["clips"] == 6
    assert figures["environmental"] == figures["class bird"] and figures["class bird"]["clips"] == 3
    perfect = evaluate.report(found, lambda logmel: next(e for _, _, x, e in found if x is logmel), labels)
    assert perfect["all"]["cosine"] == pytest.approx(1) and perfect["all"]["error"] == 0


def test_probes_of_equal_embeddings_are_equal():
    rng = np.random.default_rng(0)
    found = [("p", f"{i}", rng.random((64, 50, 3)).T, rng.random((3, 4)) + i % 2) for i in range(40)]
    figures = evaluate.probes(
        found, lambda x: next(e for _, _, y, e in found if x is y), ["a", "b"] * 19 + [None, None]
    )
    assert figures["teacher"] == figures["student"] > 0.9
    assert (figures["clips"], figures["classes"], figures["chance"]) == (38, 2, 0.5)


def test_a_probe_tells_classes_apart():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 40)
    features = rng.standard_normal((120, 10)) + 3 * (labels[:, None] == np.array(["a", "b", "c"])) @ np.eye(3, 10)
    assert scores.probe_accuracy(features, labels, np.arange(120)) > 0.9
    assert scores.probe_accuracy(features, rng.permutation(labels), np.arange(120)) < 0.6


def test_a_pruned_weight_stays_pruned():
    torch.manual_seed(0)
    weights = [torch.randn(8, 4, 3, 3), 10 * torch.randn(4, 8, 3, 3)]
    masks = [torch.ones_like(weight) for weight in weights]
    alive = None
    for kept in (400, 200, 300, 100):
        pruning.update_masks(weights, masks, kept)
        now = torch.cat([mask.flatten() for mask in masks])
        assert alive is None or (now <= alive).all()
        alive = now
    assert alive.sum() == 100
    assert all(mask.any() for mask in masks)  # no layer is empty, although they differ in scale


def test_teacher_is_read_from_a_weight_file(run, tmp_path):
    student = export.averaged(run[1].out / "best.pt")
    provenance = {"source": {}, "license": "", "citation": ""}
    export.write(tmp_path / "tiny.npz", export.to_weights(student, "tiny", provenance, np.float32))
    x = torch.randn(2, 1, 64, 50) * 10 - 30
    with torch.inference_mode():
        assert torch.allclose(network.load_network(tmp_path / "tiny.npz")(x), student(x), atol=1e-4)


def test_sounds_are_decoded():
    content = io.BytesIO()
    soundfile.write(content, np.sin(np.arange(44100) / 20), 44100, format="WAV")
    assert audio.decode(content.getvalue()).shape == (8000,)
    assert audio.decode(b"not a sound").shape == (0,)
    assert [name for name, _ in audio._waves(b"xx" + content.getvalue() + b"yy")] == ["/2"]


def test_the_lists_of_packages_and_labels_agree():
    packages = audio.read_packages()
    roles = {row["package"]: row["role"] for row in packages}
    assert len(roles) == len(packages) and set(roles.values()) == {"train", "val", "test"}
    assert all(row["version"] and row["license"] and float(row["minutes"]) > 0 for row in packages)
    assert {package for package, _, _ in read_labels()} <= {p for p, role in roles.items() if role != "train"}
    assert label_clips([("minetest-data", "x/default_dirt_footstep.1.ogg")], read_labels()) == ["footstep"]


def test_whole_numbers_of_a_student(run, cache, tmp_path):
    """Steps 5 and 6: the calibration draws the same windows again; whole numbers are near to the trained ones."""
    from edgel3_np.network.forward import Workspace, forward
    from edgel3_np.weights.format import load_weights, save_weights
    from tools.distill import quantise

    student = export.averaged(run[1].out / "best.pt")
    path = tmp_path / "float.npz"
    weights = export.to_weights(student, "student", {"source": {}, "license": "MIT", "citation": "none"})
    save_weights(path, weights)
    folder, packages = cache
    logmel = quantise.calibration_windows(folder, packages, 16)
    assert logmel.tobytes() == quantise.calibration_windows(folder, packages, 16).tobytes()
    tops = quantise.top_activations(path, logmel)
    assert len(tops) == 7 and min(tops) > 0
    save_weights(tmp_path / "whole.npz", quantise.to_whole(load_weights(path), tops))
    student = evaluate.load_student(tmp_path / "whole.npz")
    expected = forward(Workspace(load_model(path).network), logmel)
    assert scores.cosines(student(logmel), expected).mean() > 0.99
