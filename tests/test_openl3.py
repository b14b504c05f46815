"""OpenL3's models and interface: parity on every golden file, and what upstream documents."""

import glob
import inspect
import os
import warnings

import factory
import numpy as np
import oracles
import pytest
import soundfile

import edgel3_np
from edgel3_np import EdgeL3Error, openl3
from edgel3_np.melspectrogram import melspectrogram
from edgel3_np.metadata import OPENL3, RELEASED
from edgel3_np.network import forward, workspace
from edgel3_np.resample import resample
from edgel3_np.weights import load_weights, save_weights, to_dense

NAMES = ["openl3-mel256-music", "openl3-mel128-env", "openl3-linear-env"]
RECORDINGS = ["chirp_1s", "chirp_44k", "chirp_stereo", "dog_bark", "silence", "short"]


@pytest.fixture(scope="module", params=NAMES)
def case(request, shared, converted):
    with np.load(shared / "golden" / f"{request.param}.npz") as golden:
        return request.param, edgel3_np.load_model(converted(request.param)), dict(golden)


def read(shared, recording):
    """The first three seconds, of which the golden files are."""
    (path,) = glob.glob(str(shared / "audio" / f"{recording}.*"))
    samples, sr = soundfile.read(path, always_2d=True)
    return samples[: 3 * sr], sr


@pytest.mark.parametrize("recording", RECORDINGS)
def test_parity(case, recording, shared):
    name, model, golden = case
    samples, sr = read(shared, recording)
    keys = [key for key in golden if key.startswith(f"{recording}|dim") and key.endswith("embedding")]
    assert len(keys) == 3
    smallest, done = {}, {}
    for key in keys:
        _, dim, center, hop, _ = key.split("|")
        if (center, hop) not in done:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", edgel3_np.EdgeL3Warning)
                done[center, hop] = model.embed(samples, sr, hop_size=float(hop[4:]), center=center == "center=1")
        found, timestamps = done[center, hop]
        if dim == "dim=512":  # the same map, summed up by its maximum: `test_models_of_several_sizes`
            found = found.reshape(-1, 12, 512).max(axis=1)
        a, b = found.astype(np.float64), golden[key].astype(np.float64)
        assert a.shape == b.shape
        np.testing.assert_array_equal(timestamps, golden[key.replace("embedding", "timestamps")])
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        smallest[dim] = min(smallest.get(dim, 1.0), cosines.min())
    print(f"{name:20} {recording:13} smallest cosine {smallest}")
    assert min(smallest.values()) >= 0.999999


def test_spectrograms(case, shared):
    """Of the first window: the same but for the rounding of logarithms, and of sums over mel bands."""
    name, model, golden = case
    net = model.network
    for recording in RECORDINGS:
        samples, sr = read(shared, recording)
        signal = np.concatenate(list(resample([samples.mean(axis=1)], sr, 48000)))
        window = np.concatenate([np.zeros(24000), signal, np.zeros(24000)])[:48000]  # centred
        found = melspectrogram(window[np.newaxis], net.frontend, net.bands)[0]
        difference = np.abs(found - golden[f"{recording}|spectrogram"].reshape(found.shape))
        print(f"{name:20} {recording:13} mean difference {difference.mean():.1e}, largest {difference.max():.1e}")
        assert difference.max() <= 1e-4


def test_equal_to_float64(case, converted):
    """Given the same spectrogram, both sizes."""
    name, model, golden = case
    weights = load_weights(converted(name))
    kernels = [to_dense(kernel) for kernel in weights.kernels]
    frontend = model.frontend
    logmel = golden["dog_bark|spectrogram"].reshape(1, frontend.n_mels, frontend.n_frames).astype(np.float32)
    maps = oracles.last_map(logmel[0], kernels, weights.biases, weights.norms)  # (mel, time, 512)
    cells = maps.reshape(4, maps.shape[0] // 4, 3, maps.shape[1] // 3, 512).max(axis=(1, 3)).ravel()
    for dim, expected in ((512, maps.max(axis=(0, 1))), (6144, cells)):
        network = edgel3_np.load_model(converted(name), dim).network
        found = forward(network, logmel, workspace(network))[0]
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


# --- the interface, on small networks of the same structure


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A directory with all six models: names and front ends are OpenL3's, networks are random and small."""
    directory = tmp_path_factory.mktemp("openl3")
    for name in RELEASED:
        if name.startswith("openl3"):
            path, frontend = directory / f"{name}.npz", RELEASED[name][0]
            weights = factory.random_weights((8,) * 7 + (512,), "linear", frontend=frontend, name="stand-in", seed=1)
            save_weights(path, weights._replace(grid=(4, 3)))
    return directory


@pytest.fixture
def use(installed, monkeypatch):
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(installed))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal(60_000) / 9


@pytest.mark.parametrize("input_repr", OPENL3)
@pytest.mark.parametrize("embedding_size", [512, 6144])
def test_models_by_their_options(use, input_repr, embedding_size):
    model = openl3.models.load_audio_embedding_model(input_repr, "env", embedding_size)
    assert (model.dim, model.sr, model.frontend) == (embedding_size, 48000, OPENL3[input_repr])


def test_one_array(use, noise):
    embedding, timestamps = openl3.get_audio_embedding(noise, 48000)
    expected = edgel3_np.embed(noise, 48000, model="openl3-mel256-music")
    assert embedding.shape == (len(timestamps), 6144) and embedding.tobytes() == expected.embedding.tobytes()
    assert timestamps.tobytes() == expected.timestamps.tobytes()
    embedding, timestamps = openl3.get_audio_embedding(
        noise,
        48000,
        input_repr="mel128",
        content_type="env",
        embedding_size=512,
        center=False,
        hop_size=0.25,
        batch_size=4,
    )
    assert embedding.shape == (2, 512) and timestamps.tolist() == [0.0, 0.25]


