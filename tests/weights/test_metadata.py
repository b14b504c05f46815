import io
import json

import factory
import numpy as np
import pytest

from edgel3_np import EdgeL3Error
from edgel3_np._version import CONTRACT
from edgel3_np.features.frontend import FrontEnd
from edgel3_np.weights.metadata import KEYS, MAX_MAP, Metadata, read_metadata, write_metadata
from edgel3_np.weights.npz import Archive, write_npz
from edgel3_np.weights.registry import OPENL3_FRONTENDS, RELEASED, SEA, SPARSE

FRONT_ENDS = [SEA, SPARSE, *OPENL3_FRONTENDS.values(), FrontEnd(8000, 256, 16, 129, "linear", "power", "valid")]


def describe(frontend=SEA, pool_grid=(1, 1), name="mine", filters=factory.SMALL, activation="relu"):
    return Metadata(name, frontend, filters, activation, pool_grid, factory.PROVENANCE)


def read(content):
    """Read metadata that is given as `Metadata`, as a dict for JSON, or as bytes."""
    if isinstance(content, Metadata):
        content = write_metadata(content)
    elif not isinstance(content, bytes):
        content = json.dumps(content).encode()
    file = io.BytesIO()
    write_npz(file, {"metadata": np.frombuffer(content, np.uint8)})
    return read_metadata(Archive(file.getvalue(), "here"))


def changed(key, value):
    """Return good metadata as a dict, with one value changed; a key is, for example, `frontend.sr`."""
    content = json.loads(write_metadata(describe()))
    *path, last = key.split(".")
    part = content
    for step in path:
        part = part[step]
    part[last] = value
    return content


@pytest.mark.parametrize("frontend", FRONT_ENDS)
def test_what_is_written_is_read(frontend):
    assert read(describe(frontend)) == describe(frontend)


@pytest.mark.parametrize("frontend", [SEA, SPARSE, OPENL3_FRONTENDS["mel256"]])
@pytest.mark.parametrize("pool_grid", [(2, 1), (1, 3), (2, 3)])
def test_a_pool_grid_that_is_written_is_read(frontend, pool_grid):
    assert read(describe(frontend, pool_grid)) == describe(frontend, pool_grid)


def test_keys_and_words_in_files_do_not_change():
    """Files of earlier versions load here, and files of this version load there: only names in the code are new."""
    content = json.loads(write_metadata(describe(OPENL3_FRONTENDS["linear"], (4, 3))))
    assert set(content) == set(KEYS)
    assert content["frontend"] == {
        "sr": 48000,
        "n_fft": 512,
        "hop_length": 242,
        "n_mels": 257,
        "scale": "linear",
        "spectrum": "magnitude",
        "padding": "none",
    }
    assert content["network"] == {"filters": list(factory.SMALL), "final_activation": "relu", "grid": [4, 3]}
    assert json.loads(write_metadata(describe(OPENL3_FRONTENDS["mel128"])))["frontend"]["padding"] == "behind"
    plain = json.loads(write_metadata(describe()))
    assert set(plain["frontend"]) == {"sr", "n_fft", "hop_length", "n_mels"} and "grid" not in plain["network"]
    spelled_out = changed("frontend.scale", "htk")
    spelled_out["frontend"].update(spectrum="power", padding="both")
    assert read(spelled_out) == describe()


@pytest.mark.parametrize(
    "key, value",
    [
        ("format", "others"),
        ("format_version", 2),
        ("contract", CONTRACT + 1),
        ("contract", True),
        ("name", ""),
        ("name", "x" * 65),
        ("name", "a\nb"),
        ("name", 3),
        ("source", []),
        ("source", {"file": 3}),
        ("license", None),
        ("citation", 1.0),
        ("frontend", [1]),
        ("frontend.sr", 8000.0),
        ("frontend.sr", 0),
        ("frontend.sr", 10**9),
        ("frontend.n_fft", 1 << 20),
        ("frontend.hop_length", 2000),
        ("frontend.n_mels", True),
        ("frontend.scale", "same"),
        ("frontend.scale", ["htk"]),
        ("frontend.padding", "same"),
        ("frontend.padding", None),
        ("network", "none"),
        ("network.filters", [1] * 7),
        ("network.filters", [1] * 7 + [513]),
        ("network.final_activation", "tanh"),
        ("network.grid", [1]),
        ("network.grid", [True, 1]),
    ],
)
def test_values_out_of_bounds(key, value):
    with pytest.raises(EdgeL3Error, match=f"here: member 'metadata': expected {key.split('.')[0]}.*found"):
        read(changed(key, value))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 10_000, b"null"])
def test_content_that_is_no_metadata(content):
    with pytest.raises(EdgeL3Error, match="here: member 'metadata'"):
        read(content or b" ")


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_and_an_additional_key(key):
    content = json.loads(write_metadata(describe()))
    with pytest.raises(EdgeL3Error, match="expected keys"):
        read({**content, "more": 1})
    del content[key]
    with pytest.raises(EdgeL3Error, match=f"expected keys|expected {key}"):
        read(content)


@pytest.mark.parametrize("n_frames, pool_grid, fits", [(48, (1, 3), True), (52, (1, 3), True), (56, (1, 3), False)])
def test_a_pool_grid_divides_the_last_map(n_frames, pool_grid, fits, sweep, tmp_path):
    """The last maps have 6, 6 and 7 frames, and 7 frames cannot be cut into three equal parts."""
    import edgel3_np
    from edgel3_np.weights.format import save_weights

    frontend = FrontEnd(8000, 256, -(-8000 // n_frames), 64)
    assert frontend.n_frames == n_frames
    path = tmp_path / "grid.npz"
    save_weights(path, factory.random_weights(frontend=frontend)._replace(pool_grid=pool_grid))
    if fits:
        assert edgel3_np.embed(sweep, 8000, model=path).embedding.shape[1] == 16 * 3
    else:
        with pytest.raises(EdgeL3Error, match=r"network.grid: two whole numbers, each 1 or a divisor of 2 and 3.5"):
            edgel3_np.load_model(path)


@pytest.mark.parametrize("name", ["sea-64", "openl3-linear-env", "sparse-ft-95.45"])
def test_a_file_with_a_released_models_name_holds_its_network(name):
    released = RELEASED[name]
    good = describe(released.frontend, released.pool_grid, name, released.filters, released.final_activation)
    assert read(good) == good
    with pytest.raises(EdgeL3Error, match=f"expected network: that of {name}"):
        read(good._replace(filters=factory.SMALL))


def test_maps_are_bounded():
    assert read(describe(FrontEnd(64_000, 256, 250, 256))).frontend.n_frames * 256 == MAX_MAP
    with pytest.raises(EdgeL3Error, match=f"8 frames to {MAX_MAP} / n_mels"):
        read(describe(FrontEnd(64_000, 256, 249, 256)))
