import re

import pytest

from edgel3_np import EdgeL3Error
from edgel3_np.weights.registry import (
    BUNDLED_SHA256,
    CITATIONS,
    DEFAULT,
    LICENSES,
    OPENL3_FRONTENDS,
    RELEASED,
    SPARSITIES,
    check_bundled,
    is_bundled,
    openl3_name,
)


def test_every_released_model_is_in_the_table():
    names = {f"sparse-{how}-{sparsity}" for how in ("ft", "kd") for sparsity in SPARSITIES}
    names |= {f"sea-{dim}" for dim in (64, 128, 256, 512)}
    names |= {openl3_name(input_repr, content) for input_repr in OPENL3_FRONTENDS for content in ("music", "env")}
    assert set(RELEASED) == names and len(names) == 26


@pytest.mark.parametrize("name", RELEASED)
def test_rows_agree_with_their_names(name):
    row = RELEASED[name]
    assert name.startswith(f"{row.family}-") and row.family in LICENSES and row.family in CITATIONS
    assert re.fullmatch(r"[0-9a-f]{40}", row.git_blob_sha1) and row.address.startswith("https://")
    assert row.file.endswith(".h5.gz") and len(row.filters) == 8
    assert row.network == (row.frontend, row.filters, row.final_activation, row.pool_grid)
    if row.family == "sea":
        assert row.filters[-1] == int(name[4:]) and name[4:] in row.file
    elif row.family == "sparse":
        assert all(part in row.file for part in name.split("-")[1:])
    else:
        assert row.frontend == OPENL3_FRONTENDS[name.split("-")[1]] and "_".join(name.split("-")[1:]) in row.file


def test_no_file_is_listed_twice():
    for key in ("file", "git_blob_sha1"):
        assert len({getattr(row, key) for row in RELEASED.values()}) == len(RELEASED)


def test_bundled_models():
    right = BUNDLED_SHA256[DEFAULT]
    assert is_bundled(DEFAULT, right) is True
    assert is_bundled(DEFAULT, "0" * 64) is False
    assert is_bundled("sea-64", right) is None
    check_bundled(DEFAULT, right, "path")
    check_bundled("sea-64", "0" * 64, "path")
    with pytest.raises(EdgeL3Error, match=f"path: expected the pico-64 of this version .*{right}.*found 000"):
        check_bundled(DEFAULT, "0" * 64, "path")
