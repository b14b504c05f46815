import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages.test_assemble import data_of
from trained import write_sounds

from edgel3_np import EdgeL3Error, embed_files
from edgel3_np.collections.gather import find_results
from edgel3_np.pages.map import GROUPS, Point, gather_points, place, write_map


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    write_sounds(folder / "sounds", 3, seconds=2.5)
    embed_files(folder / "sounds", folder / "centred", hop_size=0.5)
    embed_files(folder / "sounds", folder / "starts", hop_size=0.5, center=False)
    return folder


def load(path):
    with np.load(path, allow_pickle=False) as file:
        return file["embedding"].astype(np.float64), file["timestamps"]


@pytest.mark.parametrize("name, shift", [("centred", 0.5), ("starts", 0.0)])
def test_a_recording_stands_at_its_mean_and_plays_its_most_typical_second(collection, name, shift):
    files, _ = find_results([collection / name])
    points, count = gather_points(files, report=pytest.fail)
    assert len(points) == count == 9 and {point.group for point in points} == {"hiss", "tone", "clicks"}
    for point, path in zip(points, files):
        embedding, times = load(path)
        mean = embedding.mean(axis=0)
        np.testing.assert_allclose(point.vector, mean / np.linalg.norm(mean), rtol=1e-12)
        best = (embedding @ mean / np.linalg.norm(embedding, axis=1)).argmax()
        assert point.time == max(0.0, times[best] - shift)


@pytest.mark.parametrize("most", [2, 5, 16, 17, 1000])
@pytest.mark.parametrize("moments", [True, False])
def test_points_are_evenly_spaced_and_no_more_than_wanted(collection, moments, most):
    files, _ = find_results([collection / "starts"])
    everything, count = gather_points(files, moments=moments, most=10**6, report=pytest.fail)
    points, again = gather_points(files, moments=moments, most=most, report=pytest.fail)
    assert len(everything) == count == again
    step = 1
    while -(-count // step) > most:
        step *= 2
    for point, expected in zip(points, everything[::step]):
        assert point[:3] == expected[:3] and (point.vector == expected.vector).all()
    assert len(points) == len(everything[::step])


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_principal_components_are_those_of_the_covariance(count, dim, seed):
    vectors = np.random.default_rng(seed).standard_normal((count, dim))
    places, share = place(vectors)
    centred = vectors - vectors.mean(axis=0)
    strengths = np.linalg.eigvalsh(centred.T @ centred)[::-1]
    found = (places**2).sum(axis=0)
    np.testing.assert_allclose(found[: min(2, dim)], strengths[:2], atol=1e-9)
    assert share == pytest.approx(strengths[:2].sum() / (strengths.sum() or 1), abs=1e-9) or count == 1
    assert places.shape == (count, 2) and (place(vectors)[0] == places).all()


def test_points_hold_no_more_than_themselves(collection):
    """A vector that is a part of an array would keep all of it in memory."""
    files, _ = find_results([collection / "starts"])
    for moments in (True, False):
        points, _ = gather_points(files, moments=moments, most=5, report=pytest.fail)
        assert all(point.vector.base is None for point in points)


def test_umap_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(EdgeL3Error, match="expected umap-learn, but it cannot be imported"):
        place(np.eye(5), "umap")


def test_umap_places_and_repeats():
    pytest.importorskip("umap", reason="needs umap-learn")
    vectors = np.random.default_rng(0).standard_normal((30, 8))
    places, share = place(vectors, "umap")
    assert places.shape == (30, 2) and np.isfinite(places).all() and share is None
    assert (place(vectors, "umap")[0] == places).all()
    with pytest.raises(EdgeL3Error, match="expected at least 4 points, found 3; take pca"):
        place(vectors[:3], "umap")


def test_a_map_says_what_cannot_be_heard_and_how_rare_groups_are_shown(tmp_path):
    points = [Point(f"/nowhere/{number}.wav", f"g{number:02}", 0.0, np.zeros(2)) for number in range(GROUPS + 3)]
    points += points[-1:]
    places, problems = np.stack([np.arange(len(points)), np.zeros(len(points))], axis=1), []
    size = write_map(tmp_path / "m.html", points, places, title="m", on_problem=problems.append)
    data = data_of((tmp_path / "m.html").read_text(encoding="utf-8"))
    assert size == (tmp_path / "m.html").stat().st_size
    assert data["about"][0]["groups"] == ["g11", *(f"g{number:02}" for number in range(GROUPS - 1))]
    assert data["about"][0]["other"] and sum(item["shown"] is None for item in data["item"]) == 3
    assert len(problems) == GROUPS + 3 and all("problem" in item for item in data["item"])
    assert all("cannot be read" in str(problem) for problem in problems)
    assert [item["x"] for item in sorted(data["item"], key=lambda item: item["number"])][::12] == [0, 1]


@pytest.mark.parametrize("link", [True, False])
def test_what_is_no_recording_is_reported_and_is_no_link(link, tmp_path):
    names = ["/dev/zero", str(tmp_path), str(tmp_path / "gone.wav"), "/e/1.npz", "/a\ud800b.wav"]
    points = [Point(name, "g", 0.0, np.zeros(2)) for name in names]
    points += [Point(str(tmp_path / "gone.wav"), "g", 1e300, np.zeros(2))]
    problems = []
    write_map(tmp_path / "m.html", points, np.zeros((6, 2)), title="m", link=link, on_problem=problems.append)
    items = data_of((tmp_path / "m.html").read_text(encoding="utf-8"))["item"]
    assert len(problems) == 5 and all(item["problem"] and "url" not in item for item in items)
