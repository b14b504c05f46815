import io
import json
import os
import subprocess
import sys
from pathlib import Path

import attacks
import factory
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgel3_np import EdgeL3Error, load_model
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.weights.format import load_weights, parse_weights, save_weights
from edgel3_np.weights.registry import SPARSE
from edgel3_np.weights.sparse import to_csr, to_dense


def content_of(weights):
    file = io.BytesIO()
    save_weights(file, weights)
    return file.getvalue()


@given(st.integers(1, 6), st.integers(1, 300), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_dense_to_sparse_and_back_is_exact(channels, filters, density, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((3, 3, channels, filters)) * (rng.random((3, 3, channels, filters)) < density)
    kernel = kernel.astype(np.float32)
    matrix = to_csr(kernel)
    assert to_dense(matrix).tobytes() == (kernel + 0.0).tobytes()  # -0.0 comes back as 0.0
    assert len(matrix.data) == np.count_nonzero(kernel)


def test_csr_equals_that_of_scipy():
    from scipy.sparse import csr_matrix

    kernel = factory.random_arrays(density=0.2)[0][3]
    matrix = to_csr(kernel)
    expected = csr_matrix(kernel.reshape(-1, kernel.shape[3]))
    np.testing.assert_array_equal(matrix.indptr, expected.indptr)
    np.testing.assert_array_equal(matrix.indices, expected.indices)
    np.testing.assert_array_equal(matrix.data, expected.data)
    product = csr_matrix(tuple(matrix[:3]), shape=matrix.shape) @ np.eye(matrix.shape[1])
    np.testing.assert_array_equal(product, kernel.reshape(-1, kernel.shape[3]))


def test_index_types_are_the_smallest():
    assert to_csr(np.ones((3, 3, 1, 256), np.float32)).indices.dtype == np.uint8
    assert to_csr(np.ones((3, 3, 1, 257), np.float32)).indices.dtype == np.uint16
    assert to_csr(np.ones((3, 3, 7, 4), np.float32)).indptr.dtype == np.uint8
    assert to_csr(np.ones((3, 3, 8, 4), np.float32)).indptr.dtype == np.uint16
    assert to_csr(np.ones((3, 3, 128, 64), np.float32)).indptr.dtype == np.uint32


@pytest.mark.parametrize("n_fft", [16, 256])
def test_magnitudes_of_any_power_of_two(n_fft, tmp_path, sweep):
    """16 is the shortest transform that a file may ask for; `attacks` has a length that is no power of two."""
    frontend = FrontEnd(8000, n_fft, 16, 1 + n_fft // 2, "linear", "magnitude", "valid")
    save_weights(tmp_path / "small.npz", factory.random_weights(frontend=frontend))
    embedding = load_model(tmp_path / "small.npz").embed(sweep, 8000).embedding
    assert np.isfinite(embedding).all() and embedding.std(axis=0).max() > 0


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_save_and_load(activation, density):
    mel = np.random.default_rng(0).random((1025, 256)).astype(np.float32)
    weights = factory.random_weights(final_activation=activation, density=max(density, 0.01), frontend=SPARSE)
    if density == 0:
        weights = weights._replace(kernels=tuple(to_csr(np.zeros_like(to_dense(kernel))) for kernel in weights.kernels))
    weights = weights._replace(mel=mel)
    content = content_of(weights)
    loaded = parse_weights(content, "there")
    assert loaded._replace(kernels=None, biases=None, norms=None, mel=None, sha256="") == weights._replace(
        kernels=None, biases=None, norms=None, mel=None
    )
    for kernel, expected in zip(loaded.kernels, weights.kernels):
        assert kernel.shape == expected.shape
        for part in ("data", "indices", "indptr"):
            found = getattr(kernel, part)
            np.testing.assert_array_equal(found, getattr(expected, part))
            assert found.dtype == getattr(expected, part).dtype and not found.flags.writeable
    for found, expected in zip([*loaded.biases, *loaded.norms, loaded.mel], [*weights.biases, *weights.norms, mel]):
        np.testing.assert_array_equal(found, expected)
        assert not found.flags.writeable
    import hashlib

    assert loaded.sha256 == hashlib.sha256(content).hexdigest()


def test_numpy_can_read_a_weight_file():
    """numpy.load reads the file without pickle."""
    weights = factory.random_weights()
    with np.load(io.BytesIO(content_of(weights)), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["conv3.data"], weights.kernels[2].data)
        assert json.loads(archive["metadata"].tobytes())["name"] == "small"


def test_the_same_weights_are_the_same_bytes():
    assert content_of(factory.random_weights()) == content_of(factory.random_weights())


def test_float16_values():
    kernel = factory.random_arrays()[0][4]
    weights = factory.random_weights()
    half = weights._replace(kernels=tuple(to_csr(to_dense(k), np.float16) for k in weights.kernels))
    loaded = parse_weights(content_of(half), "there")
    assert loaded.kernels[4].data.dtype == np.float16
    np.testing.assert_array_equal(to_dense(loaded.kernels[4]), kernel.astype(np.float16).astype(np.float32) + 0.0)


# --- attacks


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Load all bad files in one process; return name -> (message, growth of the peak memory)."""
    directory = tmp_path_factory.mktemp("attacks")
    good = content_of(factory.random_weights(filters=(16, 24, 16, 24, 16, 24, 16, 24)))
    (directory / "good.npz").write_bytes(good)
    names = ["good"]
    for name, (function, _) in attacks.ATTACKS.items():
        (directory / f"{name}.npz").write_bytes(function(good))
        names.append(name)
    (directory / "a_directory.npz").mkdir()
    names.append("a_directory")
    if hasattr(os, "mkfifo"):
        os.mkfifo(directory / "a_fifo.npz")
        names.append("a_fifo")
    names.append("nothing_there")
    import edgel3_np

    search = [str(Path(edgel3_np.__file__).parent.parent), str(Path(__file__).parent.parent)]
    ran = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).parent.parent / "attacks.py"),
            *(str(directory / f"{name}.npz") for name in names),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
    )
    found = {Path(path).stem: (outcome, grown) for path, outcome, grown in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 0, f"the interpreter died after {list(found)[-1:]}: {ran.stderr}"
    return found


def test_there_are_enough_attacks():
    assert len(attacks.ATTACKS) >= 60


def test_the_good_file_loads(outcomes):
    assert outcomes["good"][0] == "loaded"


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_attack_is_refused(outcomes, name):
    message, grown = outcomes[name]
    assert f"{name}.npz" in message, message
    assert "expected" in message and "found" in message, message
    assert attacks.ATTACKS[name][1] in message, message
    assert grown < 100 << 20
    assert not os.path.exists("/tmp/edgel3_np_was_attacked")


@pytest.mark.parametrize(
    "name, message",
    [("a_directory", "found a directory"), ("a_fifo", "found a device, pipe"), ("nothing_there", "No such file")],
)
def test_paths_that_are_no_regular_file_are_refused(outcomes, name, message):
    if name not in outcomes:
        pytest.skip("no FIFOs here")
    assert message in outcomes[name][0]


@given(st.data())
def test_damage_anywhere_is_refused_or_changes_only_values(data):
    """Random bytes are changed; the result is an error, or weights that still follow the format."""
    good = bytearray(content_of(factory.random_weights()))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        weights = parse_weights(bytes(good), "damaged")
    except EdgeL3Error as error:
        assert "damaged" in str(error)
    else:
        assert weights.filters == factory.SMALL
        for kernel in weights.kernels:
            assert np.isfinite(to_dense(kernel)).all()


def test_load_weights_and_load_model_agree(small_npz):
    assert load_weights(small_npz).sha256 == load_model(small_npz).sha256
