"""The bytes of the bundled models, whatever the batch, threads and BLAS; `verify` says which step differs first."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import edgel3_np
from edgel3_np.diagnostics import checks, everywhere
from edgel3_np.diagnostics.everywhere import EXPECTED, SOUNDS, STEPS, click, noise, sawtooth, steps
from edgel3_np.pipeline import Embedding

DEMO = "25ccc030e5d66b7906e52f601159049ca053e330a274fb0db194e71b9386b48a"
DEMO_STREAM = "edd5824a14846f473034d48846301cb0eada4542f91ab17f3932a240098d145c"
CODE = """
import json, sys, edgel3_np
from edgel3_np.diagnostics.everywhere import SOUNDS, noise
model = edgel3_np.load_model()
found = [edgel3_np.embed(sys.argv[1], threads=threads).sha256() for threads in (1, 2, 4)]
found += [edgel3_np.embed(noise(100000), 44100, hop_size=hop).sha256() for hop in (0.02, 0.5)]
stream = edgel3_np.load_model("pico-64-stream")
found += [stream.embed(sys.argv[1], threads=threads).sha256() for threads in (1, 2, 4)]
print(json.dumps(found))
"""


def test_the_sounds_are_integers_that_no_library_computes():
    def mixed(x):
        for factor in (0x7FEB352D, 0x846CA68B):
            x = (x ^ x >> 16) * factor % 2**32
        return (x >> 16) - 32768

    assert noise(5000).tolist() == [mixed(i) for i in range(5000)]
    assert abs(noise(60 * 48000).astype(float).mean()) < 100 and abs(noise(9000)).max() > 32000
    assert sawtooth(24000).tolist() == [(i % 61 - 30) * (i // 64 + 1) // 4 for i in range(24000)]
    assert click(10).tolist() == [0, 0, 0, 0, 0, 32767, 0, 0, 0, 0]


@pytest.mark.parametrize("model", EXPECTED)
@pytest.mark.parametrize("name", SOUNDS)
def test_every_step_has_the_bytes_of_every_machine(model, name):
    found = list(steps(edgel3_np.load_model(model), name))
    assert len(found) == len(STEPS) and tuple(found) == EXPECTED[model][name]


def test_the_hash_is_that_of_the_numbers():
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = Embedding(numbers, np.zeros(2)).sha256()
    assert found == everywhere.digest([0, 1, 2, 3, 4, 5], "<f4")
    assert Embedding(numbers.astype(">f4"), np.zeros(2)).sha256() == found
    assert Embedding(np.asfortranarray(numbers), np.ones(2)).sha256() == found


@pytest.mark.parametrize(
    "step, module, what",
    [
        (0, "noise", "samples"),
        (1, "resample", "samples at the model's rate"),
        (2, "level_spectrogram", "levels"),
    ],
)
def test_verify_says_which_step_differs_first(step, module, what, monkeypatch):
    real, (sr, _, seconds) = getattr(everywhere, module), SOUNDS["noise at 8000 Hz"]
    change = {
        "noise": lambda n: real(n) ^ 1,
        "resample": lambda *given: (block + 2.0**-30 for block in real(*given)),
        "level_spectrogram": lambda *given: np.maximum(real(*given), 1),
    }[module]
    monkeypatch.setattr(everywhere, module, change)
    if step == 0:
        monkeypatch.setitem(SOUNDS, "noise at 8000 Hz", (sr, change, seconds))
    (failed,) = [check for check in checks.check_model("pico-64") if not check.ok]
    assert failed.what == "the same bytes as everywhere"
    sound = "a sawtooth" if step == 2 else "noise at 16000 Hz" if step == 1 else "noise at 8000 Hz"
    assert f"the first step that differs is {what}: sha256 " in failed.found
    assert step == 2 or failed.found.startswith(f"{sound}: ") or step == 1


def environments():
    """Yield settings under which the same bytes must come: threads of the BLAS, and every kernel that runs here."""
    yield {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    yield {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"}
    for core in ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake", "Sapphirerapids"):
        yield {"OPENBLAS_CORETYPE": core}
    yield {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR AVX2 FMA3"
    }


@pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")
@pytest.mark.parametrize("settings", list(environments()), ids=lambda settings: "-".join(settings.values())[:24])
def test_the_same_bytes_with_any_kernel(settings):
    """A processor without a kernel's instructions takes another one, or the process is killed; then it is left out."""
    recording = str(ROOT / "docs" / "demo" / "street.flac")

    def run(extra):
        path = os.pathsep.join([str(edgel3_np.__path__[0]) + "/..", os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", **extra}
        return subprocess.run(
            [sys.executable, "-c", CODE, recording], capture_output=True, text=True, env=environment, timeout=300
        )

    ran = run(settings)
    if ran.returncode < 0:
        pytest.skip(f"this processor cannot run it: signal {-ran.returncode}")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found[0] == found[1] == found[2] == DEMO
    assert found[5:] == [DEMO_STREAM] * 3
    assert found[3:5] == [edgel3_np.embed(noise(100000), 44100, hop_size=hop).sha256() for hop in (0.02, 0.5)]


@pytest.mark.parametrize("model, expected", [("pico-64", DEMO), ("pico-64-stream", DEMO_STREAM)])
def test_the_demo_recording(model, expected):
    assert edgel3_np.embed(ROOT / "docs" / "demo" / "street.flac", model=model).sha256() == expected
    if model == "pico-64":
        assert f"\n{DEMO[:16]}\n" in (ROOT / "docs" / "exact.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("batch", [1, 3, 16, 256])
def test_the_same_bytes_in_any_batch(batch, monkeypatch):
    from edgel3_np.features.levels import level_spectrogram
    from edgel3_np.network.forward import Workspace, forward

    network = edgel3_np.load_model().network
    windows = noise(256 * 2000 + 6000).astype(np.float64)
    windows = np.lib.stride_tricks.as_strided(windows, (256, 8000), (2000 * 8, 8), writeable=False)
    work, parts = Workspace(network, batch), []
    for first in range(0, 256, batch):
        some = windows[first : first + batch]
        parts.append(forward(work, level_spectrogram(some, network.frontend, network.bands, 2000)))
    alone = [
        forward(work, level_spectrogram(windows[i : i + 1], network.frontend, network.bands)) for i in (0, 100, 255)
    ]
    found = np.concatenate(parts)
    assert [one.tobytes() for one in alone] == [found[i : i + 1].tobytes() for i in (0, 100, 255)]
    assert Embedding(found, np.zeros(256)).sha256() == BATCHES


BATCHES = "aadc86d13056f7eaf846f9d7d7a0e87cb884e972cead6e87994966b03baf06ad"
