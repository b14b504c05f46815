import gzip
import json
import sys
from pathlib import Path

import factory
import numpy as np
import pytest

pytest.importorskip("h5py", reason="the converter needs h5py (extra `convert`)")

import convert_weights

from edgel3_np import EdgeL3Error, load_model
from edgel3_np.features.stft import hann_window
from edgel3_np.released.convert import dft_kernels, git_blob_sha1, recognise, recognise_openl3
from edgel3_np.weights.format import load_weights
from edgel3_np.weights.registry import RELEASED, SEA, SPARSE
from edgel3_np.weights.sparse import to_dense

SEA_64 = RELEASED["sea-64"].filters


def fake_sea(path, density=1.0, **options):
    """Write a Keras file of SEA-64's network with random weights; return its arrays."""
    arrays = factory.random_arrays(SEA_64, density=density)
    factory.write_keras(path, arrays, **options)
    return arrays


def small_sparse(path, **options):
    """Write a Keras file of a small network with the sparse models' front end and linear last convolution."""
    arrays = factory.random_arrays(final_activation="linear", density=0.2)
    factory.write_keras(path, arrays, frontend=SPARSE, **options)
    return arrays


def check(npz, arrays):
    """Check that the npz holds every array of the source, bit for bit (except the sign of zeros)."""
    kernels, biases, norms = arrays
    weights = load_weights(npz)
    for found, expected in zip(weights.kernels, kernels):
        assert to_dense(found).tobytes() == (expected + 0.0).tobytes()
    for found, expected in zip([*weights.biases, *weights.norms], [*biases, *norms]):
        assert found.tobytes() == expected.tobytes()
    return weights


