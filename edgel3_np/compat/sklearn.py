"""`Embedder`: embeddings as a step of a scikit-learn pipeline. It works without scikit-learn and does not import it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EdgeL3Error
from ..model import cached_model
from ..weights.locate import is_path
from ..weights.registry import DEFAULT
from .shared import embed_recording

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOLS = {  # (t, dim) -> (dim,)
    "mean": lambda embedding: embedding.mean(axis=0, dtype=np.float64),
    "std": lambda embedding: embedding.std(axis=0, dtype=np.float64),
    "max": lambda embedding: embedding.max(axis=0),
}
PARAMETERS = ("model", "dim", "hop_size", "center", "pooling", "sr", "threads")


class Embedder:
    """Transform recordings into rows of features, one row each, as a transformer of scikit-learn does.

    There is nothing to learn: `fit` only checks the parameters. The model is loaded once per process, where it is used,
    and never pickled: a search on several processes copies the parameters only (pass `threads=1` there).

    Parameters
    ----------
    model : str or Path
        Name of a model, or path of a weight file.
    dim : int, optional
        Length of an embedding, for models that have several.
    hop_size : number > 0
        Seconds between windows.
    center : bool
        Centre windows on their timestamps, as in `edgel3_np.embed`.
    pooling : str
        How the embeddings of a recording are pooled over time: `mean`, `std`, `max`, or several joined by `+`, such as
        `mean+std`.
    sr : int > 0, optional
        Sampling rate of recordings that are arrays, Hz. Files have their own.
    threads : int > 0, optional
        As in `edgel3_np.embed`.

    Attributes
    ----------
    n_features_out_ : int
        Number of features; set by `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> noises = np.random.default_rng(0).standard_normal((3, 16000)).cumsum(axis=1)  # three recordings of one second
    >>> embedder = Embedder(sr=16000, pooling="mean+std")
    >>> embedder.fit_transform(noises).shape
    (3, 128)

    With scikit-learn: `make_pipeline(Embedder(), StandardScaler(), LogisticRegression()).fit(paths, labels)`.
    """

    __module__ = __name__.rpartition(".compat.")[0] + ".embedder"  # pickles name the door, not this file

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT,
        *,
        dim: int | None = None,
        hop_size: float = 0.1,
        center: bool = True,
        pooling: str = "mean",
        sr: float | None = None,
        threads: int | None = None,
    ) -> None:
        self.model, self.dim = model, dim
        self.hop_size, self.center, self.pooling = hop_size, center, pooling
        self.sr, self.threads = sr, threads

    def __repr__(self) -> str:
        default = Embedder()
        given = (name for name in PARAMETERS if getattr(self, name) != getattr(default, name))
        return f"Embedder({', '.join(f'{name}={getattr(self, name)!r}' for name in given)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name. `deep` has no effect; scikit-learn passes it."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **parameters: Any) -> Embedder:
        """Set parameters by name, and return self."""
        for name, value in parameters.items():
            if name not in PARAMETERS:
                raise EdgeL3Error(f"parameter: expected one of {', '.join(PARAMETERS)}, found {name!r}")
            setattr(self, name, value)
        return self

    def set_output(self, *, transform: str | None = None) -> Embedder:
        """Choose what `transform` returns, and return self.

        Parameters
        ----------
        transform : 'default', 'pandas' or None
            An array, or a data frame (needs pandas). None changes nothing.

        Raises
        ------
        EdgeL3Error
            `transform` is none of these.
        """
        if transform not in (None, "default", "pandas"):
            raise EdgeL3Error(f"transform: expected 'default', 'pandas' or None, found {transform!r}")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # scikit-learn's clone copies this attribute
        return self

    def fit(self, X: Any, y: Any = None) -> Embedder:  # noqa: N803 scikit-learn's names
        """Check the parameters, load the model, and return self.

        Parameters
        ----------
        X : sequence of recordings
            As for `transform`. The recordings are not read.
        y
            Ignored.

        Raises
        ------
        EdgeL3Error
            A parameter is not as described, or X is not a sequence of recordings.
        """
        _check_recordings(X)
        model, pools = self._load()
        self.n_features_out_ = len(pools) * model.dim
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        """Embed recordings, and pool the embeddings of each over time.

        Parameters
        ----------
        X : sequence of recordings
            Each is a path, the content of a file (`bytes`), an open binary file, or an array of shape (n,) or
            (n, channels) at the rate `sr`. A 2-d array is a sequence of mono recordings.

        Returns
        -------
        features : np.ndarray [shape=(len(X), n_features), float32]
            Or a data frame: see `set_output`.

        Raises
        ------
        EdgeL3Error
            A parameter or a recording is not as described. The message says which recording.

        Warns
        -----
        EdgeL3Warning
            A recording is shorter than a window, or all zeros. It is embedded all the same. The message says which one.
        """
        recordings = _check_recordings(X)
        model, pools = self._load()
        features = np.empty((len(recordings), len(pools) * model.dim), np.float32)
        options = {"hop_size": self.hop_size, "center": self.center, "threads": self.threads}
        for index, recording in enumerate(recordings):
            is_text = isinstance(recording, str)  # NumPy's strings too, which otherwise pass for arrays
            sr = self.sr if hasattr(recording, "__array__") and not is_text else None
            embedding, _ = embed_recording(model, recording, sr, label=f"recording {index}: ", **options)
            features[index] = np.concatenate([pool(embedding) for pool in pools])
        if getattr(self, "_sklearn_output_config", {}).get("transform") != "pandas":
            return features
        import pandas

        rows = X.index if isinstance(X, pandas.Series) else None
        return pandas.DataFrame(features, rows, self.get_feature_names_out())

    def fit_transform(self, X: Any, y: Any = None) -> Any:  # noqa: N803
        """Call `fit`, then `transform`."""
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features, `mean0`, `mean1` ...: shape (n_features,), object.

        `input_features` is ignored.
        """
        model, _ = self._load()
        names = [f"{pool}{number}" for pool in self.pooling.split("+") for number in range(model.dim)]
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True  # there is nothing to learn

    def __sklearn_tags__(self) -> Any:
        """Return the tags that scikit-learn 1.6 and later ask every step for."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(one_d_array=True, string=True),
            requires_fit=False,
            no_validation=True,
        )

    def _load(self):
        """Check `pooling` and `model`, and return the loaded model and the pooling functions."""
        names = self.pooling.split("+") if isinstance(self.pooling, str) else []
        if not names or not set(names) <= set(POOLS) or len(set(names)) < len(names):
            raise EdgeL3Error(
                f"pooling: expected {', '.join(POOLS)}, or different ones joined by +, found {self.pooling!r}"
            )
        is_path(self.model)  # raises for a loaded model, which cannot be copied to other processes
        return cached_model(self.model, self.dim), [POOLS[name] for name in names]


def _check_recordings(X):  # noqa: N803
    """Return X, or raise `EdgeL3Error` if it is not a sequence of recordings."""
    if isinstance(X, (str, bytes)) or not hasattr(X, "__len__") or hasattr(X, "columns"):
        raise EdgeL3Error(
            f"X: expected a sequence of recordings, such as a list or a column of paths, found {type(X).__name__}"
        )
    return X
