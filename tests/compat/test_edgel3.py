"""Tests of edgel3's interface, as its documentation describes it, on networks built like the released ones."""

import inspect
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import factory
import numpy as np
import pytest
import soundfile

import edgel3_np as edgel3
from edgel3_np.compat.edgel3 import edgel3_name
from edgel3_np.weights.format import save_weights
from edgel3_np.weights.registry import RELEASED

OPTIONS = {"model_type": "sparse", "emb_dim": 128, "retrain_type": "ft", "sparsity": 95.45}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Write all released models of edgel3, with their names and front ends, but with small random networks."""
    directory = tmp_path_factory.mktemp("edgel3")
    for seed, (name, released) in enumerate(RELEASED.items()):
        if not name.startswith("openl3"):
            small, activation = (8,) * 7 + released.filters[-1:], released.final_activation
            weights = factory.random_weights(small, activation, frontend=released.frontend, name="stand-in", seed=seed)
            save_weights(directory / f"{name}.npz", weights)
    return directory


@pytest.fixture(autouse=True)
def use(installed, monkeypatch):
    monkeypatch.setenv("EDGEL3_NP_WEIGHTS", str(installed))


@pytest.fixture(scope="module")
def noise():
    """Make noise that lies below 6 kHz, most of it: shape (60000,)."""
    return np.convolve(np.random.default_rng(0).standard_normal(60_000), np.ones(8), "same") / 30


def equal(found, model, audio, sr, **options):
    expected = edgel3.embed(audio, sr, model=model, **options)
    return all(a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in zip(found, expected))


def test_tutorial(noise, tmp_path, monkeypatch):
    """The first steps of upstream's tutorial work with its names."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("file.wav", noise, 48000)
    audio, sr = soundfile.read("file.wav")
    embedding, timestamps = edgel3.get_embedding(audio, sr)
    assert embedding.shape == (len(timestamps), 512) and equal((embedding, timestamps), "sparse-ft-95.45", audio, sr)
    model = edgel3.models.load_embedding_model(model_type="sea", emb_dim=64)
    embedding, timestamps = edgel3.get_embedding(audio, sr, model=model, hop_size=0.5)
    assert equal((embedding, timestamps), "sea-64", audio, sr, hop_size=0.5)
    assert edgel3.process_file("file.wav") is None
    assert edgel3.process_file("file.wav", output_dir="out", suffix="suffix", model=model, hop_size=0.5) is None
    with np.load("file.npz") as archive:
        assert archive["embedding"].shape[1] == 512
    with np.load(os.path.join("out", "file_suffix.npz")) as archive:
        assert archive["embedding"].tobytes() == embedding.tobytes()
        assert archive["timestamps"].tobytes() == timestamps.tobytes()
    assert edgel3.get_output_path("file.wav", "suffix.npz", output_dir="out") == os.path.join("out", "file_suffix.npz")
    assert edgel3.get_output_path(Path("sounds") / "a.b.wav", ".npz") == os.path.join("sounds", "a.b.npz")


@pytest.mark.parametrize(
    "options, name",
    [
        ({}, "sparse-ft-95.45"),
        ({"retrain_type": "kd"}, "sparse-kd-95.45"),
        ({"sparsity": 53.5}, "sparse-ft-53.5"),
        ({"sparsity": 87}, "sparse-ft-87.0"),
        ({"emb_dim": 512}, "sparse-ft-95.45"),
        ({"model_type": "sea"}, "sea-128"),
        ({"model_type": "sea", "emb_dim": 512, "sparsity": 63.5}, "sea-512"),
    ],
)
def test_models_by_their_options(installed, noise, options, name):
    assert edgel3.models.load_embedding_model_path(**options) == str(installed / f"{name}.npz")
    model = edgel3.models.load_embedding_model(**options)
    assert (model.sha256, model.dim) == (edgel3.load_model(name).sha256, RELEASED[name].filters[-1])
    assert equal(edgel3.get_embedding(noise, 48000, hop_size=1.0, **options), name, noise, 48000, hop_size=1.0)
    positional = [{**OPTIONS, **options}[key] for key in OPTIONS]
    assert edgel3.models.load_embedding_model(*positional).sha256 == model.sha256


