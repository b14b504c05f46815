import pytest

from edgel3_np import EdgeL3Error
from edgel3_np.weights.registry import BUNDLED_SHA256, DEFAULT, check_bundled, is_bundled


def test_bundled_models():
    right = BUNDLED_SHA256[DEFAULT]
    assert is_bundled(DEFAULT, right) is True
    assert is_bundled(DEFAULT, "0" * 64) is False
    assert is_bundled("sea-64", right) is None
    check_bundled(DEFAULT, right, "path")
    check_bundled("sea-64", "0" * 64, "path")
    with pytest.raises(EdgeL3Error, match=f"path: expected the pico-64 of this version .*{right}.*found 000"):
        check_bundled(DEFAULT, "0" * 64, "path")
