import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgel3_np import iter_files
from edgel3_np.commands import main as cli
from edgel3_np.commands import plot

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # matplotlib 3.6 uses deprecated names of its parser
    pytest.importorskip("matplotlib.figure", reason="needs matplotlib (extra plot)")
    import matplotlib.mathtext  # noqa: F401


@pytest.fixture
def recording(sweep, tmp_path):
    path = tmp_path / "a $b_{ \\frac.wav"  # the title must not become a formula
    soundfile.write(path, sweep, 8000)
    return path


def test_a_picture_is_written(recording, small_npz, capsys):
    assert cli.main(["plot", str(recording), "-m", str(small_npz), "-t", "0.5", "-n"]) == 0
    out, err = capsys.readouterr()
    output = Path(f"{recording}.png")
    assert (out, err) == (f"{output}\n", "") and output.read_bytes().startswith(b"\x89PNG")
    svg = recording.parent / "b.svg"
    assert cli.main(["plot", str(recording), "-m", str(small_npz), "-t", "0.5", "--title", "x", "-o", str(svg)]) == 0
    assert svg.read_bytes().startswith(b"<?xml")


def test_errors(recording, small_npz, tmp_path, capsys):
    model = ["-m", str(small_npz)]
    assert plot.main([str(recording), *model, "-o", "a.gif"]) == 2
    assert plot.main([str(recording), "-m", "no-such-model"]) == 2
    assert plot.main([str(recording), *model, "-t", "1e-6"]) == 2
    assert plot.main([str(tmp_path / "missing.wav"), *model]) == 1
    for wrong in ([], [str(recording), *model, "-t", "0"]):
        with pytest.raises(SystemExit) as stopped:
            plot.main(wrong)
        assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("edgel3-np plot: ") >= 5 and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == [recording.name]
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 8000)
    assert plot.main([str(tmp_path / "short.wav"), *model]) == 0
    assert capsys.readouterr().err.count("short.wav: ") == 2


def test_without_matplotlib(monkeypatch, small_npz, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plot.main(["a.wav", "-m", str(small_npz)]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_an_interruption(recording, small_npz, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(plot, "plot_recording", interrupt)
    assert plot.main([str(recording), "-m", str(small_npz)]) == 130
    assert "interrupted" in capsys.readouterr().err and not Path(f"{recording}.png").exists()


def test_the_error_names_the_picture_that_cannot_be_written(recording, small_npz, tmp_path, capsys, monkeypatch):
    """The error does not name a temporary file."""
    output = tmp_path / "no" / "a.png"
    assert plot.main([str(recording), "-m", str(small_npz), "-o", str(output)]) == 0 and output.is_file()
    assert capsys.readouterr().out == f"{output}\n"
    monkeypatch.setattr(plot, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device", "tmp")))
    assert plot.main([str(recording), "-m", str(small_npz), "-o", str(output)]) == 1
    expected = f"edgel3-np plot: {output}: cannot be written: No space left on device\n"
    assert capsys.readouterr() == ("", expected)


def test_embeddings_in_place_of_a_recording(recording, small_npz, capsys):
    list(iter_files(recording, recording.parent, model=small_npz))
    (results,) = recording.parent.glob("*.npz")
    assert plot.main([str(results), "-m", str(small_npz)]) == 2
    assert f"found embeddings; plot {recording}" in capsys.readouterr().err
