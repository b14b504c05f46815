"""Figures of merit: agreement with the teacher, and linear probes."""

import numpy as np


def cosines(embedding, target):
    """Compute the cosine of each pair of rows: shape (n,). It is 1 for two zero vectors, 0 if only one is zero."""
    norms = np.linalg.norm(embedding, axis=1) * np.linalg.norm(target, axis=1)
    dots = np.einsum("nd,nd->n", embedding.astype(np.float64), target.astype(np.float64))
    both_zero = ~embedding.any(axis=1) & ~target.any(axis=1)
    return np.where(norms > 0, dots / np.maximum(norms, 1e-30), np.where(both_zero, 1.0, 0.0))


def agreement(embedding, target):
    """Compute the mean of the cosine, its 5th percentile, and the median relative error.

    Parameters
    ----------
    embedding, target : np.ndarray [shape=(n, dim)]

    Examples
    --------
    >>> agreement(np.eye(3), np.eye(3))
    (1.0, 1.0, 0.0)
    """
    cosine = cosines(embedding, target)
    error = np.linalg.norm(embedding - target, axis=1) / np.maximum(np.linalg.norm(target, axis=1), 1e-30)
    return float(cosine.mean()), float(np.percentile(cosine, 5)), float(np.median(error))


def pooled(embedding):
    """Compute mean and standard deviation over the windows of a clip: (n, dim) -> (2 * dim,)."""
    return np.concatenate([embedding.mean(axis=0), embedding.std(axis=0)])


def probe_accuracy(features, labels, groups, strengths=(0.01, 0.1, 1.0, 10.0), seed=0):
    """Compute the accuracy of a linear classifier by five-fold cross-validation.

    The classifier is a ridge regression on one-hot labels; the training folds standardise the features. The penalty is
    the one that is best by the same procedure within the training folds.

    Parameters
    ----------
    features : np.ndarray [shape=(n, d)]
    labels : np.ndarray [shape=(n,)]
    groups : np.ndarray [shape=(n,)]
        Items of one group are never divided between training and test.
    strengths : sequence of float
        Penalties, as multiples of the mean eigenvalue of the features' covariance.
    seed : int

    Returns
    -------
    accuracy : float
    """
    return _cross_validate(features, labels, groups, strengths, np.random.default_rng(seed))


def _cross_validate(features, labels, groups, strengths, rng):
    names, group_of = np.unique(groups, return_inverse=True)
    fold_of = rng.permutation(len(names))[group_of] % 5
    right = 0
    for fold in range(5):
        train, test = fold_of != fold, fold_of == fold
        if len(strengths) > 1:
            seed = rng.integers(1 << 30)
            inner = [
                _cross_validate(features[train], labels[train], groups[train], (s,), np.random.default_rng(seed))
                for s in strengths
            ]
            strength = strengths[int(np.argmax(inner))]
        else:
            strength = strengths[0]
        right += np.sum(_ridge(features[train], labels[train], features[test], strength) == labels[test])
    return right / len(labels)


def _ridge(features, labels, queries, strength):
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 1e-6 * std.max(), std, np.inf)  # a constant dimension gets no weight
    x, q = (features - mean) / std, (queries - mean) / std
    classes, y = np.unique(labels, return_inverse=True)
    onehot = np.eye(len(classes))[y]
    gram = x.T @ x / len(x)
    gram[np.diag_indices_from(gram)] += strength * max(np.trace(gram) / len(gram), 1e-12)
    weights = np.linalg.solve(gram, x.T @ (onehot - onehot.mean(axis=0)) / len(x))
    return classes[np.argmax(q @ weights + onehot.mean(axis=0), axis=1)]
