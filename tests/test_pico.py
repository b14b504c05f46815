"""Tests of the bundled model: golden embeddings of the recording in the repository."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import edgel3_np
from edgel3_np.weights.format import load_weights, save_weights
from edgel3_np.weights.locate import find_model

RECORDING = ROOT / "docs" / "demo" / "street.flac"


@pytest.mark.parametrize("hop_size, center", [(0.5, True), (1.1, False)])
def test_golden_embeddings(hop_size, center):
    """tools/make_golden.py computes them with the oracles, in integers, for exactly these weights: the same bytes."""
    model = edgel3_np.load_model()
    with np.load(ROOT / "tests" / "golden" / "pico-64.npz", allow_pickle=False) as golden:
        assert str(golden["sha256"]) == model.sha256
        expected = golden[f"center={int(center)}|hop={hop_size}"]
    found = edgel3_np.embed(RECORDING, hop_size=hop_size, center=center)
    assert found.embedding.shape == expected.shape
    assert found.embedding.tobytes() == expected.astype("<f4").tobytes()
    np.testing.assert_array_equal(found.timestamps, np.arange(len(expected)) * hop_size)


def test_the_weights_are_made_of_those_that_were_trained(tmp_path):
    """By `tools.distill.quantise`, from the activations that the file records; the audio is not needed."""
    from tools.distill.quantise import to_whole

    shipped = load_weights(find_model("pico-64"))
    source = shipped.provenance["source"]
    trained = load_weights(ROOT / "tools" / "distill" / "pico-64.float.npz")
    assert source["quantised_from_sha256"] == trained.sha256
    made = {key: source[key] for key in ("calibration", "top_activations")}
    save_weights(tmp_path / "again.npz", to_whole(trained, json.loads(source["top_activations"]), made))
    assert load_weights(tmp_path / "again.npz").sha256 == shipped.sha256


def test_near_to_the_trained_network():
    """Rounding to whole numbers leaves the embeddings of the demo recording: cosines of 0.9997 and more."""
    whole, trained = (
        edgel3_np.embed(RECORDING, model=model).embedding
        for model in ("pico-64", ROOT / "tools" / "distill" / "pico-64.float.npz")
    )
    norms = np.linalg.norm(whole, axis=1) * np.linalg.norm(trained, axis=1)
    cosine = (whole * trained).sum(axis=1) / norms
    assert cosine.min() > 0.9995 and cosine.mean() > 0.9998


def test_the_recording_is_what_its_script_makes():
    import soundfile
    from make_demo_recording import SR, street

    samples, sr = soundfile.read(RECORDING, dtype="int16")
    assert sr == SR
    # sine and exponential functions may differ in the last bit between builds of numpy
    assert np.abs(samples - np.round(street() * 32768)).max() <= 2


def test_the_demo_finds_what_sounds_alike():
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "demo.py")],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT / "docs",
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in ran.stdout.splitlines() if "is most like" in line]
    assert len(lines) == 7
    for line in lines:
        what, other = line.split("is most like")
        for name in ("siren", "footsteps", "bark"):
            assert (name in what) == (name in other) or "engine" in line
