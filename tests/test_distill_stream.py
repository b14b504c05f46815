"""Tests of the tools that train a network for streams, on generated audio and tiny networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training tools need PyTorch (the extra 'train')")

from edgel3_np.features.mel import mel_filterbank  # noqa: E402
from tools.distill import (  # noqa: E402
    audio,
    integers,
    network,
    shards,
    stream_draw,
    stream_evaluate,
    stream_export,
    stream_reference,
    stream_train,
    stream_views,
    synthetic,
)
from tools.distill.stream_network import StreamNetwork, Structure, load_average, multiplications  # noqa: E402

TEACHER = [4, 4, 8, 8, 16, 16, 16, 12]
SPANS = (3, 3, 3, 3, 3, 3, 1, 1)
TINY = {
    "causal": Structure((2, 2, 4, 4, 6, 8, 8, 6), SPANS, views="loud", causal=True, head=(7, 12)),
    "twice": Structure((2, 2, 4, 4, 6, 8, 8, 6), views="twice", head=(12,)),
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Make a folder with two decoded 'packages'; return it and the list of packages."""
    folder, rng = tmp_path_factory.mktemp("stream"), np.random.default_rng(0)
    (folder / "clips").mkdir()
    for package in ("alpha", "beta"):
        clips = [synthetic.synthetic(int(rng.integers(3000, 20000)), rng).astype(np.float32) for _ in range(5)]
        clips = [clip + np.float32(1e-3) for clip in clips]
        audio.write_clips(folder / "clips" / f"{package}.npz", [f"{i}.wav" for i in range(5)], clips)
    return folder, [{"package": "alpha", "role": "train"}, {"package": "beta", "role": "val"}]


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(1)
    net = network.Network(TEACHER, bias=True).eval()
    net.norms[0].running_mean.fill_(-24.0)
    net.norms[0].running_var.fill_(361.0)
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def run(cache, teacher):
    """Train two structures, with an interruption; return the arguments, the students and the messages."""
    folder, packages = cache
    torch.set_num_threads(1)
    patch = pytest.MonkeyPatch()
    patch.setattr(stream_train, "STRUCTURES", TINY)
    patch.setattr(stream_train, "MOMENTS", 2)
    bank = stream_draw.load_bank(folder, packages, "cpu", made=10)
    val, names = stream_evaluate.material(folder, packages, ["val"], teacher, "cpu")
    assert {package for package, _ in names} == {"beta"}
    line = (
        f"--cache {folder} --teacher x --out {folder}/run --structures causal,twice --batch 2 --windows 8 --every 1e9"
    )
    messages = []
    for steps in (8, 24):  # the second call continues from the checkpoint of the first
        args = stream_train.parse_arguments([*line.split(), "--steps", str(steps), "--integers-from", str(16 / steps)])
        groups = np.arange(len(names)) % 2 == 0
        students = stream_train.train(args, bank, teacher, (val, groups), messages.append)
    patch.undo()
    return args, students, messages


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory, teacher):
    """Return the path of the trained causal network as an npz, and the same network in torch."""
    path = tmp_path_factory.mktemp("npz") / "tiny.npz"
    net = load_average(run[0].out / "averages.pt", "causal")
    stream_export.write(path, stream_reference.Integers(stream_export.to_layers(net), stream_export.silence(teacher)))
    return path, net


def embed(net, samples):
    """Embed all windows of a signal with a network in torch: (m,) -> (n, dim)."""
    count = stream_evaluate.clip_count(samples)
    padded = np.pad(samples, (0, 16000 - len(samples) % 800))
    with torch.no_grad():
        power = stream_views.stream_power(torch.from_numpy(padded)[None], stream_views.filterbank())
        return net(power, torch.arange(count)[None])[0].numpy()


