"""Tests of HEAR's interface, by its rules (https://hearbenchmark.com/hear-api.html) and by its own validator."""

import warnings

import numpy as np
import pytest

import edgel3_np

torch = pytest.importorskip("torch", reason="needs PyTorch (extra `hear`)")

from edgel3_np import hear


@pytest.fixture(scope="module")
def model():
    return hear.load_model()


def noise(n_sounds, n_samples, seed=0):
    """Make noise from -1 to 1, most of it below a quarter of the rate: shape (n_sounds, n_samples), float32."""
    white = torch.rand((n_sounds, n_samples), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return (white + white.roll(1, -1)) / 2


@pytest.mark.parametrize(
    "sr, declared", [(8000, 16000), (22050, 22050), (24000, 32000), (48000, 48000), (96000, 48000)]
)
def test_the_declared_rate_is_one_that_hear_allows(sr, declared, tmp_path):
    from factory import random_weights

    from edgel3_np.features.frontend import FrontEnd
    from edgel3_np.weights.format import save_weights

    save_weights(tmp_path / "any.npz", random_weights(frontend=FrontEnd(sr, 1024, 512, 32)))
    model = hear.load_model(str(tmp_path / "any.npz"))
    assert model.sample_rate == declared
    assert model.scene_embedding_size == model.timestamp_embedding_size == 16
    embeddings, timestamps = hear.get_timestamp_embeddings(noise(1, 2 * declared), model)
    assert embeddings.shape == (1, 41, 16) and 1999 < timestamps[0, -1] <= 2000  # hops are whole samples


def test_the_model_is_a_module(model):
    assert isinstance(model, torch.nn.Module) and isinstance(model.to("cpu").eval(), torch.nn.Module)
    assert list(model.parameters()) == []
    for size in (model.scene_embedding_size, model.timestamp_embedding_size):
        assert type(size) is int and size == 64
    assert hear.load_model("pico-64").wrapped.sha256 == model.wrapped.sha256
    with pytest.raises(edgel3_np.EdgeL3Error, match="nosuch"):
        hear.load_model("nosuch")


@pytest.mark.parametrize("seconds", [0.2, 1.07, 1.98, 4.0])
def test_timestamps_cover_the_sound_and_no_more(model, seconds):
    """They are in milliseconds and 50 apart, from the start to the end."""
    embeddings, timestamps = hear.get_timestamp_embeddings(noise(2, int(seconds * 16000)), model)
    assert embeddings.shape == (*timestamps.shape, 64)
    assert embeddings.dtype == timestamps.dtype == torch.float32
    assert not embeddings.requires_grad and torch.isfinite(embeddings).all()
    count = int(20 * seconds + 1e-9) + 1
    assert timestamps.tolist() == [[50.0 * number for number in range(count)]] * 2


def test_embeddings_are_centred_on_their_timestamps(model):
    """They equal those of `embed`, and the last one covers the last half second, followed by silence."""
    audio = noise(1, 48000)
    embeddings, _ = hear.get_timestamp_embeddings(audio, model)
    expected = edgel3_np.embed(audio[0].numpy(), 16000, hop_size=0.05).embedding
    np.testing.assert_allclose(embeddings[0, : len(expected) - 1], expected[:-1], rtol=1e-3, atol=1e-4)
    last = np.concatenate([audio[0].numpy()[40000:], np.zeros(8000, np.float32)])
    expected = edgel3_np.embed(last, 16000, center=False, hop_size=1.0).embedding[0]
    cosine = expected @ embeddings[0, -1].numpy() / np.linalg.norm(expected) / torch.linalg.norm(embeddings[0, -1])
    assert cosine > 0.999  # the resampler's filter also sees the samples before


def test_a_scene_is_the_mean_over_time(model):
    audio = noise(3, 40000)
    found = hear.get_scene_embeddings(audio, model)
    assert found.shape == (3, 64) and found.dtype == torch.float32 and not found.requires_grad
    for row, sound in zip(found, audio.numpy()):
        np.testing.assert_allclose(row, edgel3_np.embed(sound, 16000).embedding.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_a_sound_alone_gives_the_same_as_in_a_batch(model):
    audio = noise(3, 20000)
    scenes, (windows, _) = hear.get_scene_embeddings(audio, model), hear.get_timestamp_embeddings(audio, model)
    for number in range(3):
        alone = audio[number : number + 1]
        assert torch.equal(hear.get_scene_embeddings(alone, model)[0], scenes[number])
        assert torch.equal(hear.get_timestamp_embeddings(alone, model)[0][0], windows[number])


def test_gradients_and_precision_of_the_input_do_not_matter(model):
    audio = noise(1, 20000)
    expected = hear.get_scene_embeddings(audio, model)
    for other in (audio.clone().requires_grad_(), audio.double(), audio.flip(1).flip(1)):
        assert torch.equal(hear.get_scene_embeddings(other, model), expected)


@pytest.mark.parametrize("function", [hear.get_scene_embeddings, hear.get_timestamp_embeddings])
@pytest.mark.parametrize(
    "audio",
    [
        torch.zeros(16000),
        torch.zeros(0, 16000),
        torch.zeros(2, 0),
        torch.zeros(2, 9, dtype=torch.int16),
        np.zeros((2, 9)),
    ],
    ids=["one dimension", "no sounds", "no samples", "integers", "an array"],
)
def test_tensors_that_are_not_a_batch_of_sounds(model, function, audio):
    with pytest.raises(edgel3_np.EdgeL3Error, match="audio: expected a floating-point torch.Tensor of shape"):
        function(audio, model)


def test_warnings_say_which_sound_and_point_at_the_caller(model):
    audio = noise(3, 20000)
    audio[1] = 0.0
    for function in (hear.get_scene_embeddings, hear.get_timestamp_embeddings):
        with pytest.warns(edgel3_np.EdgeL3Warning, match="recording 1: audio: every sample is zero") as caught:
            function(audio, model)
        assert [warning.filename for warning in caught] == [__file__]
    with pytest.raises(edgel3_np.EdgeL3Error, match="recording 2: audio: expected finite samples"):
        hear.get_scene_embeddings(torch.where(torch.arange(3)[:, None] == 2, float("nan"), noise(3, 20000)), model)


@pytest.mark.parametrize("weights", ["pico-64", "sea-64"])
def test_the_real_validator_accepts_it(weights, request, capsys):
    """hearvalidator also needs TensorFlow, so no extra installs it: pip install --no-deps hearvalidator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow and the validator itself warn
        validate = pytest.importorskip("hearvalidator.validate", reason="needs hearvalidator and TensorFlow")
        if weights != "pico-64":
            weights = str(request.getfixturevalue("converted")(weights))
        validate.ValidateModel("edgel3_np.hear", weights, device="cpu")()
    out = capsys.readouterr().out
    assert "Interval between timestamps is 50.0ms" in out or "interval between timestamps is 50.0ms" in out
    assert "Checking get_scene_embeddings" in out


def test_a_network_for_streams_has_timestamps_every_tenth_of_a_second():
    model = hear.load_model("pico-64-stream")
    audio = noise(2, 20000)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert timestamps[0].tolist() == [100.0 * number for number in range(13)]
    assert embeddings.shape == (2, 13, 64)
    expected = model.wrapped.embed(audio[1].numpy(), model.sample_rate).embedding
    expected = expected[:5]  # later ones see beyond the end of the sound, where the resampler rings into the zeros
    np.testing.assert_array_equal(embeddings[1].numpy()[: len(expected)], expected)
    assert hear.get_scene_embeddings(audio, model).shape == (2, 64)