@pytest.mark.parametrize("options", [{"center": False}, {"hop_size": 0.7}, {"verbose": 0}, {"verbose": True}])
def test_options_of_an_embedding(noise, options):
    model = edgel3.models.load_embedding_model("sea", 64)
    kept = {key: value for key, value in options.items() if key != "verbose"}
    stereo = np.stack([noise, noise[::-1]], axis=1)
    for audio in (noise, stereo):
        assert equal(edgel3.get_embedding(audio, 44100, model, **options), "sea-64", audio, 44100, **kept)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"audio": np.zeros(0)}, "at least one sample"),
        ({"audio": np.zeros((2, 2, 2))}, "shape"),
        ({"audio": "file.wav"}, "audio: expected an array"),
        ({"sr": 0}, "sr"),
        ({"sr": None}, "sr"),
        ({"model": "sparse"}, "model: expected a loaded model"),
        ({"model_type": "dense"}, "model_type: expected 'sparse' or 'sea', found 'dense'"),
        ({"emb_dim": 100}, "emb_dim: expected 512 or 256 or 128 or 64, found 100"),
        ({"emb_dim": "64"}, "emb_dim"),
        ({"retrain_type": "xx"}, "retrain_type: expected 'ft' or 'kd'"),
        ({"sparsity": 90.0}, "sparsity: expected 53.5 or"),
        ({"sparsity": [95.45]}, "sparsity"),
        ({"hop_size": 0}, "hop_size"),
        ({"hop_size": -1}, "hop_size"),
        ({"hop_size": "1"}, "hop_size"),
        ({"center": 2}, "center"),
        ({"verbose": 2}, "verbose"),
        ({"verbose": "yes"}, "verbose"),
    ],
)
def test_mistakes(noise, options, message):
    with pytest.raises(edgel3.EdgeL3Error, match=message):
        edgel3.get_embedding(**{"audio": noise, "sr": 48000, **options})


@pytest.mark.parametrize("audio, message", [(np.zeros(60_000), "zero"), (np.ones(1000), "shorter than a window")])
def test_warnings(audio, message):
    with pytest.warns(edgel3.EdgeL3Warning, match=message):
        edgel3.get_embedding(audio, 48000, model_type="sea", emb_dim=64)


@pytest.mark.parametrize(
    "path, options, message",
    [
        ("none.wav", {}, "none.wav: cannot be read"),
        ("text.wav", {}, "expected a sound file"),
        (5, {}, "filepath: expected the path"),
        ("a.wav", {"emb_dim": 3}, "emb_dim"),
        ("a.wav", {"model": 5}, "model"),
        ("a.wav", {"retrain_type": "x"}, "retrain_type"),
        ("a.wav", {"hop_size": 0.0}, "hop_size"),
        ("a.wav", {"center": None}, "center"),
        ("a.wav", {"verbose": 7}, "verbose"),
    ],
)
def test_mistakes_with_files(noise, tmp_path, monkeypatch, path, options, message):
    monkeypatch.chdir(tmp_path)
    Path("text.wav").write_text("no audio")
    soundfile.write("a.wav", noise, 48000)
    with pytest.raises(edgel3.EdgeL3Error, match=message):
        edgel3.process_file(path, **options)
    assert sorted(os.listdir()) == ["a.wav", "text.wav"]