def noise(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(int(8000 * seconds))


def test_windows_are_those_of_the_package():
    samples = noise(2.0) * np.hanning(16000) ** 8
    windows = shards.clip_windows(samples)
    expected = shards.log_mel(windows, mel_filterbank(network.FRONTEND).astype(np.float64), np.float32)
    numbers = torch.arange(len(windows))[None]
    seconds = stream_views.window_samples(torch.from_numpy(samples)[None], numbers)
    assert np.array_equal(seconds.numpy(), windows)
    found = stream_views.window_log_mel(seconds, stream_views.filterbank())[:, 0].numpy()
    assert np.abs(found - expected).max() < 1e-4
    assert stream_evaluate.clip_count(samples) == len(windows)


@pytest.mark.parametrize("causal", [False, True])
def test_levels_are_those_of_the_windows_that_hold_a_column(causal):
    power = torch.rand(1, 5 * 30, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 8
    peak = power.view(30, -1).amax(dim=1).tolist()
    window = [max(peak[max(0, end - 9) : end + 1]) for end in range(39)]  # that end with each column, and later
    found = stream_views.levels(power, causal)
    for column in range(30):
        holding = [window[column]] if causal else window[column : column + 10]
        assert found.window[0, column] == window[column]
        assert (found.loud[0, column], found.quiet[0, column]) == (max(holding), min(holding))


def test_steps_of_a_level():
    power = torch.tensor([0.0, 1e-16, 1e-9, 1.0, 2.0], dtype=torch.float64)
    assert stream_views.steps(power, torch.ones(5)).tolist() == [0, 0, 112, 255, 255]
    assert stream_views.distance(power, torch.full((5,), 1e-9)).tolist() == [0, 0, 0, 143, 148]
    assert stream_views.steps(torch.zeros(1), torch.zeros(1)).tolist() == [0]


def test_streams_are_drawn_from_the_clips(cache):
    folder, packages = cache
    bank = stream_draw.load_bank(folder, packages, "cpu", made=0)
    one, two = (stream_draw.draw_streams(bank, 6, 24000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == (6, 24000) and one.any(dim=1).all()
    whole = bank._replace(samples=torch.ones_like(bank.samples))
    track = stream_draw.draw_tracks(whole, 6, 24000, torch.Generator().manual_seed(3))
    for row in track:  # each clip has one level, and the gaps are silent
        levels, count = torch.unique(row[row != 0].float(), return_counts=True)
        assert (count > 100).sum() <= stream_draw.CLIPS and len(levels) > 0


def test_a_mixture_has_the_wanted_level():
    signal, other = torch.from_numpy(noise(1)[None]), torch.from_numpy(7 * noise(1, 1)[None])
    mixed = stream_draw.add(signal, other, torch.tensor([[-20.0]]), torch.tensor([[True]]))
    assert (mixed - signal).square().sum() == pytest.approx(0.01 * signal.square().sum())
    assert torch.equal(stream_draw.add(signal, other, torch.zeros(1, 1), torch.tensor([[False]])), signal)


def test_training_resumes_and_ends_in_integers(run):
    args, students, messages = run
    curve = [line.split("\t") for line in (args.out / "curve.tsv").read_text().splitlines()]
    assert curve[0] == stream_train.COLUMNS
    assert [(row[0], row[2]) for row in curve[1:]] == [(name, n) for n in ("8", "24") for name in ("causal", "twice")]
    losses = [float(row[4]) for row in curve[1:]]
    assert losses[2] < losses[0] and losses[3] < losses[1]
    assert all(layer.integer for student in students.values() for layer in student.network.layers())
    assert "causal" in messages[0]


def test_the_reference_has_the_bytes_of_the_trained_network(exported):
    path, net = exported
    layers = stream_reference.read(path)
    samples = np.concatenate(
        [noise(1.1), np.zeros(9000), 0.01 * noise(0.4, 1), [0.5], np.zeros(3000), 0.1 * noise(0.37, 2)]
    )
    expected = embed(net, samples)
    sounding = np.array([window.any() for window in shards.clip_windows(samples)])
    found = stream_reference.embed(layers, samples)
    assert found.dtype == np.float32 and found.shape == expected.shape and not sounding.all()
    assert np.array_equal(found[sounding], expected[sounding])
    assert np.ptp(found[sounding], axis=0).any()


def test_silence_has_the_teachers_embedding(exported, teacher):
    layers = stream_reference.read(exported[0])
    samples = np.concatenate([noise(0.3), np.zeros(20000)])
    windows = shards.clip_windows(samples)
    found = stream_reference.embed(layers, samples)
    for row, window in zip(found, windows):
        assert np.array_equal(row, layers.silence) == (not window.any())
    expected = shards.embed(teacher, np.zeros((1, 64, 50)))
    assert np.allclose(layers.silence, expected, atol=1e-5)
    assert stream_reference.embed(layers, np.zeros(0)).shape == (1, 12)


@pytest.mark.parametrize("gain", [2.0**-20, 2.0**15])
def test_the_level_does_not_matter(exported, gain):
    layers, samples = stream_reference.read(exported[0]), noise(1.5) * np.linspace(0, 1, 12000) ** 4
    assert np.array_equal(stream_reference.embed(layers, samples * gain), stream_reference.embed(layers, samples))


def test_how_far_a_window_sees(exported):
    layers, samples, number = stream_reference.read(exported[0]), noise(8.0), 40
    whole = stream_reference.embed(layers, samples)[number]
    first, last = 800 * (number - 17) - 432, 800 * (number + 5) + 2832  # samples
    for kept in (np.arange(len(samples)) >= first, np.arange(len(samples)) < last):
        assert np.array_equal(stream_reference.embed(layers, samples * kept)[number], whole)
    other = np.where(np.arange(len(samples)) < 800 * (number + 5) - 800, samples, 50 * samples)
    assert not np.array_equal(stream_reference.embed(layers, other)[number], whole)


def test_sums_stay_exact():
    layer = integers.Layer(400, 2, (3, 3))
    with torch.no_grad():
        layer.conv.weight.copy_(1.0 + 0.1 * torch.rand(layer.conv.weight.shape))
    layer.integer = True
    weight, factor, bias = (value.detach().numpy() for value in layer.constants(0.1))
    assert np.array_equal(weight, np.rint(weight)) and 0 < np.abs(weight).max() < 127
    exact = stream_reference.Layer(weight.astype(np.int8), factor.ravel(), bias[:, 0])
    assert stream_reference.largest_sums(stream_reference.Integers((exact,), None))[0] < 2**24


@pytest.mark.parametrize("structure", TINY.values())
def test_multiplications_are_counted(structure):
    net, total = StreamNetwork(structure), []
    for layer in net.layers():
        layer.conv.register_forward_hook(
            lambda conv, _, y: total.append(y.numel() * conv.weight[0].numel()),
        )
    with torch.no_grad():
        net(torch.rand(1, 5 * 40, 64, dtype=torch.float64), torch.arange(10)[None])
    trunk = len(net.trunk)  # they see four seconds; the head sees ten windows
    assert multiplications(structure) == sum(total[:trunk]) / 4 + sum(total[trunk:])
