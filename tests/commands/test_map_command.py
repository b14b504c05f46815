import os

import pytest
from pages.test_assemble import data_of
from trained import write_sounds

import edgel3_np
from edgel3_np.commands.main import main


@pytest.fixture
def collection(tmp_path):
    write_sounds(tmp_path / "sounds", 2, seconds=2.0)
    edgel3_np.embed_files(tmp_path / "sounds", tmp_path / "e", hop_size=0.5)
    return tmp_path


def data(path):
    return data_of(path.read_text(encoding="utf-8"))


def test_recordings_are_points_coloured_by_folder(collection, capsys):
    page = collection / "map.html"
    assert main(["map", str(collection / "e"), "-o", str(page)]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "map.html: 6 of 6 recordings, 0." in err
    found = data(page)
    assert found["about"][0]["groups"] == ["clicks", "hiss", "tone"]
    assert any("% of the variance" in note for note in found["about"][0]["notes"])
    assert all(item["path"].split(os.sep)[-2] == item["group"] and item["clip"] for item in found["item"])
    assert all(0 <= item[axis] <= 1 for item in found["item"] for axis in "xy")


def test_moments_are_coloured_by_labels(collection, capsys):
    table, page = collection / "labels.csv", collection / "map.html"
    rows = ["path,start,end,label,answer", "sounds/hiss/0.wav,0,1,rain,yes", "sounds/hiss/0.wav,0,1,wet,yes"]
    table.write_text("\n".join([*rows, "sounds/tone/0.wav,0,2,bird,yes", "sounds/tone/1.wav,0,2,bird,no"]))
    arguments = [str(collection / "e"), "-o", str(page), "--moments", "--labels", str(table), "--points", "12"]
    assert main(["map", *arguments, "--link"]) == 0
    assert "map.html: 12 of 24 moments, 0." in capsys.readouterr().err
    groups = [(item["path"].split("sounds")[1], item["group"]) for item in data(page)["item"]]
    assert {name for name, group in groups if group == "rain + wet"} == {"/hiss/0.wav"}
    assert {name for name, group in groups if group == "bird"} == {"/tone/0.wav"}
    assert {group for _, group in groups} == {"", "bird", "rain + wet"}
    assert all(item["url"].startswith("./sounds/") and "clip" not in item for item in data(page)["item"])


def test_what_is_wrong(collection, capsys):
    page, folder = str(collection / "m.html"), str(collection / "e")
    for arguments, code, message in (
        ([folder, "-o", str(collection / "m.txt")], 2, "expected a name that ends in .html"),
        ([folder, "-o", str(collection / "no" / "m.html")], 2, "expected a name in an existing directory"),
        ([str(collection / "sounds"), "-o", page], 2, "expected embeddings (npz, or parts of a table), found none"),
        ([folder, "-o", page, "--points", "1"], 2, "expected a whole number above 1"),
        ([folder, "-o", page, "--labels", str(collection / "nothing")], 1, "nothing"),
    ):
        try:
            found = main(["map", *arguments])
        except SystemExit as end:
            found = end.code
        assert found == code and message in capsys.readouterr().err
    assert not os.path.exists(page)
    (collection / "e" / "bad.npz").write_text("x")
    os.unlink(collection / "sounds" / "tone" / "0.wav")
    assert main(["map", folder, "-o", page]) == 1
    err = capsys.readouterr().err
    assert "passed over: " in err and "bad.npz" in err and "0.wav" in err
    assert sum("problem" in item for item in data(collection / "m.html")["item"]) == 1
