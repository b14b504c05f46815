"""Code as a user writes it: `mypy --strict` must accept it, and find the mistakes that are marked.

`make package` checks it against the wheel. A mark that hides no mistake is an error too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import edgel3_np
from edgel3_np import (
    Classifier,
    EdgeL3Error,
    Embedding,
    Model,
    RayExecutor,
    Report,
    Stream,
    Summary,
    Table,
    detect_files,
    embed,
    embed_files,
    iter_files,
    list_models,
    load,
    load_classifier,
    load_model,
    openl3,
)
from edgel3_np.classifier import Event, EventStream, events, read_events, save_classifier, train
from edgel3_np.embedder import Embedder
from edgel3_np.install import install
from edgel3_np.plot import plot_recording, save
from edgel3_np.similar import Hit, similar

if TYPE_CHECKING:
    from numpy.typing import NDArray


def embeddings(path: Path) -> NDArray[np.float32]:
    """Call `embed` in every way."""
    model: Model = load_model("pico-64", dim=64)
    rate, length, digest, source = (
        model.sr + model.hop,
        model.dim * model.window,
        model.sha256.upper(),
        model.provenance,
    )
    print(rate, length, digest, source["license"], model.name.upper(), model.frontend.n_fft)
    result: Embedding = model.embed(path, hop_size=0.5, center=False, threads=2)
    with open(path, "rb") as file:
        embed(file)
    embed(path.read_bytes(), model=model)
    embed(np.zeros(8000, np.int16), 8000, model=list_models()["pico-64"])
    vectors, times = embed(str(path), model="pico-64", dim=None)
    seconds: NDArray[np.float64] = times
    print(seconds, vectors.shape, result.timestamps.max())
    return result.embedding


def stream(blocks: list[NDArray[Any]]) -> list[Embedding]:
    """Feed a stream by hand and from an iterable."""
    with Stream(load_model(), sr=44100, hop_size=1) as live:
        found = [live.feed(blocks[0]), live.flush()]
    return found + list(Stream(load_model(), 44100).over(blocks))


def collection(folder: Path) -> list[str]:
    """Read reports, also in a callback."""
    reasons = []

    def remember(report: Report) -> None:
        reasons.append(report.reason or report.kind or report.status)

    with ThreadPoolExecutor() as pool:
        for report in iter_files([folder, "other"], None, executor=pool, shard=(1, 2), on_report=remember):
            print(report.output, report.seconds / 60, report.remarks[:1], report.windows + 1)
    print(embed_files(folder, folder / "out").windows)
    with RayExecutor(num_cpus=2) as cluster:
        embed_files(folder, folder / "out", executor=cluster, threads=2)
    iter_files(folder, None).close()
    return reasons


def tables(folder: Path) -> NDArray[np.float32]:
    """Load a collection in every way."""
    table: Table = load(folder, labels="folder")
    seconds: NDArray[np.float64] = load([folder / "a.npz", "b.npz"]).time
    print(seconds, table.path[0], table.to_dict()["time"].shape, table.to_pandas().columns)
    if table.label is not None:
        print(set(table.label))
    return table.embedding


def doors(folder: Path) -> float:
    """Call what the modules at the top give."""
    hits: list[Hit] = similar("a.wav", [folder, "b"], top=3, at=(1, 2.5), on_problem=print)
    rows: NDArray[Any] = Embedder(hop_size=0.5, pooling="max").fit(["a.wav"]).transform([folder / "b.wav"])
    save(plot_recording(folder / "a.wav", model=load_model(), title="a"), "a.png")
    print(rows.shape, hits[0].recording or hits[0].path, install("sea-64", directory=folder).name)
    return hits[0].score


def classes(folder: Path) -> list[str]:
    """Train a classifier, load and use it."""
    problems: list[str] = []
    made: Classifier = train(
        folder, folder / "c.npz", embeddings="e", jobs=2, on_problem=lambda problem: problems.append(problem.kind)
    )
    train("labels.csv", None, model="pico-64", dim=None, hop_size=0.5, on_report=print)
    save_classifier(folder / "d.npz", made)
    with open("e.npz", "wb") as file:
        save_classifier(file, made)
    classifier = load_classifier(str(folder / "d.npz"))
    classifier.check_model(load_model())
    thresholds: NDArray[np.float64] = classifier.thresholds
    print(Classifier.load("d.npz").sha256, classifier.report["classes"], classifier.dim + classifier.contract)
    embedding = embed("a.wav")
    scores: NDArray[np.float64] = classifier.predict(embedding)
    found: list[Event] = events(
        scores, embedding.timestamps, thresholds, classifier.classes, merge_gap=1, min_length=0.5, center=False
    )
    events([[0.5, 0.1]], np.zeros(1), 0.5, ["a", "b"])
    return [f"{event.label} {event.start + event.end} {event.score}" for event in found] + problems


def detection(folder: Path, blocks: list[NDArray[Any]]) -> float:
    """Detect classes in a collection, and in a stream."""
    outputs: dict[str, str | None] = {}

    def remember(report: Report) -> None:
        outputs[report.input] = report.output

    with ThreadPoolExecutor() as pool:
        summary: Summary = detect_files(
            [folder, "other"], folder / "o", "c.npz", form="audacity", executor=pool, on_report=remember
        )
    detect_files(folder, "o", folder / "c.npz", threshold=0.5, merge_gap=1, min_length=0, hop_size=1, scores="s")
    recording, found = read_events(folder / "o" / "a.txt")
    live = EventStream(load_classifier("c.npz"), threshold=0.5, merge_gap=1)
    stream = Stream("pico-64", 8000)
    found += live.feed(stream.feed(blocks[0])) + live.flush()
    for event in EventStream(load_classifier("c.npz")).over(stream.over(blocks)):
        print(event.label.upper(), summary.windows, recording.upper())
    return max(event.score for event in found)


def error_kind() -> str:
    """Read the kind of an error."""
    try:
        load_model("none")
    except EdgeL3Error as error:
        return error.kind
    return edgel3_np.__version__


def with_openl3(sound: NDArray[np.float32]) -> str:
    """Call OpenL3's functions."""
    model = openl3.load_audio_embedding_model(None, "env", embedding_size=512)
    vectors, times = openl3.get_audio_embedding([sound], 48000, model=model, hop_size=0.1)
    openl3.process_audio_file(["a.wav"], "out", verbose=False)
    print(vectors, times)
    return openl3.get_output_path("a.wav", ".npz")


