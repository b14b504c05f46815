"""Files of embeddings for tests: whole ones, and those that are damaged or hostile."""

import json
import os
import zipfile

import numpy as np

from edgel3_np._version import CONTRACT
from edgel3_np.collections.results import save_embedding

DIM = 5


def provenance(name, sha256="a" * 64, dim=DIM, **more):
    options = {"dim": dim, "hop_size": 0.1, "center": True}
    source = {"name": f"{name}.wav", "bytes": 1, "mtime_ns": 2}
    return {"model": "m", "weights_sha256": sha256, "contract": CONTRACT, "options": options, "input": source, **more}


def times(count, first=0):
    return np.arange(first, first + count) * 0.1


def save(path, embedding, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    said = {**provenance(path.stem, dim=embedding.shape[1]), **more}
    save_embedding(path, [embedding.astype(np.float32)], times, said)
    return path


def hostile(folder):
    """Write files that are damaged or were not written by this package; return their names."""
    good = save(folder / "good.npz", np.random.default_rng(5).random((30, DIM)))
    content = good.read_bytes()
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("not a zip file")
    (folder / "cut.npz").write_bytes(content[:-30])
    (folder / "cut2.npz").write_bytes(content[: len(content) // 2])
    place = content.index(b"\x93NUMPY") + 200
    (folder / "flipped.npz").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    np.savez(folder / "foreign.npz", x=np.ones(3))
    np.savez_compressed(folder / "compressed.npz", **dict(np.load(good)))
    np.savez(folder / "pickled.npz", embedding=np.array([{}], object), timestamps=times(1), provenance=np.array("{}"))
    for name, change in {
        "nan": {"embedding": np.full((3, DIM), np.nan, np.float32)},
        "infinite times": {"timestamps": np.full(3, np.inf)},
        "float64": {"embedding": np.ones((3, DIM))},
        "flat": {"embedding": np.ones(3, np.float32)},
        "none": {"embedding": np.ones((0, DIM), np.float32), "timestamps": times(0)},
        "longer": {"timestamps": times(4)},
        "no json": {"provenance": np.array("{")},
        "no object": {"provenance": np.array("[1]")},
        "nothing said": {"provenance": np.array("{}")},
        "other length": {"provenance": np.array(json.dumps(provenance("x", dim=DIM + 1)))},
    }.items():
        whole = {
            "embedding": np.ones((3, DIM), np.float32),
            "timestamps": times(3),
            "provenance": np.array(json.dumps(provenance(name))),
        }
        np.savez(folder / f"{name}.npz", **{**whole, **change})
    with zipfile.ZipFile(folder / "many.npz", "w") as archive:  # it has 30,000 members
        for number in range(30_000):
            archive.writestr(f"{number}", b"")
    with zipfile.ZipFile(folder / "claims.npz", "w") as archive:  # its header claims 20 TB
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 5), }"
        archive.writestr("embedding.npy", header.ljust(127) + b"\n")
        archive.writestr("timestamps.npy", header.replace(b"f4", b"f8").replace(b", 5)", b",)").ljust(127) + b"\n")
        archive.writestr("provenance.npy", b"")
    (folder / "folder.npz").mkdir()
    names = {path.name for path in folder.iterdir()} - {"good.npz", "folder.npz"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.npz")
        names.add("pipe.npz")
    (folder / "broken link.npz").symlink_to(folder / "nowhere.npz")
    return names | {"broken link.npz"}
