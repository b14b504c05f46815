"""Make broken and hostile classifiers from a good one; as a program, load the given files, as `attacks` does."""

import json
import sys

import numpy as np
from attacks import array_of, changed, members, npy, pack, peak_memory, replaced, told, with_header

ATTACKS = {
    "empty_file": (lambda good: b"", "npz (zip)"),
    "not_a_zip": (lambda good: b"hello" * 1000, "npz (zip)"),
    "half_a_file": (lambda good: good[: len(good) // 2], "npz (zip)"),
    "too_large_a_file": (lambda good: good + bytes(33 << 20), "bytes, found"),
    "missing_member": (lambda good: pack({**members(good), "mean.npy": b""}), "'mean'"),
    "extra_member": (lambda good: pack({**members(good), "evil.npy": npy(np.zeros(3))}), "unknown member 'evil'"),
    "member_that_climbs": (lambda good: pack({**members(good), "../evil.npy": b""}), "unknown member '../evil'"),
    "a_weight_file": (lambda good: told(good, format="edgel3_np weights"), "format: edgel3_np classifier"),
    "wrong_dtype": (
        lambda good: replaced(good, "mean", array_of(good, "mean").astype("<f4")),
        "dtype <f8, found <f4",
    ),
    "wrong_shape": (lambda good: replaced(good, "coefficients", np.zeros((2, 3))), "'coefficients': expected shape"),
    "absurd_shape": (
        lambda good: with_header(good, "mean", b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"),
        "'mean': expected shape",
    ),
    "pickle": (
        lambda good: replaced(good, "mean", npy(np.array([{}], object), allow_pickle=True)),
        "'mean': expected a readable npy array",
    ),
    "zip_bomb": (
        lambda good: replaced(good, "mean", members(good)["mean.npy"] + bytes(1 << 30)),
        "in the zip directory",
    ),
    "nan": (lambda good: changed(good, "coefficients", (0, 0), np.nan), "'coefficients': expected finite"),
    "signalling_nan": (
        lambda good: replaced(good, "scale", np.full(array_of(good, "scale").shape, 0x7FF0000000000001).view("<f8")),
        "'scale': expected finite",
    ),
    "too_large_a_number": (lambda good: changed(good, "intercepts", 0, 1e300), "'intercepts': expected finite"),
    "scale_of_zero": (lambda good: changed(good, "scale", 0, 0.0), "'scale'"),
    "scale_below_zero": (lambda good: changed(good, "scale", 0, -1.0), "'scale'"),
    "threshold_of_zero": (lambda good: changed(good, "thresholds", 0, 0.0), "'thresholds'"),
    "threshold_above_one": (lambda good: changed(good, "thresholds", 1, 1.5), "'thresholds'"),
    "not_json": (lambda good: replaced(good, "metadata", np.frombuffer(b"{'a': 1}", np.uint8)), "expected JSON"),
    "too_deep": (lambda good: replaced(good, "metadata", np.frombuffer(b"[" * 90000, np.uint8)), "expected JSON"),
    "too_long": (lambda good: replaced(good, "metadata", np.full((1 << 20) + 1, 32, np.uint8)), "or fewer"),
    "a_list": (lambda good: replaced(good, "metadata", np.frombuffer(b"[1]", np.uint8)), "format:"),
    "of_the_future": (lambda good: told(good, format_version=2), "format_version: 1"),
    "version_true": (lambda good: told(good, format_version=True), "format_version: 1"),
    "contract_of_the_future": (lambda good: told(good, contract=99), "contract"),
    "key_missing": (lambda good: told(good, report=None), "keys"),
    "key_too_many": (lambda good: told(good, evil=1), "keys"),
    "model_a_string": (lambda good: told(good, model="pico-64"), "model"),
    "model_with_control_characters": (lambda good: told(good, model__name="a\x1b[2Jb"), "model"),
    "model_of_no_sha256": (lambda good: told(good, model__sha256="x" * 64), "sha256"),
    "dim_absurd": (lambda good: told(good, dim=10**12), "dim"),
    "dim_true": (lambda good: told(good, dim=True), "dim"),
    "no_classes": (lambda good: told(good, classes=[]), "classes"),
    "many_classes": (lambda good: told(good, classes=[f"c{number}" for number in range(300)]), "classes"),
    "classes_repeated": (lambda good: told(good, classes=["a", "a"]), "classes"),
    "classes_of_lists": (lambda good: told(good, classes=[["a"], ["b"]]), "classes"),
    "more_classes_than_rows": (lambda good: told(good, classes=["a", "b", "c"]), "expected shape"),
    "label_of_a_terminal": (lambda good: told(good, classes=["a", "\x1b]0;x\x07"]), "classes"),
    "label_like_an_option": (lambda good: told(good, classes=["a", "--exec=reboot"]), "classes"),
    "label_of_two_lines": (lambda good: told(good, classes=["a", "b\nc"]), "classes"),
    "label_too_long": (lambda good: told(good, classes=["a", "b" * 101]), "classes"),
    "report_a_list": (lambda good: told(good, report=[1]), "report"),
}


if __name__ == "__main__":
    from edgel3_np import EdgeL3Error, load_classifier

    for path in sys.argv[1:]:
        before = peak_memory()
        try:
            load_classifier(path)
            outcome = "loaded"
        except EdgeL3Error as error:
            outcome = str(error)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        print(json.dumps([path, outcome, peak_memory() - before]), flush=True)