def mistakes(model: Model) -> None:
    """Make one mistake in each line."""
    embed([0.0, 1.0], 8000)  # type: ignore[arg-type]
    embed("a.wav", hop_size="0.1")  # type: ignore[arg-type]
    embed("a.wav", None, "pico-64")  # type: ignore[call-arg]
    embed("a.wav", hops=0.1)  # type: ignore[call-arg]
    load_model(64)  # type: ignore[arg-type]
    load_model().name = "other"  # type: ignore[misc]
    model.embed("a.wav").vectors  # type: ignore[attr-defined]  # noqa: B018
    Stream(64, 8000)  # type: ignore[arg-type]
    Stream(model, 8000).feed(b"\0")  # type: ignore[arg-type]
    embed_files(3, "out")  # type: ignore[arg-type]
    embed_files("in", "out", on_report=print, jobs="2")  # type: ignore[arg-type]
    load(3)  # type: ignore[arg-type]
    load("in", "folder")  # type: ignore[call-arg]
    load("in").label.shape  # type: ignore[union-attr]  # noqa: B018
    similar("a.wav", "b", top="3")  # type: ignore[arg-type]
    Embedder(pooling=3)  # type: ignore[arg-type]
    install(64)  # type: ignore[arg-type]
    openl3.get_audio_embedding("a.wav", 8000)  # type: ignore[arg-type]
    load_classifier(3)  # type: ignore[arg-type]
    load_classifier("c.npz").classes = ()  # type: ignore[misc]
    load_classifier("c.npz").predict(np.zeros((1, 64)))  # type: ignore[arg-type]
    train("sounds")  # type: ignore[call-arg]
    train("sounds", "c.npz", on_problem="ignore")  # type: ignore[arg-type]
    detect_files("in", "out", load_classifier("c.npz"))  # type: ignore[arg-type]
    detect_files("in", "out", "c.npz", threshold="0.5")  # type: ignore[arg-type]
    detect_files("in", "out", "c.npz", format="csv")  # type: ignore[call-arg]
    events(np.zeros((1, 1)), np.zeros(1), 0.5, 3)  # type: ignore[arg-type]
    read_events("a.csv")[1].label  # type: ignore[attr-defined]  # noqa: B018
    EventStream("c.npz")  # type: ignore[arg-type]
    EventStream(load_classifier("c.npz"), 0.5)  # type: ignore[call-arg]
    number: int = list_models()["pico-64"]  # type: ignore[assignment]
    print(number)
