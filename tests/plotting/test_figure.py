import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgel3_np
from edgel3_np.features.log_mel import log_mel_spectrogram
from edgel3_np.features.mel import mel_filterbank, mel_frequencies
from edgel3_np.network import threads
from edgel3_np.pipeline import framing_for
from edgel3_np.plotting import figure as plot
from edgel3_np.weights.registry import OPENL3_FRONTENDS, SEA, SPARSE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # matplotlib 3.6 uses deprecated names of its parser
    pytest.importorskip("matplotlib.figure", reason="needs matplotlib (extra plot)")
    import matplotlib.colors
    import matplotlib.mathtext  # noqa: F401


def panels(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def image(figure, name):
    (shown,) = panels(figure)[name].images
    return np.asarray(shown.get_array()), shown


@pytest.fixture(scope="module")
def figure(small_model, sweep):
    return plot.plot_recording(sweep, 8000, model=small_model)


def test_panels_share_the_time_axis_and_have_labels(figure):
    axes = panels(figure)
    shown = ["waveform", "spectrogram", "embedding", "self-similarity"]
    assert list(axes) == [
        *shown[:2],
        "dB (loudest: 0)",
        "embedding",
        "value",
        "self-similarity",
        figure.axes[-1].get_label(),
    ]
    assert figure.axes[-1].get_ylabel() == "cosine of the embeddings"
    seconds = 17003 / 8000
    for name in shown:
        assert axes[name].get_xlim() == (0, seconds)
        place = axes[name].get_position()
        assert (place.x0, place.x1) == pytest.approx((axes["waveform"].get_position().x0, place.x1))
    assert axes["self-similarity"].get_ylim() == (0, seconds)
    assert [axes[name].get_ylabel() for name in shown] == ["amplitude", "frequency, Hz", "dimension", "time, s"]
    assert axes["self-similarity"].get_xlabel().startswith("time, s (an embedding stands at the middle")
    width, height = figure.get_size_inches()
    place = axes["self-similarity"].get_position()
    assert place.width * width == pytest.approx(place.height * height)  # it is square


def test_nothing_overlaps_or_leaves_the_picture(figure):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, (width, height) = canvas.get_renderer(), canvas.get_width_height()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            boxes = [tick.label1.get_window_extent(renderer) for tick in axis.get_major_ticks()]
            boxes += [tick.label2.get_window_extent(renderer) for tick in axis.get_major_ticks()]
            boxes = [box for box in (*boxes, axis.label.get_window_extent(renderer)) if box.width > 1]
            for i, box in enumerate(boxes):
                assert min(box.x0, box.y0) >= 0 and box.x1 <= width and box.y1 <= height
                assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_spectrogram_is_that_of_the_front_end(small_model, sweep, figure):
    """Each frame equals that of a window around it, but relative to the loudest frame of the recording."""
    shown, picture = image(figure, "spectrogram")
    frontend = small_model.frontend
    assert shown.shape == (64, -(-17003 // 160)) and shown.max() == 0
    assert list(picture.get_extent()) == [0, shown.shape[1] * 160 / 8000, 0, 64]
    first, last = frontend.whole_frames
    assert (first, last) == (3, 47)  # frames that see no zeros around the window
    for start in (0, 7, 41):
        window = sweep[np.newaxis, start * 160 : start * 160 + 8000]
        log_mel = log_mel_spectrogram(window, frontend, small_model.network.bands)[0]
        found = shown[:, start + first : start + last]
        expected = 2.0 * log_mel[:, first:last]
        inside = expected > -159  # not clipped
        difference = (found - expected)[inside]
        assert np.ptp(difference) < 1e-3 and difference.max() <= 1e-3


def test_frequencies_are_marked_at_their_bands():
    for frontend in (SEA, SPARSE, OPENL3_FRONTENDS["mel128"], OPENL3_FRONTENDS["linear"]):
        mel, bins = mel_filterbank(frontend), np.arange(1 + frontend.n_fft // 2) * frontend.sr / frontend.n_fft
        rows = plot._band_position(mel_frequencies(frontend)[1:-1], frontend)
        np.testing.assert_allclose(rows, np.arange(frontend.n_mels) + 0.5)
        for band in (frontend.n_mels // 2, frontend.n_mels - 2):
            centre = (mel[:, band] @ bins) / mel[:, band].sum()  # centre of gravity
            assert abs(plot._band_position(centre, frontend) - band - 0.5) < 0.5
        ticks = plot._choose_ticks(frontend)
        assert ticks[0] == 0 and len(ticks) >= 4 and ticks[-1] >= frontend.sr / 4
        assert (np.diff(plot._band_position(ticks, frontend)) > 0.08 * frontend.n_mels).all()


def test_embeddings_and_cosines(small_model, sweep, figure):
    embedding, timestamps = small_model.embed(sweep, 8000)
    shown, picture = image(figure, "embedding")
    np.testing.assert_allclose(shown, embedding.T, rtol=1e-6)
    assert picture.get_extent() == pytest.approx([timestamps[0] - 0.05, timestamps[-1] + 0.05, 0, small_model.dim])
    unit = embedding.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines, picture = image(figure, "self-similarity")
    np.testing.assert_allclose(cosines, unit @ unit.T, atol=1e-6)
    assert picture.get_extent() == pytest.approx([timestamps[0] - 0.05, timestamps[-1] + 0.05] * 2)
    assert picture.get_clim()[1] == 1 and picture.get_clim()[0] <= cosines.min()
    assert {picture.get_cmap().name, image(figure, "spectrogram")[1].get_cmap().name} == {"cividis", "magma"}


def test_without_centring_the_axis_gives_the_start_of_windows(small_model, sweep):
    figure = plot.plot_recording(sweep, 8000, model=small_model, center=False, hop_size=0.25, title="my $title")
    assert "start of its window" in panels(figure)["self-similarity"].get_xlabel()
    embedding, timestamps = small_model.embed(sweep, 8000, center=False, hop_size=0.25)
    shown, picture = image(figure, "embedding")
    np.testing.assert_allclose(shown, embedding.T, rtol=1e-6)
    assert picture.get_extent()[:2] == pytest.approx([-0.125, timestamps[-1] + 0.125])
    assert figure._suptitle.get_text() == "my $title"


def test_a_click_in_a_long_recording_is_seen(small_model):
    signal = np.zeros(8000 * 60)
    signal[123_456] = 0.9
    figure = plot.plot_recording(signal, 8000, model=small_model, hop_size=5)
    (shape,) = panels(figure)["waveform"].collections
    points = shape.get_paths()[0].vertices
    time, highest = points[points[:, 1].argmax()]
    assert highest == pytest.approx(0.9) and time == pytest.approx(123_456 / 8000, abs=0.05)


def test_many_moments_are_averaged(small_model, monkeypatch, sweep):
    monkeypatch.setattr(plot, "MAX_MOMENTS", 4)
    figure = plot.plot_recording(sweep, 8000, model=small_model)
    embedding, _ = small_model.embed(sweep, 8000)
    assert len(embedding) == 18  # in pairs 9, in fours 5, in eights 3
    means = np.array([embedding[i : i + 8].astype(np.float64).mean(axis=0) for i in (0, 8, 16)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosines, picture = image(figure, "self-similarity")
    np.testing.assert_allclose(cosines, unit @ unit.T, atol=1e-6)
    assert picture.get_extent()[:2] == pytest.approx([-0.05, 3 * 0.8 - 0.05])
    assert image(figure, "embedding")[0].shape[1] == 18


def test_memory_does_not_grow_with_the_recording(small_model, tmp_path, monkeypatch):
    """It runs on one thread, because with two, chance decides how many batches are computed at once."""
    monkeypatch.setattr("edgel3_np.pipeline.check_threads", lambda threads, active: 1)

    def peak(seconds):
        with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1) as file:
            for _ in range(seconds):
                file.write(np.random.default_rng(0).standard_normal(8000) / 9)
        tracemalloc.start()
        plot.plot_recording(tmp_path / "a.wav", model=small_model, hop_size=1)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(900) - peak(300) < 2 << 20  # the recordings differ by 38 MB


@pytest.mark.parametrize("signal", [np.full(1600, 0.1), np.zeros(1600), np.zeros(24000), np.ones(1)])
@pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")
def test_short_and_silent_recordings(signal, small_model, tmp_path):
    figure = plot.plot_recording(signal, 8000, model=small_model)
    for name in ("spectrogram", "embedding", "self-similarity"):
        assert np.isfinite(image(figure, name)[0]).all()
    extent = list(image(figure, "self-similarity")[1].get_extent())
    if len(signal) < 4000:
        assert extent == [0, len(signal) / 8000] * 2  # one window stands for the whole recording
    if not signal.any():
        assert image(figure, "spectrogram")[0].max() == -200  # silence is dark
    plot.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_cosine_of_zeros_is_zero():
    vectors = np.array([[0, 0], [3, 4], [-6, -8], [4, -3]], np.float32)
    np.testing.assert_allclose(
        plot._cosines(vectors), [[0, 0, 0, 0], [0, 1, -1, 0], [0, -1, 1, 0], [0, 0, 0, 1]], atol=1e-7
    )


def test_cosines_are_computed_on_one_blas_thread():
    active = []

    class Watched(np.ndarray):
        """An array that records, for each matrix product, how many calls keep the BLAS at one thread."""

        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            if ufunc is np.matmul:
                active.append(len(threads._inside))
            arrays = [np.asarray(array) for array in inputs]
            return np.asarray(getattr(ufunc, method)(*arrays, **options)).view(Watched)

    vectors = np.random.default_rng(0).standard_normal((7, 5))
    cosines = plot._cosines(vectors.view(Watched))
    assert active == [1] and not threads._inside
    np.testing.assert_array_equal(np.asarray(cosines), plot._cosines(vectors))


def test_warnings_and_errors_about_a_recording(small_model, tmp_path):
    with pytest.warns(edgel3_np.EdgeL3Warning, match="shorter than a window") as caught:
        plot.plot_recording(np.ones(100), 8000, model=small_model)
    assert caught[0].filename == __file__
    path = tmp_path / "short.wav"
    soundfile.write(path, np.full(100, 0.1), 8000)
    with pytest.warns(edgel3_np.EdgeL3Warning, match="short.wav: .*shorter than a window"):
        plot.plot_recording(path, model=small_model)
    with pytest.raises(edgel3_np.EdgeL3Error, match="at least one sample"):
        plot.plot_recording(np.zeros(0), 8000, model=small_model)
    with pytest.raises(edgel3_np.EdgeL3Error, match="hop_size"):
        plot.plot_recording(np.ones(100), 8000, model=small_model, hop_size=0)
    with pytest.raises(edgel3_np.EdgeL3Error, match="dim: expected 16"):
        plot.plot_recording(np.ones(100), 8000, model=small_model, dim=5)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_bytes_every_time(small_model, sweep, tmp_path, kind):
    settings = dict(matplotlib.rcParams)
    for name in "ab":
        figure = plot.plot_recording(sweep, 8000, model=small_model)
        plot.save(figure, tmp_path / f"{name}.{kind}")
    content = (tmp_path / f"a.{kind}").read_bytes()
    assert content == (tmp_path / f"b.{kind}").read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert dict(matplotlib.rcParams) == settings
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{kind}", f"b.{kind}"]


def test_a_picture_is_written_completely_or_not_at_all(figure, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def fail(*args, **options):
        args[0].write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(type(figure), "savefig", lambda self, *args, **options: fail(*args, **options))
    with pytest.raises(OSError, match="disk full"):
        plot.save(figure, path)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1
    for name in ("a", "a.gif", "a.png.gz"):
        with pytest.raises(edgel3_np.EdgeL3Error, match="png, .svg or .pdf"):
            plot.save(figure, tmp_path / name)


def test_no_window_system_and_no_pyplot(small_npz):
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "import numpy; from edgel3_np import plot\n"
        "assert 'matplotlib' not in sys.modules and 'argparse' not in sys.modules\n"
        f"plot.plot_recording(numpy.ones(9000), 8000, model={str(small_npz)!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    environment = {"PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent), "MPLBACKEND": "TkAgg"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=100)
    assert ran.returncode == 0, ran.stderr


def test_without_matplotlib(monkeypatch, small_model):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(edgel3_np.EdgeL3Error, match="pip install matplotlib"):
        plot.plot_recording(np.ones(100), 8000, model=small_model)


def test_the_public_module():
    from edgel3_np import plot as door

    assert door.plot_recording is plot.plot_recording and door.save is plot.save
    with pytest.warns(DeprecationWarning, match="edgel3_np.plot.embedding is now .*plot_recording"):
        assert door.embedding is plot.plot_recording


def test_the_default_model_is_found(sweep):
    figure = plot.plot_recording(sweep[:9000], 8000)
    assert figure._suptitle.get_text() == "pico-64"
    assert framing_for(edgel3_np.load_model().network, 0.1, True).hop == 800
