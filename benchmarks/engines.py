"""The same network on other engines, each in its own process. compare.py starts this script.

A worker reads requests, one JSON object a line, and answers each with one:

* {"load": npz, "threads": t, "audio": npy, "log_mel": npy, "out": npy}: build the network of a weight file for t
  threads (null: all cores), embed the windows (edgel3_np from audio, the others from spectrograms), save the embeddings
* {"time": n, "hop": s}: embed n windows once and answer with the milliseconds that it takes; with a hop, edgel3_np
  embeds audio with windows that lie so far apart; without one, it computes its network alone, as the others do
"""

import json
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edgel3_np import load_model
from edgel3_np.network.forward import Workspace, forward
from edgel3_np.network.plan import fold_batch_norms, plan_network
from edgel3_np.network.threads import one_blas_thread
from edgel3_np.network.whole import folded_kernels
from edgel3_np.weights.format import load_weights

AGREE = 1e-4  # how nearly an engine must agree: part of the largest value
AGREE_WHOLE = 0.3  # with networks of whole numbers, whose levels the others neither round nor cut
BATCHES = (8, 64)  # windows in a batch; each engine runs with the size that suits it best


def layers_of(weights):
    """Yield kernel (3 mels, 3 frames, in, out), bias, relu and pool of each layer; batch norms are folded in.

    Of a network of whole numbers it is the same network without its rounding, which other engines do not have.
    """
    kernels = fold_batch_norms if weights.zero is None else folded_kernels
    for layer, (kernel, bias) in zip(plan_network(weights).layers, kernels(weights)):
        yield kernel.transpose(1, 0, 2, 3).astype(np.float32), bias.astype(np.float32), layer.relu, layer.pool


def to_onnx(weights):
    """Return the network as a serialised ONNX model: (n, 1, n_mels, n_frames) -> (n, dim)."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, x = [], [], "x"

    def add(op, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"{op}{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    for number, (kernel, bias, relu, pool) in enumerate(layers_of(weights)):
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        constants += [numpy_helper.from_array(kernel, f"w{number}"), numpy_helper.from_array(bias, f"b{number}")]
        x = add("Conv", [x, f"w{number}", f"b{number}"], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        x = add("Relu", [x]) if relu else x
        x = add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]) if pool else x
    x = add("Flatten", [add("GlobalMaxPool", [x])])
    shape = ["n", 1, weights.frontend.n_mels, weights.frontend.n_frames]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", weights.filters[-1]])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()


def onnxruntime(weights, threads=None):
    """Return the ways to run the network: functions (n, 1, n_mels, n_frames) -> (n, dim)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = ort.InferenceSession(to_onnx(weights), options, providers=["CPUExecutionProvider"])
    return [lambda x: session.run(None, {"x": x})[0]]


def openvino(weights, threads=None):
    """Return the same for OpenVINO: one request at a time, or several in parallel."""
    import openvino as ov

    core, binary = ov.Core(), to_onnx(weights)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or 0}
    single = core.compile_model(core.read_model(binary), "CPU", {**options, "PERFORMANCE_HINT": "LATENCY"})
    many = core.compile_model(core.read_model(binary), "CPU", {**options, "PERFORMANCE_HINT": "THROUGHPUT"})

    def side_by_side(x):
        results = {}
        queue = ov.AsyncInferQueue(many)
        queue.set_callback(lambda request, key: results.__setitem__(key, request.get_output_tensor().data.copy()))
        parts = np.array_split(x, min(len(x), 4))
        for key, part in enumerate(parts):
            queue.start_async({0: part}, key)
        queue.wait_all()
        return np.concatenate([results[key] for key in range(len(parts))])

    return [lambda x: single(x)[0], side_by_side]


def pytorch(weights, threads=None):
    """Return the same for PyTorch: with either layout of memory."""
    import torch

    if threads:
        torch.set_num_threads(threads)

    def network(memory_format):
        modules = []
        for kernel, bias, relu, pool in layers_of(weights):
            convolution = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, padding=1)
            convolution.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
            convolution.bias.data = torch.from_numpy(bias)
            modules += [convolution, *([torch.nn.ReLU()] if relu else []), *([torch.nn.MaxPool2d(2)] if pool else [])]
        model = torch.nn.Sequential(*modules).eval().to(memory_format=memory_format)

        def run(x):
            with torch.inference_mode():
                return model(torch.from_numpy(x).to(memory_format=memory_format)).amax((2, 3)).numpy()

        return run

    return [network(torch.contiguous_format), network(torch.channels_last)]


