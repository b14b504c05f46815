"""Make classifiers, and collections of sounds with labels, for tests."""

import numpy as np
import soundfile

from edgel3_np._version import CONTRACT
from edgel3_np.classify.classifier import Classifier

SR = 8000


def make_classifier(model, classes=("dog", "siren"), seed=0, **changes):
    """Make a classifier of random coefficients for a model."""
    rng, count = np.random.default_rng(seed), len(classes)
    fields = {
        "classes": tuple(classes),
        "thresholds": rng.uniform(0.3, 0.7, count),
        "model_name": model.name,
        "model_sha256": model.sha256,
        "contract": CONTRACT,
        "report": {"notes": ["made up"]},
        "mean": rng.standard_normal(model.dim),
        "scale": rng.uniform(0.5, 2, model.dim),
        "coefficients": rng.standard_normal((count, model.dim)),
        "intercepts": rng.standard_normal(count),
    }
    return Classifier(**{**fields, **changes})


def hiss(seconds, rng):
    return 0.1 * rng.standard_normal(int(seconds * SR))


def tone(seconds, rng):
    return 0.3 * np.sin(rng.uniform(0.2, 0.6) * np.arange(int(seconds * SR)))


def clicks(seconds, rng):
    return 0.8 * (np.arange(int(seconds * SR)) % rng.integers(600, 900) < 3)


KINDS = {"hiss": hiss, "tone": tone, "clicks": clicks}


def write_sounds(folder, count=4, seconds=3.0, seed=0):
    """Write recordings of three kinds, in a folder for each."""
    rng = np.random.default_rng(seed)
    for name, make in KINDS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            soundfile.write(folder / name / f"{number}.wav", make(seconds, rng), SR)
    return folder


def write_walk(path, rng=None):
    """Write ten seconds: hiss, with a tone from second 4 to 6."""
    rng = rng or np.random.default_rng(5)
    sound = hiss(10, rng)
    sound[4 * SR : 6 * SR] = tone(2, rng)
    soundfile.write(path, sound, SR)
    return path
