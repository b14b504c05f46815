"""Tests of the bundled model: golden embeddings of the recording in the repository."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import edgel3_np

RECORDING = ROOT / "docs" / "demo" / "street.flac"


@pytest.mark.parametrize("hop_size, center", [(0.5, True), (1.1, False)])
def test_golden_embeddings(hop_size, center):
    """tools/make_golden.py computes them with the float64 oracles, for exactly these weights."""
    model = edgel3_np.load_model()
    with np.load(ROOT / "tests" / "golden" / "pico-64.npz", allow_pickle=False) as golden:
        assert str(golden["sha256"]) == model.sha256
        expected = golden[f"center={int(center)}|hop={hop_size}"]
    found = edgel3_np.embed(RECORDING, hop_size=hop_size, center=center)
    assert found.embedding.shape == expected.shape
    error = np.abs(found.embedding - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert error.max() <= 1e-5
    np.testing.assert_array_equal(found.timestamps, np.arange(len(expected)) * hop_size)


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
