"""Tests of OpenL3's models and interface: parity on every golden file, and what upstream documents."""

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
from edgel3_np.audio.resample import resample
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.network.forward import Workspace, forward
from edgel3_np.weights.format import load_weights, save_weights
from edgel3_np.weights.registry import OPENL3_FRONTENDS, RELEASED
from edgel3_np.weights.sparse import to_dense

NAMES = ["openl3-mel256-music", "openl3-mel128-env", "openl3-linear-env"]
RECORDINGS = ["chirp_1s", "chirp_44k", "chirp_stereo", "dog_bark", "silence", "short"]


@pytest.fixture(scope="module", params=NAMES)
def case(request, shared, converted):
    with np.load(shared / "golden" / f"{request.param}.npz") as golden:
        return request.param, edgel3_np.load_model(converted(request.param)), dict(golden)


def read(shared, recording):
    """Read the first three seconds, which the golden files cover."""
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
        if dim == "dim=512":  # it is the maximum over the same map
            found = found.reshape(-1, 12, 512).max(axis=1)
        a, b = found.astype(np.float64), golden[key].astype(np.float64)
        assert a.shape == b.shape
        np.testing.assert_array_equal(timestamps, golden[key.replace("embedding", "timestamps")])
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        smallest[dim] = min(smallest.get(dim, 1.0), cosines.min())
    print(f"{name:20} {recording:13} smallest cosine {smallest}")
    assert min(smallest.values()) >= 0.999999


def test_spectrograms(case, shared):
    """The first window is equal up to the rounding of logarithms and of sums over mel bands."""
    name, model, golden = case
    net = model.network
    for recording in RECORDINGS:
        samples, sr = read(shared, recording)
        signal = np.concatenate(list(resample([samples.mean(axis=1)], sr, 48000)))
        window = np.concatenate([np.zeros(24000), signal, np.zeros(24000)])[:48000]  # centred
        found = log_mel_spectrogram(window[np.newaxis], net.frontend, net.bands)[0]
        difference = np.abs(found - golden[f"{recording}|spectrogram"].reshape(found.shape))
        print(f"{name:20} {recording:13} mean difference {difference.mean():.1e}, largest {difference.max():.1e}")
        assert difference.max() <= 1e-4


def test_equal_to_float64(case, converted):
    """Embeddings of both sizes agree with the float64 network on the same spectrogram."""
    name, model, golden = case
    weights = load_weights(converted(name))
    kernels = [to_dense(kernel) for kernel in weights.kernels]
    frontend = model.frontend
    log_mel = golden["dog_bark|spectrogram"].reshape(1, frontend.n_mels, frontend.n_frames).astype(np.float32)
    maps = oracles.last_map(log_mel[0], kernels, weights.biases, weights.norms)  # (mel, time, 512)
    cells = maps.reshape(4, maps.shape[0] // 4, 3, maps.shape[1] // 3, 512).max(axis=(1, 3)).ravel()
    for dim, expected in ((512, maps.max(axis=(0, 1))), (6144, cells)):
        network = edgel3_np.load_model(converted(name), dim).network
        found = forward(Workspace(network), log_mel)[0]
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


# Tests of the interface, on small networks of the same structure


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Write all six models, with their names and front ends, but with small random networks."""
    directory = tmp_path_factory.mktemp("openl3")
    for name, released in RELEASED.items():
        if name.startswith("openl3"):
            path, frontend = directory / f"{name}.npz", released.frontend
            weights = factory.random_weights((8,) * 7 + (512,), "linear", frontend=frontend, name="stand-in", seed=1)
            save_weights(path, weights._replace(pool_grid=(4, 3)))
    return directory


@pytest.fixture
def use(installed, monkeypatch):
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(installed))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal(60_000) / 9


@pytest.mark.parametrize("input_repr", OPENL3_FRONTENDS)
@pytest.mark.parametrize("embedding_size", [512, 6144])
def test_models_by_their_options(use, input_repr, embedding_size):
    model = openl3.models.load_audio_embedding_model(input_repr, "env", embedding_size)
    assert (model.dim, model.sr, model.frontend) == (embedding_size, 48000, OPENL3_FRONTENDS[input_repr])


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
        ({"batch_size": 0}, "batch_size: expected a whole number above 0, found 0"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"embedding_size": True}, "embedding_size"),
        ({"embedding_size": [512]}, "embedding_size"),
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


def test_warnings_and_errors_about_a_list_say_which_recording(use):
    """They also point at the caller; otherwise Python would show only the first of equal warnings."""
    model = openl3.load_audio_embedding_model("mel128", "env", 512)
    sounds = [np.ones(50_000), np.ones(1000), np.zeros(50_000)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        openl3.get_audio_embedding(sounds, 48000, model=model, hop_size=1.0)
        openl3.get_audio_embedding(sounds, 48000, model=model, hop_size=1.0)
        openl3.get_audio_embedding(sounds[2], 48000, model=model, hop_size=1.0)
    assert [warning.filename for warning in caught] == [__file__] * 5
    assert [str(warning.message).split(";")[0] for warning in caught] == [
        "recording 1: audio: 0.021 s are shorter than a window of 1 s",
        "recording 2: audio: every sample is zero",
    ] * 2 + ["audio: every sample is zero"]
    with pytest.raises(EdgeL3Error, match="recording 1: audio: expected at least one sample") as error:
        openl3.get_audio_embedding([sounds[0], np.zeros(0)], 48000, model=model)
    assert error.value.kind == "empty"


def test_warnings_about_a_list_of_files_name_the_file(use, tmp_path):
    model = openl3.load_audio_embedding_model("mel128", "env", 512)
    paths = [str(tmp_path / f"{name}.wav") for name in "ab"]
    soundfile.write(paths[0], np.ones(50_000), 48000)
    soundfile.write(paths[1], np.zeros(50_000), 48000)
    with pytest.warns(openl3.OpenL3Warning, match="^[^:]*b.wav: every sample is zero") as caught:
        openl3.process_audio_file(paths, model=model, hop_size=1.0)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(openl3.OpenL3Warning, match="^[^:]*b.wav: every sample is zero") as caught:
        openl3.process_audio_file(paths[1], model=model, hop_size=1.0, overwrite=True)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.raises(EdgeL3Error, match="^[^:]*none.wav: cannot be read"):
        openl3.process_audio_file([str(tmp_path / "none.wav")], model=model)


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
    from edgel3_np.commands.openl3 import main

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
    assert main(["audio", *arguments, "--no-audio-centering", "--audio-hop-size", "0.25"]) == 0
    with np.load(tmp_path / "a_y.npz") as archive:
        expected = edgel3_np.embed(
            noise, 48000, model="openl3-mel128-env", dim=512, hop_size=0.25, center=False
        ).embedding
        assert archive["embedding"].shape == expected.shape
        np.testing.assert_allclose(archive["embedding"], expected, atol=0.1 * np.abs(expected).max())  # 16-bit file
    assert main(["video", "a.mp4"]) == 2
    assert "not in this package" in capsys.readouterr().err
    assert main(["audio", str(tmp_path / "a.wav"), "-q"]) == 0
    assert np.load(tmp_path / "a.npz")["embedding"].shape[1] == 6144