def test_lists(use, noise):
    model = openl3.models.load_audio_embedding_model("mel128", "music", 512)
    stereo = np.stack([noise, noise[::-1]], axis=1)
    embeddings, timestamps = openl3.get_audio_embedding([noise, stereo], 48000, model=model, hop_size=0.5)
    assert isinstance(embeddings, list) and isinstance(timestamps, list) and len(embeddings) == len(timestamps) == 2
    alone, _ = openl3.get_audio_embedding(stereo, 48000, model=model, hop_size=0.5)
    assert embeddings[1].tobytes() == alone.tobytes()
    embeddings, _ = openl3.get_audio_embedding([noise, noise], [48000, 44100], model, hop_size=0.5)
    assert embeddings[0].tobytes() != embeddings[1].tobytes()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"audio": 5}, "audio: expected an array or a list"),
        ({"audio": [[0.0]]}, "audio: expected a list of arrays"),
        ({"audio": np.zeros((2, 2, 2))}, "shape"),
        ({"audio": np.zeros(0)}, "at least one sample"),
        ({"sr": -1}, "sr"),
        ({"sr": "48000"}, "sr"),
        ({"sr": [48000, 48000]}, "expected one rate, or 1"),
        ({"model": "openl3"}, "model: expected a loaded model"),
        ({"input_repr": "mel64"}, "input_repr: expected 'mel256'"),
        ({"content_type": "speech"}, "content_type"),
        ({"embedding_size": 128}, "embedding_size: expected 6144 or 512"),
        ({"hop_size": 0}, "hop_size"),
        ({"center": "yes"}, "center"),
        ({"batch_size": 0}, "batch_size"),
        ({"frontend": "librosa"}, "frontend: expected 'kapre'"),
        ({"verbose": 2}, "verbose"),
    ],
)
def test_mistakes(use, noise, options, message):
    with pytest.raises(openl3.OpenL3Error, match=message):
        openl3.get_audio_embedding(**{"audio": noise, "sr": 48000, **options})


def test_warnings(use):
    with pytest.warns(openl3.OpenL3Warning, match="shorter than a window"):
        openl3.get_audio_embedding(np.ones(1000), 48000, embedding_size=512, input_repr="mel128")


def test_files(use, noise, tmp_path, capsys):
    paths = [str(tmp_path / f"{name}.wav") for name in "ab"]
    for path in paths:
        soundfile.write(path, noise, 48000)
    out = tmp_path / "out"
    options = {"input_repr": "mel128", "embedding_size": 512, "hop_size": 0.5}
    assert openl3.process_audio_file(paths[0], **options) is None
    openl3.process_audio_file(paths, output_dir=out, suffix="x", **options)
    assert sorted(os.listdir(out)) == ["a_x.npz", "b_x.npz"] and (tmp_path / "a.npz").exists()
    expected = edgel3_np.embed(paths[0], model="openl3-mel128-music", dim=512, hop_size=0.5)
    with np.load(out / "a_x.npz") as archive:
        assert archive["embedding"].tobytes() == expected.embedding.tobytes()
        assert archive["timestamps"].tobytes() == expected.timestamps.tobytes()
    (out / "a_x.npz").write_bytes(b"mine")
    openl3.process_audio_file(paths, output_dir=out, suffix="x", **options)
    assert (out / "a_x.npz").read_bytes() == b"mine"
    openl3.process_audio_file(paths, output_dir=out, suffix="x", overwrite=True, **options)
    assert (out / "a_x.npz").read_bytes() != b"mine"
    for missing in (str(tmp_path / "none.wav"), [paths[0], str(tmp_path / "none.wav")]):
        with pytest.raises(EdgeL3Error, match="none.wav"):
            openl3.process_audio_file(missing, overwrite=True, **options)
    with pytest.raises(EdgeL3Error, match="filepath"):
        openl3.process_audio_file(5, **options)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("function", [openl3.get_audio_embedding, openl3.process_audio_file])
def test_options_have_upstreams_names_and_defaults(function):
    expected = {
        "model": None,
        "input_repr": None,
        "content_type": "music",
        "embedding_size": 6144,
        "center": True,
        "hop_size": 0.1,
        "batch_size": 32,
        "frontend": "kapre",
        "verbose": True,
    }
    found = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    assert {name: found[name] for name in expected} == expected


def test_command_line(use, noise, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", noise, 48000)
    arguments = [
        str(tmp_path / "a.wav"),
        "-o",
        str(tmp_path),
        "-x",
        "y",
        "-i",
        "mel128",
        "-c",
        "env",
        "-as",
        "512",
        "-q",
    ]
    assert openl3.main(["audio", *arguments, "--no-audio-centering", "--audio-hop-size", "0.25"]) == 0
    with np.load(tmp_path / "a_y.npz") as archive:
        expected = edgel3_np.embed(
            noise, 48000, model="openl3-mel128-env", dim=512, hop_size=0.25, center=False
        ).embedding
        assert archive["embedding"].shape == expected.shape
        np.testing.assert_allclose(archive["embedding"], expected, atol=0.1 * np.abs(expected).max())  # 16 bits
    assert openl3.main(["video", "a.mp4"]) == 2
    assert "not in this package" in capsys.readouterr().err
    assert openl3.main(["audio", str(tmp_path / "a.wav"), "-q"]) == 0
    assert np.load(tmp_path / "a.npz")["embedding"].shape[1] == 6144
