import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import edgel3_np
from edgel3_np import EdgeL3Error, EdgeL3Warning, Stream, openl3


def test_error_is_a_value_error():
    assert issubclass(EdgeL3Error, ValueError) and issubclass(EdgeL3Warning, UserWarning)
    assert EdgeL3Error("x").kind == "invalid" and EdgeL3Error("x", "empty").kind == "empty"


def calls(model):
    """Return calls that embed two seconds of silence in every way."""
    silence = np.zeros(16000)
    return {
        "embed": lambda: edgel3_np.embed(silence, 8000),
        "Model.embed": lambda: model.embed(silence, 8000),
        "Stream.flush": lambda: fed(model, silence).flush(),
        "Stream.over": lambda: list(Stream(model, 8000).over([silence])),
        "edgel3": lambda: edgel3_np.get_embedding(silence, 8000, model=model),
        "openl3": lambda: openl3.get_audio_embedding(silence, 8000, model=model),
    }


def fed(model, sound):
    stream = Stream(model, 8000)
    stream.feed(sound)
    return stream


@pytest.mark.parametrize("name", calls(None))
def test_warnings_point_at_the_callers_line(small_model, name):

    call = calls(small_model)[name]
    with pytest.warns(EdgeL3Warning, match="every sample is zero") as caught:
        call()
    assert [warning.filename for warning in caught] == [__file__]


def test_each_line_of_a_program_gets_its_warning(tmp_path):
    """Python shows a warning once for each line that it points at, so both calls must show theirs."""
    code = (
        "import numpy, edgel3_np\n"
        "silence = numpy.zeros(9000)\n"
        "edgel3_np.embed(silence, 8000)\n"
        "edgel3_np.embed(silence, 8000)\n"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=100)
    assert ran.returncode == 0 and ran.stderr.count("every sample is zero") == 2, ran.stderr


def test_warnings_leave_the_filters_alone(small_model):
    before = list(warnings.filters)
    with pytest.warns(EdgeL3Warning):
        small_model.embed(np.zeros(9000), 8000)
    assert list(warnings.filters) == before
