import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import oracles
import pytest
import soundfile
from factory import random_weights

import edgel3_np
from edgel3_np import plot
from edgel3_np.columns import COLUMNS, Columns, Signal
from edgel3_np.embedding import framing_of
from edgel3_np.melspectrogram import FrontEnd, corners, mel_filters, melspectrogram
from edgel3_np.metadata import OPENL3, SEA, SPARSE
from edgel3_np.plan import plan

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # matplotlib 3.6 calls its parser by old names
    pytest.importorskip("matplotlib.figure", reason="needs matplotlib (extra plot)")
    import matplotlib.colors
    import matplotlib.mathtext  # noqa: F401


def panels(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def image(figure, name):
    (shown,) = panels(figure)[name].images
    return np.asarray(shown.get_array()), shown


def watched(network, signal, block=777):
    """What a `Signal` gathers."""
    seen = Signal(network)
    passed = list(seen.watch(signal[i : i + block] for i in range(0, len(signal), block)))
    np.testing.assert_array_equal(np.concatenate(passed), signal)
    return seen


@pytest.fixture(scope="module")
def figure(small_model, sweep):
    return plot.embedding(sweep, 8000, model=small_model)


def test_panels_lie_over_the_same_seconds_and_say_what_they_show(figure):
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
    assert axes["self-similarity"].get_xlabel().startswith("time, s (of an embedding: the middle")
    width, height = figure.get_size_inches()
    place = axes["self-similarity"].get_position()
    assert place.width * width == pytest.approx(place.height * height)  # square


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


def test_the_spectrogram_is_the_front_ends(small_model, sweep, figure):
    """Frame by frame: what a window that begins with hop 3 says, but relative to the loudest of all."""
    shown, picture = image(figure, "spectrogram")
    frontend = small_model.frontend
    assert shown.shape == (64, -(-17003 // 160)) and shown.max() == 0
    assert list(picture.get_extent()) == [0, shown.shape[1] * 160 / 8000, 0, 64]
    first, last = frontend.inner
    assert (first, last) == (3, 47)  # frames that see no zeros around the window
    for start in (0, 7, 41):
        window = sweep[np.newaxis, start * 160 : start * 160 + 8000]
        logmel = melspectrogram(window, frontend, small_model.network.bands)[0]
        found = shown[:, start + first : start + last]
        expected = 2.0 * logmel[:, first:last]
        inside = expected > -159  # not cut off
        difference = (found - expected)[inside]
        assert np.ptp(difference) < 1e-3 and difference.max() <= 1e-3


@pytest.mark.parametrize("frontend", [SEA, SPARSE, OPENL3["linear"], OPENL3["mel128"], FrontEnd(1000, 2048, 20, 64)])
def test_frames_of_any_front_end_lie_side_by_side(frontend):
    """A click is in the frames around it and in no others, wherever windows meet."""
    network = plan(random_weights(frontend=frontend))
    sr, hop = frontend.sr, frontend.hop_length
    for at in (0.4, 0.93, 1.0, 1.99, 2.2):
        signal = np.zeros(int(2.3 * sr))
        signal[int(at * sr)] = 1.0
        level = watched(network, signal, 4001).level.mean()
        assert len(level) == -(-len(signal) // hop)
        loud = level.max(axis=1)
        if frontend.n_fft < sr:
            assert abs(int(loud.argmax()) - at * sr / hop) <= 2
            heard = np.flatnonzero(loud > loud.max() - 30)
            assert np.ptp(heard) + 1 == len(heard) <= frontend.n_fft / hop + 1


def test_the_frames_agree_with_the_oracle(small_model, sweep):
    level = watched(small_model.network, sweep).level.mean()
    expected = oracles.melspectrogram(sweep[:8000], SEA, mel_filters(SEA).astype(float))
    expected = np.asarray(expected)
    expected = expected if expected.shape == (50, 64) else expected.T
    difference = level[3:47] - expected[3:47]
    assert np.ptp(difference[expected[3:47] > -79]) < 1e-3


def test_hertz_are_where_their_bands_are():
    for frontend in (SEA, SPARSE, OPENL3["mel128"], OPENL3["linear"]):
        mel, bins = mel_filters(frontend), np.arange(1 + frontend.n_fft // 2) * frontend.sr / frontend.n_fft
        rows = plot._rows(corners(frontend)[1:-1], frontend)
        np.testing.assert_allclose(rows, np.arange(frontend.n_mels) + 0.5)
        for band in (frontend.n_mels // 2, frontend.n_mels - 2):
            centre = (mel[:, band] @ bins) / mel[:, band].sum()  # of gravity
            assert abs(plot._rows(centre, frontend) - band - 0.5) < 0.5
        ticks = plot._ticks(frontend)
        assert ticks[0] == 0 and len(ticks) >= 4 and ticks[-1] >= frontend.sr / 4
        assert (np.diff(plot._rows(ticks, frontend)) > 0.08 * frontend.n_mels).all()


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


def test_where_windows_start(small_model, sweep):
    figure = plot.embedding(sweep, 8000, model=small_model, center=False, hop_size=0.25, title="my $title")
    assert "start of its window" in panels(figure)["self-similarity"].get_xlabel()
    embedding, timestamps = small_model.embed(sweep, 8000, center=False, hop_size=0.25)
    shown, picture = image(figure, "embedding")
    np.testing.assert_allclose(shown, embedding.T, rtol=1e-6)
    assert picture.get_extent()[:2] == pytest.approx([-0.125, timestamps[-1] + 0.125])
    assert figure._suptitle.get_text() == "my $title"


@pytest.mark.parametrize("count", [1, 2, 1999, 2000, 2001, 4000, 7777, 40_001])
def test_columns_keep_means_and_extremes(count):
    rng = np.random.default_rng(count)
    items = rng.standard_normal((count, 3))
    added, lowest, highest = Columns(np.add, 0.0), Columns(np.minimum, np.inf), Columns(np.maximum, -np.inf)
    parts = np.split(items, np.sort(rng.integers(0, count + 1, 9)))
    for columns in (added, lowest, highest):
        for part in parts:
            columns.add(part)
    size = added.size
    assert added.count == count and size & (size - 1) == 0
    assert len(added.mean()) == -(-count // size) <= COLUMNS and (size == 1 or len(added.mean()) > COLUMNS // 2)
    groups = [items[i : i + size] for i in range(0, count, size)]
    np.testing.assert_allclose(added.mean(), [group.mean(axis=0) for group in groups], atol=1e-5)
    np.testing.assert_array_equal(lowest.result(), np.float32([group.min(axis=0) for group in groups]))
    np.testing.assert_array_equal(highest.result(), np.float32([group.max(axis=0) for group in groups]))


def test_a_click_in_a_long_recording_is_seen(small_model):
    signal = np.zeros(8000 * 60)
    signal[123_456] = 0.9
    figure = plot.embedding(signal, 8000, model=small_model, hop_size=5)
    (shape,) = panels(figure)["waveform"].collections
    points = shape.get_paths()[0].vertices
    time, highest = points[points[:, 1].argmax()]
    assert highest == pytest.approx(0.9) and time == pytest.approx(123_456 / 8000, abs=0.05)


def test_many_moments_are_put_together(small_model, monkeypatch, sweep):
    monkeypatch.setattr(plot, "MOMENTS", 4)
    figure = plot.embedding(sweep, 8000, model=small_model)
    embedding, _ = small_model.embed(sweep, 8000)
    assert len(embedding) == 18  # in pairs 9, in fours 5, in eights 3
    means = np.array([embedding[i : i + 8].astype(np.float64).mean(axis=0) for i in (0, 8, 16)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    cosines, picture = image(figure, "self-similarity")
    np.testing.assert_allclose(cosines, unit @ unit.T, atol=1e-6)
    assert picture.get_extent()[:2] == pytest.approx([-0.05, 3 * 0.8 - 0.05])
    assert image(figure, "embedding")[0].shape[1] == 18


def test_memory_does_not_grow_with_the_recording(small_model, tmp_path, monkeypatch):
    """On one thread: how many pieces are under way at once is chance on two."""
    monkeypatch.setattr("edgel3_np.parallel.check_threads", lambda threads, active: 1)

    def peak(seconds):
        with soundfile.SoundFile(tmp_path / "a.wav", "w", 8000, 1) as file:
            for _ in range(seconds):
                file.write(np.random.default_rng(0).standard_normal(8000) / 9)
        tracemalloc.start()
        plot.embedding(tmp_path / "a.wav", model=small_model, hop_size=1)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)
    assert peak(900) - peak(300) < 2 << 20  # as float64 there are 38 MB between them


@pytest.mark.parametrize("signal", [np.full(1600, 0.1), np.zeros(1600), np.zeros(24000), np.ones(1)])
@pytest.mark.filterwarnings("ignore::edgel3_np.EdgeL3Warning")
def test_short_and_silent_recordings(signal, small_model, tmp_path):
    figure = plot.embedding(signal, 8000, model=small_model)
    for name in ("spectrogram", "embedding", "self-similarity"):
        assert np.isfinite(image(figure, name)[0]).all()
    extent = list(image(figure, "self-similarity")[1].get_extent())
    if len(signal) < 4000:
        assert extent == [0, len(signal) / 8000] * 2  # the only window stands for all
    if not signal.any():
        assert image(figure, "spectrogram")[0].max() == -200  # darkest, not loudest
    plot.save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_cosine_of_nothing_is_zero():
    vectors = np.array([[0, 0], [3, 4], [-6, -8], [4, -3]], np.float32)
    np.testing.assert_allclose(
        plot._cosines(vectors), [[0, 0, 0, 0], [0, 1, -1, 0], [0, -1, 1, 0], [0, 0, 0, 1]], atol=1e-7
    )


def test_what_is_unusual_is_warned_of(small_model):
    with pytest.warns(edgel3_np.EdgeL3Warning, match="shorter than a window") as caught:
        plot.embedding(np.ones(100), 8000, model=small_model)
    assert caught[0].filename == __file__
    with pytest.raises(edgel3_np.EdgeL3Error, match="at least one sample"):
        plot.embedding(np.zeros(0), 8000, model=small_model)
    with pytest.raises(edgel3_np.EdgeL3Error, match="hop_size"):
        plot.embedding(np.ones(100), 8000, model=small_model, hop_size=0)
    with pytest.raises(edgel3_np.EdgeL3Error, match="dim: expected 16"):
        plot.embedding(np.ones(100), 8000, model=small_model, dim=5)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_bytes_every_time(small_model, sweep, tmp_path, kind):
    settings = dict(matplotlib.rcParams)
    for name in "ab":
        figure = plot.embedding(sweep, 8000, model=small_model)
        plot.save(figure, tmp_path / f"{name}.{kind}")
    content = (tmp_path / f"a.{kind}").read_bytes()
    assert content == (tmp_path / f"b.{kind}").read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    assert dict(matplotlib.rcParams) == settings
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{kind}", f"b.{kind}"]


def test_a_picture_is_there_whole_or_not_at_all(figure, tmp_path, monkeypatch):
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
        f"plot.embedding(numpy.ones(9000), 8000, model={str(small_npz)!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    environment = {"PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent), "MPLBACKEND": "TkAgg"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=100)
    assert ran.returncode == 0, ran.stderr


def test_without_matplotlib(monkeypatch, small_model, small_npz, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(edgel3_np.EdgeL3Error, match=r"pip install 'edgel3_np\[plot\]'"):
        plot.embedding(np.ones(100), 8000, model=small_model)
    assert plot.main(["a.wav", "-m", str(small_npz)]) == 2
    assert "edgel3_np[plot]" in capsys.readouterr().err


@pytest.fixture
def recording(sweep, tmp_path):
    path = tmp_path / "a $b_{ \\frac.wav"  # no formula
    soundfile.write(path, sweep, 8000)
    return path


def test_the_command(recording, small_npz, capsys):
    from edgel3_np.cli import main

    assert main(["plot", str(recording), "-m", str(small_npz), "-t", "0.5", "-n"]) == 0
    out, err = capsys.readouterr()
    output = Path(f"{recording}.png")
    assert (out, err) == (f"{output}\n", "") and output.read_bytes().startswith(b"\x89PNG")
    svg = recording.parent / "b.svg"
    assert main(["plot", str(recording), "-m", str(small_npz), "-t", "0.5", "--title", "x", "-o", str(svg)]) == 0
    assert svg.read_bytes().startswith(b"<?xml")


def test_the_commands_errors(recording, small_npz, tmp_path, capsys):
    model = ["-m", str(small_npz)]
    assert plot.main([str(recording), *model, "-o", "a.gif"]) == 2
    assert plot.main([str(recording), "-m", "no-such-model"]) == 2
    assert plot.main([str(recording), *model, "-t", "0"]) == 2
    assert plot.main([str(tmp_path / "missing.wav"), *model]) == 1
    assert plot.main([str(recording), *model, "-o", str(tmp_path / "no" / "a.png")]) == 1
    with pytest.raises(SystemExit) as stopped:
        plot.main([])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("edgel3-np plot: ") >= 5 and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == [recording.name]
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 8000)
    assert plot.main([str(tmp_path / "short.wav"), *model]) == 0
    assert capsys.readouterr().err.count("warning: audio") == 2


def test_the_default_model_is_found(sweep):
    figure = plot.embedding(sweep[:9000], 8000)
    assert figure._suptitle.get_text() == "pico-64"
    assert framing_of(edgel3_np.load_model().network, 0.1, True).hop == 800
