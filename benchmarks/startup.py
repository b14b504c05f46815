"""Time from the start of a process to the first embedding of a file of one second. compare.py uses this module.

Each script is as short as its engine allows, with everything prepared: a network in the engine's own format, and the
mel filterbank in a file. `python benchmarks/startup.py` compares the scripts whose engines are installed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
from engines import AGREE, AGREE_WHOLE, installed, tensorflow_function, to_onnx

from edgel3_np import list_models, load_model
from edgel3_np.diagnostics.checks import synthesise
from edgel3_np.diagnostics.timing import variables
from edgel3_np.features.levels import TOP
from edgel3_np.features.log_mel import TOP_DB
from edgel3_np.features.mel import mel_filterbank
from edgel3_np.network.plan import plan_network
from edgel3_np.weights.format import load_weights

OURS = "import sys, edgel3_np; print(edgel3_np.embed(sys.argv[1], hop_size=1.0, center=False).embedding[0, 0])"
FRONT_END = """
import sys
import numpy as np, soundfile
x = soundfile.read(sys.argv[1])[0]
n, hop = 1024, 160
x = np.pad(x, (432, 432))
x = np.lib.stride_tricks.as_strided(x, (50, n), (8 * hop, 8)) * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n))
x = 10 * np.log10(np.maximum(np.sqrt(np.abs(np.fft.rfft(x)) ** 2 @ np.load("mel.npy")), 1e-10))
scale, shift = np.load("affine.npy")
x = (np.maximum(x - x.max(), -80) * scale + shift).T.astype(np.float32)
"""
SCRIPTS = {
    "edgel3_np": OURS,
    "onnxruntime": FRONT_END
    + """
import onnxruntime
session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
print(session.run(None, {"x": x[None, None]})[0][0, 0])
""",
    "tensorflow": FRONT_END
    + """
import tensorflow as tf
print(tf.saved_model.load("network").run(x[None, :, :, None]).numpy()[0, 0])
""",
}


def prepare(folder):
    """Write the files that the scripts read."""
    weights = load_weights(list_models()["pico-64"])
    network = plan_network(weights)
    soundfile.write(folder / "second.wav", synthesise(8000, 1.0), 8000, "FLOAT")
    np.save(folder / "mel.npy", mel_filterbank(weights.frontend).astype(np.float64))
    scale, shift = network.scale, network.shift
    if network.exact:  # of a level; here levels are not rounded
        scale, shift = scale * TOP / TOP_DB, shift + TOP * scale
    np.save(folder / "affine.npy", [scale, shift])
    if find_spec("onnx"):
        (folder / "network.onnx").write_bytes(to_onnx(weights))
    if find_spec("tensorflow"):
        import tensorflow as tf

        module = tf.Module()
        module.run = tensorflow_function(weights)
        tf.saved_model.save(module, str(folder / "network"))


def compare(rounds, folder):
    """Time every script in each round, after one round to warm up.

    Returns
    -------
    times : dict of str to list of float
        Seconds, by the name of the engine.

    Raises
    ------
    RuntimeError
        The embedding of a script differs from that of edgel3_np.
    """
    with_engine = {name: script for name, script in SCRIPTS.items() if name == "edgel3_np" or name in installed()}
    environment = {**variables(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # the first round compiles edgel3_np, as an installation would have done
    # in another process, because a loaded engine keeps threads
    code = "import sys, pathlib, startup; startup.prepare(pathlib.Path(sys.argv[1]))"
    here = os.pathsep.join([str(Path(__file__).resolve().parent), environment["PYTHONPATH"]])
    subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, env={**environment, "PYTHONPATH": here}, stdout=2
    )
    times, values = {name: [] for name in with_engine}, {}
    for number in range(rounds + 1):
        for name, script in with_engine.items():
            command = [sys.executable, "-c", script, "second.wav"]
            start = time.perf_counter()
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=folder, env=environment)
            if number:
                times[name].append(time.perf_counter() - start)
            values[name] = float(ran.stdout)
    agree = AGREE_WHOLE if load_model("pico-64").network.exact else AGREE
    for name, value in values.items():
        if not abs(value - values["edgel3_np"]) <= agree * abs(values["edgel3_np"]):
            raise RuntimeError(f"{name}: expected {values['edgel3_np']}, found {value}")
    return times


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        for engine, took in compare(9, Path(directory)).items():
            print(f"{engine:12} {statistics.median(took):.3f} s ({min(took):.3f} to {max(took):.3f})")