@pytest.mark.parametrize("whole_model", [True, False])
@pytest.mark.parametrize("first_number", [1, 17])
@pytest.mark.parametrize("ending", [".h5", ".h5.gz"])
def test_both_layouts_with_any_layer_numbers_and_with_gzip(tmp_path, whole_model, first_number, ending, capsys):
    path = tmp_path / "anything.h5"
    arrays = fake_sea(path, density=0.3, whole_model=whole_model, first_number=first_number)
    if ending == ".h5.gz":
        path = tmp_path / "anything.h5.gz"
        path.write_bytes(gzip.compress((tmp_path / "anything.h5").read_bytes(), 1))
    assert convert_weights.main([str(path), "-o", str(tmp_path / "out.npz")]) == 0
    weights = check(tmp_path / "out.npz", arrays)
    assert (weights.name, weights.frontend, weights.final_activation) == ("sea-64", SEA, "relu")
    assert weights.mel is None
    assert weights.provenance["source"]["file"] == path.name
    import hashlib

    assert weights.provenance["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights.provenance["source"]["git_blob_sha1"] == git_blob_sha1(path.read_bytes())
    assert load_model(tmp_path / "out.npz").dim == 64
    out = capsys.readouterr().out
    assert "conv8" in out and "bit for bit" in out and "3x3x64x64" in out and weights.sha256 in out
    assert f"{sum(map(np.count_nonzero, arrays[0])):>9}" in out


def test_a_linear_last_layer_and_the_option_name(tmp_path, capsys):
    arrays = small_sparse(tmp_path / "a.h5")
    assert convert_weights.main([str(tmp_path / "a.h5")]) == 1
    assert "pass --name" in capsys.readouterr().err
    assert convert_weights.main([str(tmp_path / "a.h5"), "--name", "mine", "-o", str(tmp_path / "a.npz")]) == 0
    weights = check(tmp_path / "a.npz", arrays)
    assert (weights.name, weights.frontend, weights.final_activation) == ("mine", SPARSE, "linear")


def test_default_output_is_named_after_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_sea("x.h5")
    assert convert_weights.main(["x.h5"]) == 0
    assert (tmp_path / "sea-64.npz").is_file()


def test_float16(tmp_path, capsys):
    arrays = fake_sea(tmp_path / "a.h5")
    assert convert_weights.main([str(tmp_path / "a.h5"), "-o", str(tmp_path / "a.npz"), "--dtype", "float16"]) == 0
    weights = load_weights(tmp_path / "a.npz")
    np.testing.assert_array_equal(to_dense(weights.kernels[1]), arrays[0][1].astype(np.float16).astype(np.float32))
    line = next(line for line in capsys.readouterr().out.splitlines() if "float16 changes" in line)
    error = float(line.split("up to ")[1].split(" ")[0])
    assert 1e-6 < error < 1e-2


def test_stored_mel_matrix_is_kept_if_it_differs(tmp_path):
    front = factory.keras_front_end(SEA)
    front[2] = np.nextafter(front[2], np.float32(1))
    fake_sea(tmp_path / "a.h5", front=front)
    assert convert_weights.main([str(tmp_path / "a.h5"), "-o", str(tmp_path / "a.npz")]) == 0
    np.testing.assert_array_equal(load_weights(tmp_path / "a.npz").mel, front[2])


def refusal(tmp_path, capsys, *arguments, source=True):
    """Run the converter, which must refuse the file and write nothing; return its message."""
    assert convert_weights.main([str(tmp_path / "a.h5"), "-o", str(tmp_path / "a.npz"), *arguments]) == 1
    assert [path.name for path in tmp_path.iterdir()] in (["a.h5"], [])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("refused: ") and ("a.h5" in captured.err) == source
    return captured.err


@pytest.mark.parametrize("which", [0, 1])
def test_other_dft_kernels_are_refused(tmp_path, capsys, which):
    front = factory.keras_front_end(SEA)
    front[which][5, 0, 0, 7] += 1e-4
    fake_sea(tmp_path / "a.h5", front=front)
    assert "DFT kernels" in refusal(tmp_path, capsys)


def test_another_front_end_is_refused(tmp_path, capsys):
    front = factory.keras_front_end(SEA)
    front[2] = front[2][:, :60]
    fake_sea(tmp_path / "a.h5", front=front)
    assert "n_fft and n_mels" in refusal(tmp_path, capsys)


def test_no_spectrogram_layer_is_refused(tmp_path, capsys):
    import h5py

    fake_sea(tmp_path / "a.h5", whole_model=False)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["melspectrogram_1"].attrs["weight_names"] = []
    assert "'ncncncncncncncncn'" in refusal(tmp_path, capsys)


def test_unknown_network_is_refused(tmp_path, capsys):
    factory.write_keras(tmp_path / "a.h5", factory.random_arrays())
    assert "expected the network of a released model" in refusal(tmp_path, capsys)


def test_a_name_of_another_network_is_refused(tmp_path, capsys):
    factory.write_keras(tmp_path / "a.h5", factory.random_arrays())
    assert "expected the network of sea-64" in refusal(tmp_path, capsys, "--name", "sea-64")


def test_channels_that_do_not_fit_are_refused(tmp_path, capsys):
    kernels, biases, norms = factory.random_arrays(SEA_64)
    kernels[3] = kernels[3][:, :, :-1]
    factory.write_keras(tmp_path / "a.h5", (kernels, biases, norms))
    assert "conv4: expected 64 input channels, found 63" in refusal(tmp_path, capsys)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, capsys, bad):
    kernels, biases, norms = factory.random_arrays(SEA_64)
    biases[2][0] = bad
    factory.write_keras(tmp_path / "a.h5", (kernels, biases, norms))
    assert "conv2d_3: expected finite float32 weights" in refusal(tmp_path, capsys)


