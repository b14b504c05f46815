"""The bytes of the bundled models on every machine: generated sounds, and the hashes of what each step makes of them.

The sounds come from integer arithmetic, so they are the same everywhere as well.
"""

import hashlib

import numpy as np

from ..audio.framing import count_windows, windows
from ..audio.resample import resample
from ..audio.samples import to_mono
from ..features.columns import NOTHING, hear
from ..features.levels import level_spectrogram
from ..network.columns import ColumnNetwork
from ..pipeline import embed_audio, framing_for

HOP = 0.5  # seconds between windows


def noise(n):
    """Return noise: shape (n,), int16. Multiplications modulo 2**32 mix the bits of the numbers of the samples.

    Examples
    --------
    >>> noise(4)
    array([-32768,  10949, -10869,  19258], dtype=int16)
    """
    x = np.arange(n, dtype=np.uint64)
    for factor in (0x7FEB352D, 0x846CA68B):
        x = (x ^ (x >> np.uint64(16))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return ((x >> np.uint64(16)).astype(np.int64) - 32768).astype(np.int16)


def click(n):
    """Return one loud sample in the middle of silence: shape (n,), int16."""
    samples = np.zeros(n, np.int16)
    samples[n // 2] = 32767
    return samples


def sawtooth(n):
    """Return a sawtooth of 61 samples, which gets louder: shape (n,), int16. Some of its bands are all but empty."""
    time = np.arange(n, dtype=np.int64)
    return ((time % 61 - 30) * (time // 64 + 1) // 4).astype(np.int16)


def silence(n):
    """Return zeros: shape (n,), int16."""
    return np.zeros(n, np.int16)


SOUNDS = {  # name: rate in Hz, function, seconds
    "noise at 8000 Hz": (8000, noise, 60),
    "noise at 16000 Hz": (16000, noise, 60),
    "noise at 44100 Hz": (44100, noise, 60),
    "noise at 48000 Hz": (48000, noise, 60),
    "a sawtooth": (8000, sawtooth, 3),
    "silence": (8000, silence, 2),
    "a click": (44100, click, 2),
}
STEPS = ("samples", "samples at the model's rate", "levels", "embeddings")
_WINDOWS = {  # of the pico-64 of this version
    "noise at 8000 Hz": (
        "2f4648dc700e77d0cf25dadcdcbe10330eab6f8affd4ce52fee0a762bde47a08",
        "df9ed7d34c8d476791d3016892811b15112f19f1688a8aec7bda32885ba94741",
        "86cb57e5f7fcb96ea75e6c598835f22d87a5861e03209d8a8681cbaf7d930ada",
        "61127bc24f14615277327af65d09b1670e523a2b3c78356d8af0cf004e5d4f9f",
    ),
    "noise at 16000 Hz": (
        "cd24f947a14f7b01d1da2f604a14c32aab6ccfdf47268a6cd2b129e0efa9eced",
        "7ff095c9474ee5b303b19808071eaa526842a3b7e46d3be0d9ebcdc5a6612d8d",
        "860c25e2bcbdce1cfa10632c9e35854902a32518e4293bb922713096ef3f9666",
        "b8249e05f216bf8ba8a08525ee454734b2d00c107471d256621162f2aaeb61e2",
    ),
    "noise at 44100 Hz": (
        "6a4ba12c0f21b4f6b90c187cb711bc4d2b671dccff0eddb4fa2ddd8b2a8fd8ca",
        "83ac81ea280007aa1ab854ea7809ecdb35464baea42abd2d5fc321b1d721e98f",
        "15b2b1237591f4b25cd7bfe36220d6d29375b561c2f6e60f2de8532270d96f0f",
        "4a06a875660e05c3aafbe6b1ed211f3d59542be38ff96216aa4727da18a03697",
    ),
    "noise at 48000 Hz": (
        "6345ed2c88553e2d327f92f5695ffa78527d0140d6dead7398e6d0e27980f80d",
        "4063954b9c9cc455f32ed6344a72143549d76a4607f34179b1bb0153664edcde",
        "cf70cc145fb7e5c56ac6f17d1c4271f62737ef3a6b2ed2670bc65b1bb6b56603",
        "a50efa902f85f8d1f563a69215dd139ab40b5f8aba09e1b4637fa82f8c0b248e",
    ),
    "a sawtooth": (
        "e6e761b76e5db7ea57417ab74cb3be860f7f454854224a5353cb270ce461447b",
        "774ab74dfa77c535aa35cb64fec115210f2c4fd69acd41fad60dea55da5e53cb",
        "33596ef3f6ce78f28b62b4bd5dabae8c31e84ea2c04920f14c946338edc1bdfe",
        "52a2ce52b0745cabba8804a88ee612161fe9ac895145d7b266f2b31fc424b9ca",
    ),
    "silence": (
        "0c92bddb4e96f3ea9ec9f0f64a668255a6c15527ac09f6f119cafde60c7c4a39",
        "eec19bc6af0b3b6dfb97a08782c65f4bb3c3203e789a015d2008b0d689ad08be",
        "251941c68a174d6106ddc3799a65356749e7aea97645c2788b7dadff643c4f71",
        "7be16ccb63139db064fa2e561573e30b02fce1f0af1638d2937102a72be0c1b0",
    ),
    "a click": (
        "5287c9bedbd5992d1cc8d9e0d822b1a2aabcbb19088fde8c159a09d79e3f45ec",
        "abff7f4378c685b841ea827a55f238ac6e69971dbd64fa975cf18e930a52050f",
        "edd69147b41a3630a7db3112bee7e7167413b999b6a031cddfd2b51e954d6a49",
        "9351ede2a745ed388408c76ce9a205ec7e6a71179e6a945fbbbf05035786ff15",
    ),
}
_COLUMNS = {  # of the pico-64-stream of this version: levels and embeddings
    "noise at 8000 Hz": (
        "6d644a13b3f6f8a7d91bdc7159986ea6771e51f03a01d0ffd5118f70e29636c5",
        "1ad53e93767ebdaa3a124dfde96b5e26f516f6898db9b9e73cb2a9a1681943ea",
    ),
    "noise at 16000 Hz": (
        "1dd4d8ec89bc908916d794bc95a070f8ad25c0941ec7a130a196de90e782604a",
        "0d5646bb60d092ca0736e5b86ea86bbac5584989a4747b7f5b3696345c1ebbe5",
    ),
    "noise at 44100 Hz": (
        "8fc0701e7b90fc665725d36898cc623274dc844d91bdd9bb814e10c08c76adf0",
        "4b0bbd3ed0a61bae5664d147f21ee9f01911ad6657c86b5f179fd896a21038b5",
    ),
    "noise at 48000 Hz": (
        "80e1fb9f9f4a1a480fbe230dce5c568b67f1291a9a20e2bde4642530d05f9a1a",
        "a3acdfd57147256c2d2b7a1b29c326c2b2dbb87e7a290495ea4d3741387edfe2",
    ),
    "a sawtooth": (
        "6ce4c745f66b3c7a3516634210522374b9818784ce5570309ff4e323b1217c63",
        "08c07816342e9cae8910ba2c72cfd03c781baf76b5cf6b2484088e4e094bde54",
    ),
    "silence": (
        "d28508191d050553eb5349e4295f76f9cb76becbcc5e3d4b35c30337ba4d620d",
        "ab93e26e4066d76509a0f6532ec1c45b4ba3479dc8714f74a6ea8393697da77d",
    ),
    "a click": (
        "712242440462b92d8a22049d2dd5135a9b5f92ff0997986f5c9eeaf49a02a311",
        "ff4609ae2bbc56f70d1a37cf17141aa5cf85ca2470bd4e9eb1c6e77f1cdeb8be",
    ),
}
EXPECTED = {  # by model
    "pico-64": _WINDOWS,
    "pico-64-stream": {name: (*_WINDOWS[name][:2], *own) for name, own in _COLUMNS.items()},
}


def digest(array, dtype):
    """Return the sha256 of an array's numbers, little-endian, in C order."""
    return hashlib.sha256(np.ascontiguousarray(array, dtype).tobytes()).hexdigest()


def steps(model, name):
    """Yield the hash of what each of `STEPS` makes of a sound.

    Parameters
    ----------
    model : Model
        Of whole numbers.
    name : str
        A key of `SOUNDS`.
    """
    (sr, make, seconds), network = SOUNDS[name], model.network
    samples, framing = make(seconds * sr), framing_for(model.network, HOP, True)
    yield digest(samples, "<i2")
    mono = np.concatenate(list(resample([to_mono(samples[:, np.newaxis], 0, sr, name)], sr, model.sr, True)))
    yield digest(mono, "<f8")
    yield digest(_levels(network, mono, framing), "|u1")
    yield embed_audio(network, samples, sr, hop_size=HOP)[0].sha256()


def _levels(network, mono, framing):
    """Return the levels of windows, or of all columns that windows see of a network for streams."""
    if isinstance(network, ColumnNetwork):
        count = count_windows(len(mono), framing.window, framing.hop, framing.pad_left)
        signal = np.zeros((count - 1) * framing.hop + framing.before + framing.window + framing.after)
        start = framing.before + framing.pad_left
        signal[start : start + len(mono)] = mono
        return hear(signal, NOTHING, network.frontend, network.bands)[0]
    batches = windows([mono], framing.window, framing.hop, framing.pad_left, framing.batch)
    levels = [level_spectrogram(batch, network.frontend, network.bands, framing.hop) for batch in batches]
    return np.concatenate(levels)


def compare(model):
    """Yield (sound, step, hash found, hash expected) for every sound and step, in order."""
    for name, expected in EXPECTED[model.name].items():
        yield from ((name, *item) for item in zip(STEPS, steps(model, name), expected))
