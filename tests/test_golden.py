"""Tests of parity with the original software, and with float64, on every golden file of edgel3."""

import hashlib
import warnings

import numpy as np
import oracles
import pytest

import edgel3_np
from edgel3_np import EdgeL3Warning
from edgel3_np.network.forward import Workspace, forward
from edgel3_np.weights.format import load_weights
from edgel3_np.weights.sparse import to_dense

RECORDINGS = ["chirp_1s", "chirp_44k", "chirp_8k", "chirp_mono", "chirp_stereo"]
RECORDINGS += ["dog_bark", "helicopter", "short", "silence"]
# lower bounds of the cosine, for each window of a recording and for the mean over its windows
BOUNDS = {"sea-64": (0.99999, 0.99999), "sparse-ft-95.45": (0.9999, 0.99999), "sparse-kd-72.3": (0.9999, 0.99999)}


@pytest.fixture(scope="module", params=BOUNDS)
def case(request, shared, converted):
    with np.load(shared / "golden" / f"{request.param}.npz") as golden:
        return request.param, edgel3_np.load_model(converted(request.param)), dict(golden)


@pytest.fixture(scope="module")
def remember():
    """Return a `forward` that runs a network once for each different spectrogram.

    Golden files of different hops share most windows. A window has the same bytes in any batch (test_forward.py), so
    this hides nothing.
    """
    seen = {}

    def run(work, log_mel, *_):
        keys = [(work.network, hashlib.sha256(spectrogram.tobytes()).digest()) for spectrogram in log_mel]
        new = {key: index for index, key in enumerate(keys) if key not in seen}
        if new:
            seen.update(zip(new, forward(work, log_mel[list(new.values())])))
        return np.array([seen[key] for key in keys])

    return run


@pytest.mark.parametrize("recording", RECORDINGS)
def test_embeddings_and_timestamps(case, recording, shared, remember, monkeypatch):
    name, model, golden = case
    monkeypatch.setattr("edgel3_np.pipeline.forward", remember)
    path = next((shared / "audio").glob(f"{recording}.*"))
    keys = [key for key in golden if key.startswith(f"{recording}|center") and key.endswith("embedding")]
    assert len(keys) == (2 if recording in ("short", "silence") else 4)
    cosines, largest = [], 0.0
    for key in keys:
        _, center, hop, _ = key.split("|")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeL3Warning)
            found, timestamps = model.embed(path, hop_size=float(hop[4:]), center=center == "center=1")
        expected = golden[key]
        assert found.shape == expected.shape
        np.testing.assert_array_equal(timestamps, golden[key.replace("embedding", "timestamps")])
        a, b = found.astype(np.float64), expected.astype(np.float64)
        cosines.extend((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
        largest = max(largest, (np.abs(a - b).max(axis=1) / np.abs(b).max(axis=1)).max())
    print(f"{name:16} {recording:13} smallest cosine {min(cosines):.7f}, largest relative error {largest:.1e}")
    assert min(cosines) >= BOUNDS[name][0]
    assert np.mean(cosines) >= BOUNDS[name][1]


def test_equal_to_float64(case, converted):
    """On golden spectrograms, the network agrees with the unfolded network of Keras in float64."""
    name, model, golden = case
    weights = load_weights(converted(name))
    kernels = [to_dense(kernel) for kernel in weights.kernels]
    recordings = ["helicopter", "chirp_mono"] if name == "sea-64" else ["helicopter"]
    for recording in recordings:
        log_mel = golden[f"{recording}|melspectrogram"][:1]
        found = forward(Workspace(model.network), log_mel)[0]
        expected = oracles.forward(log_mel[0], kernels, weights.biases, weights.norms)
        error = np.abs(found - expected).max() / np.abs(expected).max()
        print(f"{name:16} {recording:13} relative error to float64 {error:.1e}")
        assert error <= 1e-5
