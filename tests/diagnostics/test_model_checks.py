import builtins
import os
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from edgel3_np import list_models, load_model
from edgel3_np.diagnostics import checks
from edgel3_np.diagnostics.checks import check_model, compare_with_float64, read_golden, synthesise
from edgel3_np.model import Model, build_model
from edgel3_np.network import threads
from edgel3_np.weights.format import load_weights, save_weights
from edgel3_np.weights.locate import PATH_VARIABLE, find_model


def compare(model):
    """Return what `compare_with_float64` finds for a model, given by name or path."""
    path = find_model(model)
    weights = load_weights(path)
    return compare_with_float64(build_model(weights), weights, path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make a directory that is searched first, with a copy of the bundled model and its golden embedding."""
    path = list_models()["pico-64"]
    for suffix in (".npz", ".golden.npy"):
        shutil.copy(path.with_suffix(suffix), tmp_path)
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path))
    return tmp_path


def test_the_weight_file_is_read_once(folder, monkeypatch):
    opened, open_file = [], builtins.open
    monkeypatch.setattr(
        builtins, "open", lambda path, *rest, **options: opened.append(path) or open_file(path, *rest, **options)
    )
    assert [check.ok for check in check_model("pico-64")] == [True] * 9
    names = [os.path.basename(path) for path in opened if isinstance(path, (str, os.PathLike))]
    assert names.count("pico-64.npz") == names.count("pico-64.golden.npy") == 1


def test_the_reference_is_computed_on_one_blas_thread(small_npz, monkeypatch):
    active, reference = [], checks.reference.reference_embedding

    def record(*arguments):
        active.append(len(threads._inside))
        return reference(*arguments)

    monkeypatch.setattr(checks.reference, "reference_embedding", record)
    assert compare(small_npz)["difference"] <= 1e-5
    assert active == [1] and not threads._inside


def test_a_golden_embedding_cut_short(folder):
    golden = folder / "pico-64.golden.npy"
    golden.write_bytes(golden.read_bytes()[:-4])
    assert [check.ok for check in check_model("pico-64")] == [True, True, True, False]


@pytest.mark.parametrize("key", ["difference", "golden"])
@pytest.mark.parametrize("value", [1e-4, np.nan])
def test_wrong_numbers(monkeypatch, key, value):
    found = {"difference": 1e-7, "golden": 1e-7, "limit": 5e-5}
    monkeypatch.setattr(checks, "compare_with_float64", lambda *_: {**found, key: value})
    what = {"difference": "network against whole numbers", "golden": "embedding against the golden one"}[key]
    assert [check.what for check in check_model("pico-64") if not check.ok] == [what]


def test_bytes_that_depend_on_threads(monkeypatch):
    class Off(Model):
        """A model whose first number depends on the number of threads."""

        def embed(self, sound, sr, threads=1, **options):
            found = super().embed(sound, sr, threads=threads, **options)
            found.embedding[0, 0] += threads - 1
            return found

    def build(weights):
        model = build_model(weights)
        return Off(**{field.name: getattr(model, field.name) for field in fields(model)})

    monkeypatch.setattr(checks, "build_model", build)
    assert [check.what for check in check_model("pico-64") if not check.ok] == ["2 threads against 1"]


def test_a_resampler_that_computes_wrongly(monkeypatch):
    """As with a NumPy that divides integers wrongly: only sound of another rate than the model's is affected."""
    real = checks.resample
    monkeypatch.setattr(checks, "resample", lambda *given: (block * (1 + 1e-8) for block in real(*given)))
    assert [check.what for check in check_model("pico-64") if not check.ok] == ["resampler against single sums"]
    monkeypatch.setattr(checks, "resample", lambda *given: (block[1:] for block in real(*given)))
    (failed,) = [check for check in check_model("pico-64") if not check.ok]
    assert failed.what == "resampler against single sums" and "difference inf" in failed.found


def test_a_front_end_that_computes_wrongly(small_npz, monkeypatch):
    real = checks.log_mel_spectrogram
    monkeypatch.setattr(checks, "log_mel_spectrogram", lambda *given: real(*given) + np.float32(0.001))
    failed = [check.what for check in check_model(str(small_npz)) if not check.ok]
    assert failed == ["log-mel spectrogram against a naive one"]
    monkeypatch.setattr(checks, "level_spectrogram", lambda *given: np.maximum(checks_level(*given) - 1, 0))
    failed = [check.what for check in check_model("pico-64") if not check.ok]
    assert failed == ["levels against a naive spectrogram"]


checks_level = checks.level_spectrogram


def test_an_error_anywhere_is_a_failed_check(monkeypatch):
    def fail(*_):
        raise IndexError("index -7 is out of bounds")

    monkeypatch.setattr(checks, "resample", fail)
    last = list(check_model("pico-64"))[-1]
    assert (last.what, last.ok) == ("code", False) and "IndexError: index -7 is out" in last.found


def test_a_stream_that_loses_a_window(monkeypatch):
    monkeypatch.setattr(
        checks.Stream, "over", lambda self, blocks: (self.feed(block) for block in blocks)
    )  # it does not flush the stream
    assert [check.what for check in check_model("pico-64") if not check.ok] == ["stream against the whole"]


def test_the_check_uses_the_pool_grid_of_long_embeddings(tmp_path):
    """OpenL3's embeddings are the maxima of 4 x 3 parts of the last map."""
    from factory import random_weights

    from edgel3_np.weights.registry import OPENL3_FRONTENDS

    weights = random_weights(filters=(1,) * 8, frontend=OPENL3_FRONTENDS["mel256"], final_activation="linear")
    save_weights(tmp_path / "long.npz", weights._replace(pool_grid=(4, 3)))
    found = compare(tmp_path / "long.npz")
    assert load_model(tmp_path / "long.npz").dim == 12 and found["difference"] <= 1e-5


def test_the_short_embedding_of_a_model_with_two_lengths(tmp_path):
    from factory import random_weights

    from edgel3_np.weights.registry import OPENL3_FRONTENDS

    weights = random_weights(filters=(2,) * 8, frontend=OPENL3_FRONTENDS["mel128"], final_activation="linear")
    weights = weights._replace(pool_grid=(4, 3))
    model = build_model(weights, 2)
    assert model.dim == 2 and compare_with_float64(model, weights, tmp_path / "x.npz")["difference"] <= 1e-5


def test_the_generated_sound_is_always_the_same():
    first, second = synthesise(8000, 1.0), synthesise(8000, 1.0)
    assert first.tobytes() == second.tobytes() and len(first) == 8000 and abs(first).max() <= 1


def test_the_bundled_model_agrees_with_its_golden_embedding():
    found = compare("pico-64")
    assert found["difference"] == found["golden"] == 0.0


def test_a_wrong_golden_embedding_is_seen(small_npz, tmp_path):
    path = Path(shutil.copy(small_npz, tmp_path))
    assert read_golden(path, 16) is None
    expected = load_model(path).embed(synthesise(8000, 1.0), 8000, center=False).embedding[0]
    for factor, size in ((1.0, 0.0), (1.5, 1 / 3)):
        np.save(path.with_suffix(".golden.npy"), factor * expected)
        assert compare(path)["golden"] == pytest.approx(size, abs=1e-6)
    assert compare(path)["difference"] <= 1e-5
