"""`Embedder`: embeddings as a step of a scikit-learn pipeline. It neither needs nor imports scikit-learn."""

import numpy as np

from .errors import EdgeL3Error
from .jobs import load_once
from .locate import DEFAULT, is_path

POOLS = {  # (t, dim) -> (dim,)
    "mean": lambda embedding: embedding.mean(axis=0, dtype=np.float64),
    "std": lambda embedding: embedding.std(axis=0, dtype=np.float64),
    "max": lambda embedding: embedding.max(axis=0),
}
PARAMETERS = ("model", "dim", "hop_size", "center", "pooling", "sr", "threads")


class Embedder:
    """Turns recordings into rows of features, one row each: a transformer in the sense of scikit-learn.

    It learns nothing, so `fit` only checks. The model is loaded where it is used, once a process, and never pickled:
    a search on several processes copies the parameters and no more (give it `threads=1`).

    Parameters
    ----------
    model : str or Path
        A model's name, or the path of a weight file.
    dim : int, optional
        Length of an embedding, for models that have several.
    hop_size : number > 0
        Seconds between windows.
    center : bool
        Centre windows on their times, as in `edgel3_np.embed`.
    pooling : str
        What becomes of the windows of a recording: `mean`, `std`, `max`, or several joined by `+`, such as `mean+std`.
    sr : int > 0, optional
        Sampling rate of recordings that are given as arrays, Hz. Files tell their own.
    threads : int > 0, optional
        As in `edgel3_np.embed`.

    Attributes
    ----------
    n_features_out_ : int
        Length of a row; after `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> noises = np.random.default_rng(0).standard_normal((3, 16000))  # three recordings of a second
    >>> embedder = Embedder(sr=16000, pooling="mean+std")
    >>> embedder.fit_transform(noises).shape
    (3, 128)

    With scikit-learn: `make_pipeline(Embedder(), StandardScaler(), LogisticRegression()).fit(paths, labels)`.
    """

    def __init__(self, model=DEFAULT, *, dim=None, hop_size=0.1, center=True, pooling="mean", sr=None, threads=None):
        self.model, self.dim = model, dim
        self.hop_size, self.center, self.pooling = hop_size, center, pooling
        self.sr, self.threads = sr, threads

    def __repr__(self):
        default = Embedder()
        given = (name for name in PARAMETERS if getattr(self, name) != getattr(default, name))
        return f"Embedder({', '.join(f'{name}={getattr(self, name)!r}' for name in given)})"

    def get_params(self, deep=True):
        """The parameters, by name. `deep` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **parameters):
        """Set parameters by name, and return self."""
        for name, value in parameters.items():
            if name not in PARAMETERS:
                raise EdgeL3Error(f"parameter: expected one of {', '.join(PARAMETERS)}, found {name!r}")
            setattr(self, name, value)
        return self

    def set_output(self, *, transform=None):
        """Choose what `transform` returns, and return self.

        Parameters
        ----------
        transform : 'default', 'pandas' or None
            An array, a data frame (with pandas), or what it was.
        """
        if transform not in (None, "default", "pandas"):
            raise EdgeL3Error(f"transform: expected 'default', 'pandas' or None, found {transform!r}")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # under this name scikit-learn's clone copies it
        return self

    def fit(self, X, y=None):  # noqa: N803 scikit-learn passes them by these names
        """Check the parameters, load the model, and return self.

        Parameters
        ----------
        X : sequence of recordings
            As for `transform`. Not read.
        y
            Ignored.

        Raises
        ------
        EdgeL3Error
            A parameter is not as described, or X is no sequence of recordings.
        """
        _recordings(X)
        model, pools = self._checked()
        self.n_features_out_ = len(pools) * model.dim
        return self

    def transform(self, X):  # noqa: N803
        """Embed recordings.

        Parameters
        ----------
        X : sequence of recordings
            Each a path, a file's content (`bytes`), an open binary file, or an array of shape (n,) or (n, channels) at
            the rate `sr`. A 2-d array is a sequence of mono recordings.

        Returns
        -------
        features : np.ndarray [shape=(len(X), n_features), float32]
            Or a data frame: see `set_output`.

        Raises
        ------
        EdgeL3Error
            A parameter or a recording is not as described; which recording, the message says.
        """
        recordings = _recordings(X)
        model, pools = self._checked()
        features = np.empty((len(recordings), len(pools) * model.dim), np.float32)
        for index, recording in enumerate(recordings):
            path = isinstance(recording, str)  # NumPy's too, in an array of paths, which passes for an array
            sr = self.sr if hasattr(recording, "__array__") and not path else None
            try:
                embedding = model.embed(
                    recording, sr, hop_size=self.hop_size, center=self.center, threads=self.threads
                ).embedding
            except EdgeL3Error as error:
                raise EdgeL3Error(f"recording {index}: {error}", error.kind) from error
            features[index] = np.concatenate([pool(embedding) for pool in pools])
        if getattr(self, "_sklearn_output_config", {}).get("transform") != "pandas":
            return features
        import pandas

        index = X.index if isinstance(X, pandas.Series) else None
        return pandas.DataFrame(features, index, self.get_feature_names_out())

    def fit_transform(self, X, y=None):  # noqa: N803
        """`fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features=None):
        """Names of the features: `mean0`, `mean1` ...; shape (n_features,), object. `input_features` is ignored."""
        model, _ = self._checked()
        names = [f"{pool}{number}" for pool in self.pooling.split("+") for number in range(model.dim)]
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self):
        return True  # there is nothing to learn

    def __sklearn_tags__(self):
        """What scikit-learn 1.6 and later ask of every step; it is there when they do."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(one_d_array=True, string=True),
            requires_fit=False,
            no_validation=True,
        )

    def _checked(self):
        """The model and the pools, or `EdgeL3Error`."""
        names = self.pooling.split("+") if isinstance(self.pooling, str) else []
        if not names or not set(names) <= set(POOLS) or len(set(names)) < len(names):
            raise EdgeL3Error(
                f"pooling: expected {', '.join(POOLS)}, or different ones joined by +, found {self.pooling!r}"
            )
        is_path(self.model)  # raises if it is no name and no path; a loaded model cannot be copied to other processes
        return load_once(self.model, self.dim), [POOLS[name] for name in names]


def _recordings(X):  # noqa: N803
    """X, if it is a sequence of recordings; otherwise `EdgeL3Error`."""
    if isinstance(X, (str, bytes)) or not hasattr(X, "__len__") or hasattr(X, "columns"):
        raise EdgeL3Error(
            f"X: expected a sequence of recordings, such as a list or a column of paths, found {type(X).__name__}"
        )
    return X