def test_existing_files_are_replaced(noise, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    (tmp_path / "a.npz").write_bytes(b"old")
    edgel3.process_file(tmp_path / "a.wav", model_type="sea", emb_dim=256, center=False, hop_size=2.0, verbose=True)
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["embedding"].shape == (5, 256) and archive["timestamps"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    edgel3.process_file(tmp_path / "a.wav", retrain_type="kd", sparsity=72.3, hop_size=4.0)
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["embedding"].shape[1] == 512 and '"stand-in"' in str(archive["provenance"])
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "a.wav"]
    assert capsys.readouterr() == ("", "")


def test_arguments_have_upstreams_names_order_and_defaults():
    found = {}
    for function in (edgel3.get_embedding, edgel3.process_file):
        parameters = inspect.signature(function).parameters.values()
        found[function.__name__] = ", ".join(str(each.replace(annotation=each.empty)) for each in parameters)
    assert found == {
        "get_embedding": "audio, sr, model=None, model_type='sparse', emb_dim=128, retrain_type='ft', sparsity=95.45, "
        "center=True, hop_size=0.1, verbose=1",
        "process_file": "filepath, output_dir=None, suffix=None, model=None, model_type='sparse', emb_dim=128, "
        "sparsity=95.45, center=True, hop_size=0.1, verbose=True, retrain_type='ft'",
    }


@pytest.mark.parametrize(
    "arguments, model",
    [
        (["--model-type", "sparse", "--retrain-type", "kd", "--model-sparsity", "53.5"], "sparse-kd-53.5"),
        (["-mtype", "sea", "-e", "64", "-n", "-t", "0.5", "-q"], "sea-64"),
        (
            ["-mtype", "sparse", "-retrain", "ft", "-sp", "87.0", "--no-centering", "--hop-size", "0.5"],
            "sparse-ft-87.0",
        ),
    ],
)
def test_command_lines_of_upstream(noise, tmp_path, arguments, model):
    soundfile.write(tmp_path / "a.wav", noise, 48000, "FLOAT")
    command = [sys.executable, "-m", "edgel3_np", str(tmp_path), "--output-dir", str(tmp_path / "out"), "-x", "s"]
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3.__file__).parent.parent)}
    subprocess.run([*command, *arguments], check=True, env=environment, timeout=100, capture_output=True)
    options = {"hop_size": 0.5, "center": False} if len(arguments) > 6 else {}
    with np.load(tmp_path / "out" / "a_s.npz") as archive:
        found = archive["embedding"], archive["timestamps"]
    assert equal(found, model, tmp_path / "a.wav", None, **options)


def test_a_directory_without_audio_is_exit_code_255(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3.__file__).parent.parent)}
    command = [sys.executable, "-m", "edgel3_np", str(tmp_path)]
    ran = subprocess.run(command, env=environment, timeout=100, capture_output=True, text=True)
    assert ran.returncode == 255 and "no audio files" in ran.stderr


def test_usual_audio_gives_no_warnings(noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edgel3.get_embedding(noise, 48000, model_type="sea", verbose=1)


def test_names_of_models():
    """The options name every released model of edgel3, and no other model."""
    names = {edgel3_name("sparse", 128, how, rate) for how in ("ft", "kd") for rate in (53.5, 63.5, 72.3, 87, 95.45)}
    names |= {edgel3_name("sparse", 128, how, rate) for how in ("ft", "kd") for rate in (73.5, 81.0, 90.5)}
    names |= {edgel3_name("sea", dim, "ft", 95.45) for dim in (64, 128, 256, 512)}
    assert names == {name for name, released in RELEASED.items() if not name.startswith("openl3")}


def test_repeated_warnings_point_at_the_caller(tmp_path):
    """Python shows a warning once for each line that it points at; a line inside the package is the same for all."""
    silence = np.zeros(60_000)
    soundfile.write(tmp_path / "a.wav", silence, 48000)
    model = edgel3.models.load_embedding_model("sea", 64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        edgel3.get_embedding(silence, 48000, model=model)
        edgel3.get_embedding(silence, 48000, model=model)
        edgel3.process_file(tmp_path / "a.wav", model=model)
        edgel3.process_file(tmp_path / "a.wav", model=model)
    assert [warning.filename for warning in caught] == [__file__] * 4
    assert [warning.category for warning in caught] == [edgel3.EdgeL3Warning] * 4


def test_provenance_says_what_is_missing(noise, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise, 48000)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    with pytest.warns(edgel3.EdgeL3Warning):
        edgel3.process_file(str(tmp_path / "a.wav"), verbose=False)
    with np.load(tmp_path / "a.npz") as archive:
        provenance = json.loads(archive["provenance"].item())
    assert provenance["incomplete"] is True and len(provenance["remarks"]) >= 1


def test_provenance_of_a_file_is_plain_data(noise, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    hop, center = np.float32(0.5), np.bool_(False)
    edgel3.process_file(tmp_path / "a.wav", model_type="sea", emb_dim=64, hop_size=hop, center=center)
    with np.load(tmp_path / "a.npz") as archive:
        provenance = json.loads(archive["provenance"].item())
    assert provenance["options"] == {"dim": 64, "hop_size": 0.5, "center": False}
    assert provenance["version"] == edgel3.__version__ and provenance["model"] == "stand-in"