def tensorflow(weights, threads=None):
    """Return the same for TensorFlow: as a graph."""
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    run = tensorflow_function(weights)
    return [lambda x: run(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).numpy()]


def tensorflow_function(weights):
    """Return the network as a tf.function: (n, n_mels, n_frames, 1) -> (n, dim)."""
    import tensorflow as tf

    layers = [(tf.constant(kernel), tf.constant(bias), relu, pool) for kernel, bias, relu, pool in layers_of(weights)]

    @tf.function(input_signature=[tf.TensorSpec([None, weights.frontend.n_mels, weights.frontend.n_frames, 1])])
    def run(x):
        for kernel, bias, relu, pool in layers:
            x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)
            x = tf.nn.relu(x) if relu else x
            x = tf.nn.max_pool2d(x, 2, 2, "VALID") if pool else x
        return tf.reduce_max(x, (1, 2))

    return run


def deepsparse(weights, threads=None):
    """Return the same for DeepSparse 1.8.0, which compiles sparse networks for one size of batch."""
    from deepsparse import Engine

    folder = tempfile.TemporaryDirectory()
    path, compiled = Path(folder.name) / "network.onnx", {}
    path.write_bytes(to_onnx(weights))

    def run(x):
        if len(x) not in compiled:
            compiled[len(x)] = Engine(str(path), batch_size=len(x), num_cores=threads)
        return compiled[len(x)].run([np.ascontiguousarray(x)])[0]

    run.folder = folder  # lives as long as the function
    return [run]


ENGINES = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "torch": pytorch,
    "tensorflow": tensorflow,
    "deepsparse": deepsparse,
}
NEED_ONNX = ("onnxruntime", "openvino", "deepsparse")


def installed():
    """Return the engines that are installed: name to version."""
    names = [name for name in ENGINES if find_spec(name)]
    return {name: _version(name) for name in names if find_spec("onnx") or name not in NEED_ONNX}


def _version(name):
    for package in (name, f"{name}-cpu", f"{name}-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


def in_batches(run, x, batch):
    """Run a network on many windows, batch by batch."""
    return np.concatenate([run(x[start : start + batch]) for start in range(0, len(x), batch)])


def timed(function):
    """Return how many milliseconds a call takes."""
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def best_way(runs, x):
    """Return the fastest function and batch size for these windows; each pair is tried twice."""
    ways = [(run, batch) for run in runs for batch in sorted({min(batch, len(x)) for batch in BATCHES})]
    return min(ways, key=lambda way: min(timed(lambda: in_batches(way[0], x, way[1])) for _ in range(2)))


def load(engine, request):
    """Save the embeddings of all windows; return a function (n, hop) -> milliseconds."""
    if engine == "edgel3_np":
        model, audio, threads = load_model(request["load"]), np.load(request["audio"]).ravel(), request["threads"]
        log_mel, work = np.load(request["log_mel"]), Workspace(model.network)
        np.save(request["out"], model.embed(audio, model.sr, hop_size=1.0, center=False).embedding)

        def time_ours(n, hop):
            if hop is None:
                with one_blas_thread():
                    return timed(lambda: forward(work, log_mel[:n]))
            part = audio[: model.sr + int((n - 1) * hop * model.sr)]
            return timed(lambda: model.embed(part, model.sr, hop_size=hop, center=False, threads=threads))

        return time_ours
    weights, ways = load_weights(request["load"]), {}
    network = plan_network(weights)
    x = (np.load(request["log_mel"]) * network.scale + network.shift)[:, np.newaxis]
    runs = ENGINES[engine](weights, request["threads"])
    np.save(request["out"], in_batches(runs[0], x, 8))

    def time_theirs(n, _):
        if n not in ways:
            ways[n] = best_way(runs, x[:n])
        run, batch = ways[n]
        return timed(lambda: in_batches(run, x[:n], batch))

    return time_theirs


def serve(engine):
    """Answer requests until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # some engines print
    for line in sys.stdin:
        request = json.loads(line)
        if "load" in request:
            time_windows, answer = load(engine, request), {}
        else:
            answer = {"ms": time_windows(request["time"], request.get("hop"))}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
