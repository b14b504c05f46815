"""Which classes of a classifier are heard in a moment, and which of them begin with it."""

from __future__ import annotations

import numpy as np

from ..pipeline import Embedding


class Heard:
    """The classes that are heard, moment after moment.

    Parameters
    ----------
    classifier : Classifier
    threshold : float, optional
        For all classes; by default each has its own.
    """

    def __init__(self, classifier, threshold=None):
        self.classes = classifier.classes
        self._classifier = classifier
        self._thresholds = classifier.thresholds if threshold is None else np.full(len(self.classes), threshold)
        self._before = np.zeros(len(self.classes), bool)

    def take(self, moment):
        """Score a moment.

        Returns
        -------
        scores : dict of str to float
            Of all classes.
        present : list of str
            Those that are heard, the highest score first.
        started : list of str
            Those among them that were not heard in the moment before.
        """
        embedding = Embedding(moment.embedding[np.newaxis], np.array([moment.time]))
        (scores,) = self._classifier.predict(embedding)  # (classes,)
        heard = scores >= self._thresholds
        order = [number for number in np.argsort(-scores, kind="stable") if heard[number]]
        started = [self.classes[number] for number in order if not self._before[number]]
        self._before = heard
        return dict(zip(self.classes, scores.tolist())), [self.classes[number] for number in order], started
