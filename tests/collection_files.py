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


def save_part(path, embeddings, group=None, sha256="a" * 64, rewrite=None):
    """Write a part of a table.

    Parameters
    ----------
    path : Path
    embeddings : dict of str to np.ndarray [shape=(n, dim), float32]
        By the recording's name.
    group : int, optional
        Rows of a row group, for a single recording.
    sha256 : str
    rewrite : callable, optional
        Writes instead of `write_part`.
    """
    from edgel3_np.collections.parquet.part import Entry, Held
    from edgel3_np.collections.parquet.writer import write_part

    path.parent.mkdir(parents=True, exist_ok=True)
    dim = next(iter(embeddings.values())).shape[1]
    about = {key: value for key, value in provenance("", sha256, dim).items() if key != "input"}
    entries = [Entry(name, "/r", 1, 2, len(embedding)) for name, embedding in embeddings.items()]
    pairs = zip(entries, embeddings.values())
    groups = [[Held(entry, times(len(embedding)), embedding) for entry, embedding in pairs]]
    if group is not None:
        ((entry, time, embedding),) = groups[0]
        starts = range(0, len(time), group)
        groups = [[Held(entry, time[start : start + group], embedding[start : start + group])] for start in starts]
    temporary = path.with_name("new")
    with open(temporary, "wb") as file:
        (rewrite or write_part)(file, about, dim, entries, groups)
    os.replace(temporary, path)
    return path


def hostile_parts(folder):
    """Write parts that are damaged or were not written by this package; return their names."""
    import pyarrow as arrow
    import pyarrow.parquet as pq

    from edgel3_np.collections.parquet.part import ABOUT, RECORDINGS

    rng = np.random.default_rng(3)
    good = save_part(folder / "good", {f"{n}.wav": rng.random((9, DIM)).astype(np.float32) for n in range(20)})
    content, table, names = good.read_bytes(), pq.read_table(good), []
    said = {**pq.read_metadata(good).metadata, **(table.schema.metadata or {})}
    said = {key: said[key] for key in (ABOUT, RECORDINGS)}
    good.unlink()

    def name():
        names.append(f"part-1-of-1-{len(names):05}.parquet")
        return folder / names[-1]

    place = len(content) // 3
    for changed in (b"", b"no Parquet", content[:-30], content[:place], content[place:], bytes(len(content))):
        name().write_bytes(changed)
    name().write_bytes(content[:-8] + (1 << 31).to_bytes(4, "little") + b"PAR1")
    with open(name(), "wb") as file:  # a footer of 3 GB, of which the file has no block
        file.truncate(3 << 30)
        file.seek((3 << 30) - 8)
        file.write((3 << 30).to_bytes(4, "little") + b"PAR1")

    def write(changed, metadata=None, **options):
        schema = changed.schema.with_metadata({**said, **(metadata or {})})
        plain = {"compression": "none", "use_dictionary": ["path"], "row_group_size": 1 << 20}
        pq.write_table(changed.cast(schema), name(), **{**plain, **options})

    def column(place, values):
        return table.set_column(place, table.schema.names[place], values)

    count = len(table)
    numbers = np.concatenate(table["embedding"].to_pylist()).astype(np.float32)
    vectors = lambda values, dim=DIM: arrow.FixedSizeListArray.from_arrays(arrow.array(values), dim)  # noqa: E731
    write(table, compression="zstd")  # may be of any size
    write(table, use_dictionary=True)
    write(table, row_group_size=7)
    write(table.slice(1))
    write(table.drop(["time"]) if hasattr(table, "drop") else table.drop_columns(["time"]))
    write(column(1, arrow.array(np.full(count, np.inf))))
    write(column(1, arrow.array(np.full(count, 1e300))))
    write(column(1, arrow.array(np.zeros(count, np.float32))))
    write(column(1, arrow.array([None] * count, arrow.float64())))
    write(column(2, vectors(np.where(np.arange(len(numbers)) == 77, np.nan, numbers).astype(np.float32))))
    write(column(2, vectors(numbers.astype(np.float64))))
    write(column(2, vectors(np.ones(count * (DIM + 1), np.float32), DIM + 1)))
    write(column(2, arrow.array([None] * count, arrow.list_(arrow.float32(), DIM))))
    for about in (b"{", b"[]", b"{}", b'{"options": {"dim": 0}}', b'{"options": {"dim": 5}}', b"[" * 99999):
        write(table, {ABOUT: about})
    write(table, {ABOUT: json.dumps({"text": "x" * (1 << 19), **json.loads(said[ABOUT])}).encode()})
    for recordings in (b"", b"?", said[RECORDINGS][: len(said[RECORDINGS]) // 2]):
        write(table, {RECORDINGS: recordings})
    os.mkfifo(name())
    name().symlink_to(folder / "nowhere.parquet")
    return names
