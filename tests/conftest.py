"""Fixtures of the tests, and a report header with the versions in use."""

import os
import platform
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

OPENL3 = ("mel256_music", "mel128_env", "linear_env")
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
sys.path.insert(0, str(ROOT / "tools"))
sys.path.append(str(ROOT))  # for tools.distill; last, so that an installed package is found first

settings.register_profile("edgel3_np", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("edgel3_np")


def pytest_report_header():
    import scipy
    import soundfile

    import edgel3_np

    return (
        f"edgel3_np {edgel3_np.__version__} from {Path(edgel3_np.__file__).parent}, "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"soundfile {soundfile.__version__} ({soundfile.__libsndfile_version__}), {os.cpu_count()} cores, "
        f"reference material {'present' if SHARED.is_dir() else 'absent'}"
    )


@pytest.fixture(autouse=True, scope="session")
def no_models_of_the_users(tmp_path_factory):
    """Hide the models that the user of this machine has installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.delenv("EDGEL3_NP_WEIGHTS", raising=False)
        yield


@pytest.fixture(autouse=True)
def no_network(request):
    """Make a test fail if it touches the network, unless it has the mark `network`."""
    if request.node.get_closest_marker("network"):
        yield
        return
    touched, unix = [], getattr(socket, "AF_UNIX", None)  # it stays on one machine

    def refuse(*arguments, **options):
        touched.append(arguments)
        raise RuntimeError("the network was touched")

    def guard(method):
        return lambda self, *arguments: (method if self.family == unix else refuse)(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto", "bind"):
            patch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", refuse)
        yield
    assert not touched


@pytest.fixture(scope="session")
def shared():
    """Return the folder of released weights, recordings and golden files; skip the test if it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference material (released weights, golden files) in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def converted(shared, tmp_path_factory):
    """Return a function that converts a reference weights file once a session: name of the model -> path of its npz."""
    from convert_weights import main

    directory, done = tmp_path_factory.mktemp("converted"), {}
    sources = {
        "sea-64": "edgel3_sea_ust_audio_emb_64.h5.gz",
        "sparse-ft-95.45": "standin_ft_audio_sparsity_95.45.h5.gz",
        "sparse-kd-72.3": "standin_kd_audio_sparsity_72.3.h5.gz",
        **{f"openl3-{name.replace('_', '-')}": f"standin_openl3_audio_{name}.h5.gz" for name in OPENL3},
    }

    def convert(name):
        if name not in done:
            path = directory / f"{name}.npz"
            assert main([str(shared / "weights" / sources[name]), "-o", str(path)]) == 0
            done[name] = path
        return done[name]

    return convert


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """Write the weight file of a small random network; return its path."""
    from factory import random_weights

    from edgel3_np.weights.format import save_weights

    path = tmp_path_factory.mktemp("small") / "small.npz"
    save_weights(path, random_weights())
    return path


@pytest.fixture(scope="session")
def small_model(small_npz):
    import edgel3_np

    return edgel3_np.load_model(small_npz)


@pytest.fixture(scope="session")
def sweep():
    """Make 2.1 s of a noisy sweep at 8 kHz: shape (17003,), float64."""
    t = np.arange(17003) / 8000
    noise = np.random.default_rng(1).standard_normal(len(t))
    return 0.4 * np.sin(2 * np.pi * (200 + 300 * t) * t) + 0.02 * noise
