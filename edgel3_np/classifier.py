"""Train classifiers of sounds, and detect their classes: `train`, `load_classifier`, `detect_files`, `EventStream`."""

from .classify.classifier import Classifier, load_classifier, save_classifier
from .classify.detect import detect_files
from .classify.events import Event, EventStream, events
from .classify.jobs import read_events
from .classify.train import train

__all__ = [
    "Classifier",
    "Event",
    "EventStream",
    "detect_files",
    "events",
    "load_classifier",
    "read_events",
    "save_classifier",
    "train",
]
