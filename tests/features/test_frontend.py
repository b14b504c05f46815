import pytest
from feature_cases import FRONT_ENDS

from edgel3_np.weights.registry import OPENL3_FRONTENDS, SEA, SPARSE


@pytest.mark.parametrize("frontend", [SEA, SPARSE, *OPENL3_FRONTENDS.values(), *FRONT_ENDS])
def test_whole_frames_lie_inside_the_window(frontend):
    """A loop over all frames finds the same ones inside."""
    inside = []
    for index in range(frontend.n_frames):
        start = index * frontend.hop_length - frontend.pad_left
        if start >= 0 and start + frontend.n_fft <= frontend.sr:
            inside.append(index)
    first, last = frontend.whole_frames
    assert list(range(first, min(last, frontend.n_frames))) == inside


@pytest.mark.parametrize("frontend", [SEA, SPARSE, *FRONT_ENDS])
def test_padding_is_the_same_on_both_sides_or_one_less_on_the_left(frontend):
    if frontend.padding == "same":
        total = (frontend.n_frames - 1) * frontend.hop_length + frontend.n_fft - frontend.sr
        assert frontend.pad_left == total // 2
    else:
        assert frontend.pad_left == 0
