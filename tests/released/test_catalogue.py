"""Tests of the table of official files, and of its agreement with the table of networks."""

import json
import re

import pytest

from edgel3_np.released.catalogue import CITATIONS, FILES, LAYER_SPARSITIES, LICENSES
from edgel3_np.weights.registry import OPENL3_FRONTENDS, RELEASED, SPARSITIES, openl3_name


def test_every_released_model_is_in_both_tables():
    names = {f"sparse-{how}-{sparsity}" for how in ("ft", "kd") for sparsity in LAYER_SPARSITIES}
    names |= {f"sea-{dim}" for dim in (64, 128, 256, 512)}
    names |= {openl3_name(input_repr, content) for input_repr in OPENL3_FRONTENDS for content in ("music", "env")}
    assert set(RELEASED) == names and len(names) == 26
    assert list(FILES) == list(RELEASED) and list(LAYER_SPARSITIES) == SPARSITIES


@pytest.mark.parametrize("name", FILES)
def test_rows_agree_with_their_names(name):
    file, network = FILES[name], RELEASED[name]
    assert name.startswith(f"{file.family}-") and file.family in LICENSES and file.family in CITATIONS
    assert re.fullmatch(r"[0-9a-f]{40}", file.git_blob_sha1) and file.address.startswith("https://")
    assert file.name.endswith(".h5.gz") and len(network.filters) == 8
    if file.family == "sea":
        assert network.filters[-1] == int(name[4:]) and name[4:] in file.name
    elif file.family == "sparse":
        assert all(part in file.name for part in name.split("-")[1:])
    else:
        assert network.frontend == OPENL3_FRONTENDS[name.split("-")[1]] and "_".join(name.split("-")[1:]) in file.name


def test_no_file_is_listed_twice():
    for key in ("name", "git_blob_sha1"):
        assert len({getattr(file, key) for file in FILES.values()}) == len(FILES)


def test_addresses_and_hashes_are_those_of_upstream(shared):
    entries = json.loads((shared / "weights" / "upstream_files.json").read_text())["files"]
    expected = {entry["model"]: (entry["base_address"], entry["file"], entry["git_blob_sha1"]) for entry in entries}
    assert {name: file[1:] for name, file in FILES.items()} == expected
