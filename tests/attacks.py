"""Make broken and hostile weight files from a good one; as a program, load the given files.

The program runs in a process of its own, so that a crash of the interpreter is seen. It prints a line of JSON for each
file.
"""

import io
import json
import os
import struct
import sys
import zipfile

import numpy as np

ATTACKS = {}


def attack(expected):
    """Register a function that turns good content into bad content; `expected` is a part of the error message."""

    def register(function):
        ATTACKS[function.__name__] = (function, expected)
        return function

    return register


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def pack(files, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def npy(array, **options):
    out = io.BytesIO()
    array = np.asarray(array)
    np.lib.format.write_array(out, array.astype(array.dtype.newbyteorder("<")), **options)
    return out.getvalue()


def array_of(content, name):
    return np.load(io.BytesIO(members(content)[f"{name}.npy"]))


def replaced(content, name, array):
    data = array if isinstance(array, bytes) else npy(array)
    return pack({**members(content), f"{name}.npy": data})


def changed(content, name, index, value):
    array = array_of(content, name).copy()
    array[index] = value
    return replaced(content, name, array)


def told(content, **changes):
    """Change the metadata of a file; the key `a__b` stands for the entry b of a."""
    metadata = json.loads(array_of(content, "metadata").tobytes())
    for key, value in changes.items():
        first, _, second = key.partition("__")
        if second:
            metadata[first][second] = value
        elif value is None:
            del metadata[first]
        else:
            metadata[first] = value
    return replaced(content, "metadata", np.frombuffer(json.dumps(metadata).encode(), np.uint8))


def with_header(content, name, header):
    """Replace the npy header of a member by any text."""
    data = members(content)[f"{name}.npy"]
    body = data[10 + int.from_bytes(data[8:10], "little") :]
    header = header + b" " * (63 - (9 + len(header)) % 64) + b"\n"
    return replaced(content, name, data[:8] + struct.pack("<H", len(header)) + header + body)


# --- the file as a whole
ATTACKS["empty_file"] = (lambda good: b"", "npz (zip)")
ATTACKS["not_a_zip"] = (lambda good: b"hello" * 1000, "npz (zip)")
ATTACKS["half_a_file"] = (lambda good: good[: len(good) // 2], "npz (zip)")
ATTACKS["without_its_end"] = (lambda good: good[:-30], "npz (zip)")
ATTACKS["empty_zip"] = (lambda good: pack({}), "missing member 'metadata'")
ATTACKS["a_single_npy"] = (lambda good: npy(np.zeros(9)), "npz (zip)")


@attack("bytes, found")
def too_large_a_file(good):
    return good + bytes(65 << 20)


@attack("member 'conv3.data'")
def flipped_bits(good):
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        info = archive.getinfo("conv3.data.npy")
    at = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    return good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]


# --- members
@attack("missing member 'conv5.bias'")
def missing_member(good):
    files = members(good)
    del files["conv5.bias.npy"]
    return pack(files)


@attack("unknown member 'evil'")
def extra_member(good):
    return pack({**members(good), "evil.npy": npy(np.zeros(3))})


@attack("unknown member '../../evil'")
def member_that_climbs(good):
    return pack({**members(good), "../../evil.npy": npy(np.zeros(3))})


@attack("one member of that name, found two")
def repeated_member(good):
    out = io.BytesIO(good)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("conv1.bias", b"")  # the same name, but without its ending
    return out.getvalue()


@attack("another compression")
def unusual_compression(good):
    return pack(members(good), zipfile.ZIP_LZMA)


@attack("encryption")
def encrypted_member(good):
    content = bytearray(good)
    at = content.rfind(b"PK\x01\x02")
    content[at + 8] |= 1
    return bytes(content)


# --- arrays
@attack("'conv2.data': expected a readable npy array")
def pickled_object(good):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch /tmp/edgel3_np_was_attacked",)

    return replaced(good, "conv2.data", npy(np.array([Evil()], object), allow_pickle=True))


@attack("dtype <f4 or <f2, found <f8")
def wrong_dtype(good):
    return replaced(good, "conv2.data", array_of(good, "conv2.data").astype("<f8"))


@attack("'conv2.indices'")
def signed_indices(good):
    return replaced(good, "conv2.indices", array_of(good, "conv2.indices").astype(np.int32))


@attack("dtype |u1 or <u2, found <u4")
def wide_indices(good):
    return replaced(good, "conv2.indices", array_of(good, "conv2.indices").astype(np.uint32))


@attack("'conv2.data'")
def fortran_order(good):
    data = np.zeros((2, 2), np.float32, order="F")
    return replaced(good, "conv2.data", npy(data))


@attack("shape (24,), found shape (25,)")
def wrong_bias_shape(good):
    return replaced(good, "conv2.bias", np.zeros(25, np.float32))


@attack("shape (4, 24)")
def wrong_norm_shape(good):
    return replaced(good, "norm2", np.zeros((4, 1), np.float32))


@attack("or fewer,)")
def absurd_shape(good):
    return with_header(good, "conv2.data", b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }")


@attack("readable npy array")
def endless_shape(good):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",), }"
    return with_header(good, "conv2.data", header)


@attack("readable npy array")
def negative_shape(good):
    return with_header(good, "conv2.data", b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }")


@attack("readable npy array")
def header_with_code(good):
    return with_header(good, "conv2.data", b"__import__('os').abort()")


@attack("readable npy array")
def header_of_brackets(good):
    return with_header(good, "conv2.data", b"(" * 60000)


@attack("in the zip directory")
def shape_larger_than_the_data(good):
    return replaced(good, "conv2.bias", members(good)["conv2.bias.npy"][:-8])


@attack("in the zip directory")
def data_larger_than_the_shape(good):
    return replaced(good, "conv2.bias", members(good)["conv2.bias.npy"] + bytes(8))


@attack("in the zip directory")
def zip_bomb(good):
    """Put a gigabyte of zeros after a good header; in the file, they take one megabyte."""
    header = members(good)["conv2.bias.npy"][:128]
    return replaced(good, "conv2.bias", header + bytes(1 << 30))


@attack("'conv2.bias'")
def zip_bomb_that_lies(good):
    """Put 256 MB of zeros after a good header, and let the zip directory give the size that fits the header."""
    header = members(good)["conv2.bias.npy"][:128]
    size = 128 + 24 * 4
    content = bytearray(replaced(good, "conv2.bias", header + bytes(1 << 28)))
    real = struct.pack("<L", 128 + (1 << 28))
    while real in content:
        at = content.index(real)
        content[at : at + 4] = struct.pack("<L", size)
    return bytes(content)


# --- sparse matrices
ATTACKS["column_too_large"] = (lambda good: changed(good, "conv2.indices", 3, 24), "columns below 24, found 24")
ATTACKS["column_far_too_large"] = (lambda good: changed(good, "conv2.indices", -1, 255), "columns below 24")
ATTACKS["column_repeated"] = (
    lambda good: changed(good, "conv2.indices", slice(0, 2), 5),
    "columns that rise along each row",
)
ATTACKS["indptr_starts_late"] = (lambda good: changed(good, "conv2.indptr", 0, 7), "'conv2.indptr': expected 0 ...")
ATTACKS["indptr_falls"] = (lambda good: changed(good, "conv2.indptr", 50, 0), "falling")
ATTACKS["indptr_ends_beyond"] = (lambda good: changed(good, "conv2.indptr", -1, 60000), "'conv2.indptr'")
ATTACKS["indptr_ends_early"] = (lambda good: changed(good, "conv2.indptr", -1, 1), "'conv2.indptr'")


@attack("'conv2.indptr': expected shape (145,)")
def indptr_too_short(good):
    return replaced(good, "conv2.indptr", array_of(good, "conv2.indptr")[:-1])


@attack("'conv2.indices': expected shape")
def fewer_indices_than_data(good):
    return replaced(good, "conv2.indices", array_of(good, "conv2.indices")[:-1])


@attack("or fewer,)")
def more_data_than_the_matrix_holds(good):
    return replaced(good, "conv1.data", np.ones(9 * 16 + 1, np.float32))


# --- values
ATTACKS["nan_weight"] = (lambda good: changed(good, "conv4.data", 2, np.nan), "'conv4.data': expected finite values")
ATTACKS["infinite_bias"] = (lambda good: changed(good, "conv4.bias", 0, np.inf), "finite values")
ATTACKS["nan_norm"] = (lambda good: changed(good, "norm0", (3, 0), np.nan), "finite values")
ATTACKS["negative_variance"] = (lambda good: changed(good, "norm3", (3, 1), -1.0), "variances of at least 0")
ATTACKS["negative_mel"] = (
    lambda good: pack({**members(good), "mel.npy": npy(np.full((513, 64), -1, np.float32))}),
    "'mel': expected values of at least 0",
)
ATTACKS["mel_of_another_shape"] = (
    lambda good: pack({**members(good), "mel.npy": npy(np.ones((1025, 256), np.float32))}),
    "'mel': expected shape (513, 64)",
)
ATTACKS["weights_that_overflow"] = (
    lambda good: replaced(good, "conv2.data", np.full_like(array_of(good, "conv2.data"), 3e38)),
    "'conv2.data': expected finite values within",
)

# --- metadata
ATTACKS["metadata_not_json"] = (
    lambda good: replaced(good, "metadata", np.frombuffer(b"{'a': 1}", np.uint8)),
    "'metadata': expected JSON",
)
ATTACKS["metadata_not_utf8"] = (
    lambda good: replaced(good, "metadata", np.full(9, 255, np.uint8)),
    "'metadata': expected JSON",
)
ATTACKS["metadata_too_deep"] = (
    lambda good: replaced(good, "metadata", np.frombuffer(b"[" * 60000, np.uint8)),
    "'metadata': expected JSON",
)
ATTACKS["metadata_too_long"] = (lambda good: replaced(good, "metadata", np.full(70000, 32, np.uint8)), "65536 or fewer")
ATTACKS["metadata_a_list"] = (
    lambda good: replaced(good, "metadata", np.frombuffer(b"[1, 2]", np.uint8)),
    "format: edgel3_np weights",
)
ATTACKS["another_format"] = (lambda good: told(good, format="pickle"), "format: edgel3_np weights")
ATTACKS["version_of_the_future"] = (lambda good: told(good, format_version=2), "format_version: 1")
ATTACKS["contract_of_the_future"] = (lambda good: told(good, contract=99), "contract")
ATTACKS["key_missing"] = (lambda good: told(good, license=None), "keys")
ATTACKS["key_too_many"] = (lambda good: told(good, evil="x"), "keys")
ATTACKS["license_a_number"] = (lambda good: told(good, license=3), "license: a string")
ATTACKS["source_a_list"] = (lambda good: told(good, source=[1]), "source")
ATTACKS["name_with_control_characters"] = (lambda good: told(good, name="a\x1b[2Jb"), "name")
ATTACKS["wrong_network"] = (lambda good: told(good, name="sea-64"), "that of sea-64")
ATTACKS["filters_absurd"] = (lambda good: told(good, network__filters=[10**9] * 8), "network.filters")
ATTACKS["filters_nothing"] = (lambda good: told(good, network__filters=[0] * 8), "network.filters")
ATTACKS["filters_true"] = (lambda good: told(good, network__filters=[True] * 8), "network.filters")
ATTACKS["filters_other"] = (lambda good: told(good, network__filters=[8] * 8), "expected shape")
ATTACKS["seven_convolutions"] = (lambda good: told(good, network__filters=[8] * 7), "network.filters")
ATTACKS["activation_unknown"] = (lambda good: told(good, network__final_activation="exec"), "final_activation")
ATTACKS["activation_other"] = (lambda good: told(good, network__final_activation="linear"), "'norm8'")
ATTACKS["rate_absurd"] = (lambda good: told(good, frontend__sr=10**12), "frontend.sr")
ATTACKS["rate_a_float"] = (lambda good: told(good, frontend__sr=8000.0), "frontend.sr")
ATTACKS["hop_of_one"] = (lambda good: told(good, frontend__hop_length=1), "frontend.hop_length")
ATTACKS["hop_of_nothing"] = (lambda good: told(good, frontend__hop_length=0), "frontend.hop_length")
ATTACKS["hop_beyond_n_fft"] = (lambda good: told(good, frontend__n_fft=100), "frontend.hop_length")
ATTACKS["scale_unknown"] = (lambda good: told(good, frontend__scale="bark"), "frontend.scale")
ATTACKS["scale_a_list"] = (lambda good: told(good, frontend__scale=["htk"]), "frontend.scale")
ATTACKS["linear_of_other_bins"] = (lambda good: told(good, frontend__scale="linear"), "frontend.n_mels")
ATTACKS["spectrum_unknown"] = (lambda good: told(good, frontend__spectrum="phase"), "frontend.spectrum")
ATTACKS["magnitudes_of_no_power_of_two"] = (
    lambda good: told(good, frontend__spectrum="magnitude", frontend__n_fft=1000),
    "frontend.n_fft",
)
ATTACKS["padding_unknown"] = (lambda good: told(good, frontend__padding=1), "frontend.padding")
ATTACKS["no_frame_fits"] = (
    lambda good: told(good, frontend__padding="none", frontend__sr=2000, frontend__n_fft=8192),
    "frontend.hop_length",
)
ATTACKS["front_end_knows_more"] = (lambda good: told(good, frontend__window="hann"), "frontend")
ATTACKS["grid_absurd"] = (lambda good: told(good, network__grid=[10**9, 10**9]), "network.grid")
ATTACKS["grid_of_nothing"] = (lambda good: told(good, network__grid=[0, 1]), "network.grid")
ATTACKS["grid_that_does_not_divide"] = (lambda good: told(good, network__grid=[1, 2]), "network.grid")
ATTACKS["grid_a_number"] = (lambda good: told(good, network__grid=2), "network.grid")
ATTACKS["front_end_a_string"] = (lambda good: told(good, frontend="48 kHz"), "frontend")


def peak_memory():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    from edgel3_np import EdgeL3Error, load_model

    for path in sys.argv[1:]:
        before = peak_memory()
        try:
            load_model(path)
            outcome = "loaded"
        except EdgeL3Error as error:
            outcome = str(error)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps([path, outcome, peak_memory() - before]), flush=True)