@pytest.mark.parametrize(
    "kind, key, value, message",
    [
        ("BatchNormalization", "epsilon", 1e-5, "expected epsilon 0.001"),
        ("Conv2D", "padding", "valid", "expected padding 'same'"),
        ("Conv2D", "strides", [2, 2], "stride 1"),
    ],
)
def test_a_configuration_of_another_network_is_refused(tmp_path, capsys, kind, key, value, message):
    import h5py

    fake_sea(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        next(layer for layer in config["config"]["layers"] if layer["class_name"] == kind)["config"][key] = value
        file.attrs["model_config"] = json.dumps(config)
    assert message in refusal(tmp_path, capsys)


@pytest.mark.parametrize(
    "config", [[], {}, {"config": 3}, {"config": {"layers": [{}]}}, {"config": {"layers": [{"class_name": "Conv2D"}]}}]
)
def test_a_configuration_of_another_form_is_refused(tmp_path, capsys, config):
    import h5py

    fake_sea(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    if config:
        assert "expected a model configuration of Keras, found" in refusal(tmp_path, capsys)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", gzip.compress(b"hello"), gzip.compress(b"hello" * 999)[:-9]],
    ids=["empty", "text", "text in gzip", "half a gzip"],
)
def test_a_file_of_another_kind_is_refused(tmp_path, capsys, content):
    (tmp_path / "a.h5").write_bytes(content)
    refusal(tmp_path, capsys)


def test_missing_source_is_refused(tmp_path, capsys):
    assert "No such file" in refusal(tmp_path, capsys)


def test_without_h5py(tmp_path, capsys, monkeypatch):
    fake_sea(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "extra `convert`" in refusal(tmp_path, capsys, source=False)


def test_git_blob_sha1_equals_the_hash_of_git():
    assert git_blob_sha1(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's hash of an empty file
    assert git_blob_sha1(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"  # in Pro Git, chapter 10.2


def test_another_hdf5_file_is_refused(tmp_path, capsys):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert "saved by Keras" in refusal(tmp_path, capsys)


def test_output_that_cannot_be_written(tmp_path, capsys):
    fake_sea(tmp_path / "a.h5")
    assert convert_weights.main([str(tmp_path / "a.h5"), "-o", str(tmp_path / "no" / "a.npz")]) == 1
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    "file, name",
    [
        ("edgel3_ft_audio_sparsity_95.45.h5.gz", "sparse-ft-95.45"),
        ("edgel3_kd_audio_sparsity_53.5.h5", "sparse-kd-53.5"),
        ("edgel3_kd_audio_sparsity_87.0(1).h5", "sparse-kd-87.0"),
    ],
)
def test_sparse_models_are_named_by_their_file(file, name):
    assert recognise(file, SPARSE, RELEASED["sparse-ft-95.45"].filters, "linear", file) == name


def test_a_sparse_file_whose_name_does_not_give_the_model():
    for file in ("weights.h5", "edgel3_ft_audio_sparsity_95.4.h5", "edgel3_xx_audio_sparsity_95.45.h5"):
        with pytest.raises(EdgeL3Error, match="pass --name"):
            recognise(file, SPARSE, RELEASED["sparse-ft-95.45"].filters, "linear", file)


def openl3_file(path, filters=RELEASED["openl3-linear-env"].filters, activation="linear"):
    """Write a file like those of OpenL3, with weights and no front end; return its arrays."""
    arrays = factory.random_arrays(filters, activation, density=0.02)
    factory.write_keras(path, arrays, whole_model=False, front=[])
    return arrays


def test_openl3_models_are_named_by_their_file(tmp_path, capsys):
    path = tmp_path / "openl3_audio_mel128_env-v0_4_0.h5"
    arrays = openl3_file(path)
    assert convert_weights.main([str(path), "-o", str(tmp_path / "out.npz")]) == 0
    assert "no front end in the file" in capsys.readouterr().out
    weights = check(tmp_path / "out.npz", arrays)
    assert weights.name == "openl3-mel128-env"
    network = (weights.frontend, weights.filters, weights.final_activation, weights.pool_grid)
    assert network == RELEASED[weights.name]
    assert "CC BY 4.0" in weights.provenance["license"] and "ICASSP 2019" in weights.provenance["citation"]
    assert load_model(tmp_path / "out.npz").dim == 6144 and load_model(tmp_path / "out.npz", 512).dim == 512


def test_an_openl3_file_whose_name_does_not_give_the_model(tmp_path, capsys):
    path = tmp_path / "weights.h5"
    openl3_file(path)
    assert convert_weights.main([str(path), "-o", str(tmp_path / "out.npz")]) == 1
    assert "pass --name" in capsys.readouterr().err
    assert convert_weights.main([str(path), "--name", "sea-512", "-o", str(tmp_path / "out.npz")]) == 1
    assert "pass --name" in capsys.readouterr().err
    assert convert_weights.main([str(path), "--name", "openl3-linear-music", "-o", str(tmp_path / "out.npz")]) == 0
    assert load_weights(tmp_path / "out.npz").frontend == RELEASED["openl3-linear-music"].frontend


@pytest.mark.parametrize("filters, activation", [(SEA_64, "linear"), (RELEASED["sea-512"].filters, "relu")])
def test_a_file_named_like_openl3s_with_another_network_is_refused(tmp_path, capsys, filters, activation):
    path = tmp_path / "openl3_audio_mel256_music-v0_4_0.h5"
    openl3_file(path, filters, activation)
    assert convert_weights.main([str(path), "-o", str(tmp_path / "out.npz")]) == 1
    assert "expected" in capsys.readouterr().err and not (tmp_path / "out.npz").exists()


def test_the_dft_kernels_have_a_periodic_hann_window():
    """The transform of impulses gives the kernels: each of their columns is one frequency."""
    for n_fft in (16, 1024):
        real, imaginary = dft_kernels(n_fft)
        expected = np.fft.rfft(np.eye(n_fft) * hann_window(n_fft))
        np.testing.assert_allclose(real + 1j * imaginary, expected, atol=1e-12)


def test_the_option_name_decides_if_the_file_name_does_not():
    assert recognise_openl3("a.h5", "openl3-mel128-music", "a.h5") == "openl3-mel128-music"
    with pytest.raises(EdgeL3Error, match="found 'a.h5'; pass --name"):
        recognise_openl3("a.h5", "sea-64", "a.h5")


# --- the reference files


@pytest.mark.parametrize(
    "name, non_zeros, most_bytes", [("sparse-ft-95.45", 213_284, 1_200_000), ("sea-64", 396_576, 2**21)]
)
def test_reference_file(converted, name, non_zeros, most_bytes):
    path = converted(name)
    assert sum(len(kernel.data) for kernel in load_weights(path).kernels) == non_zeros
    assert Path(path).stat().st_size < most_bytes


def test_float16_of_the_stand_in_is_small(shared, tmp_path, capsys):
    source = shared / "weights" / "standin_ft_audio_sparsity_95.45.h5.gz"
    assert convert_weights.main([str(source), "--dtype", "float16", "-o", str(tmp_path / "a.npz")]) == 0
    assert (tmp_path / "a.npz").stat().st_size < 800_000
    assert "float16 changes an embedding" in capsys.readouterr().out


def test_weights_only_file_equals_the_source(shared, converted):
    import h5py

    weights = load_weights(converted("sparse-kd-72.3"))
    with gzip.open(shared / "weights" / "standin_kd_audio_sparsity_72.3.h5.gz") as file, h5py.File(file, "r") as h5:
        kernel = h5["conv2d_5/conv2d_5/kernel:0"][:]
        gamma = h5["batch_normalization_4/batch_normalization_4/gamma:0"][:]
        mel = h5["melspectrogram_1/melspectrogram_1/Variable:0"][:]
    assert to_dense(weights.kernels[4]).tobytes() == (kernel + 0.0).tobytes()
    np.testing.assert_array_equal(weights.norms[3][0], gamma)
    np.testing.assert_array_equal(weights.mel, mel)
