"""Embeddings of a signal that is still arriving: from a microphone, a socket, a simulation."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import parallel
from .audio import check_samples, check_sr, to_mono
from .embedding import Embedding, Seen, embed_windows, framing_of, windows_of
from .errors import EdgeL3Error, EdgeL3Warning
from .network import workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .models import Model


class Stream:
    """Embed a signal block by block.

    All embeddings together have the same bytes as those of `Model.embed` of the whole signal, however it is cut.
    Leaving a `with` block ends the stream without flushing it: what was not asked for is dropped.

    Parameters
    ----------
    model : Model
    sr : int > 0
        Sampling rate of the signal, Hz.
    hop_size : number > 0
        Seconds between windows.
    center : bool
        Centre window i on the time `i * hop_size`; otherwise it starts there.

    Raises
    ------
    EdgeL3Error
        An option is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from edgel3_np import Stream, load_model
    >>> blocks = np.random.default_rng(0).standard_normal((21, 1000))  # 2.6 seconds
    >>> with Stream(load_model(), sr=8000, hop_size=0.5) as stream:
    ...     for block in blocks:
    ...         embedding, timestamps = stream.feed(block)
    ...         if len(timestamps):
    ...             print(timestamps, embedding.shape)
    ...     print(stream.flush().timestamps)
    [0.] (1, 64)
    [0.5] (1, 64)
    [1.] (1, 64)
    [1.5] (1, 64)
    [2.] (1, 64)
    [2.5]
    """

    def __init__(self, model: Model, sr: float, *, hop_size: float = 0.1, center: bool = True) -> None:
        self._network, self._sr = model.network, check_sr(sr)
        framing = framing_of(self._network, hop_size, center)
        self._framing = framing._replace(batch=min(framing.batch, self._network.block))
        self._queue: deque[NDArray[Any]] = deque()
        self._work, self._seen = workspace(self._network), Seen()
        self._fed, self._given, self._ended = 0, 0, False
        self._pieces = windows_of(self._network, self._arrivals(), self._sr, self._framing, self._seen)

    def feed(self, block: NDArray[Any]) -> Embedding:
        """Take the next samples of the signal.

        Parameters
        ----------
        block : np.ndarray [shape=(n,) or (n, channels)]
            Any number of samples, of any kind that `embed` takes.

        Returns
        -------
        result : Embedding
            Those whose windows are complete now; often none.

        Raises
        ------
        EdgeL3Error
            The block is no array of finite samples (it is not taken then), or the stream has been flushed.
        """
        if self._ended:
            raise EdgeL3Error("stream: expected no more samples after flush(), found some; make a new Stream")
        if not isinstance(block, np.ndarray):
            raise EdgeL3Error(f"stream: expected a NumPy array of samples, found {type(block).__name__}")
        mono = to_mono(check_samples(block), self._fed, self._sr, "stream")
        self._fed += len(mono)
        self._queue.append(mono)
        return self._drain()

    def flush(self) -> Embedding:
        """End the signal.

        Returns
        -------
        result : Embedding
            Of the windows that were left, zero-padded as `embed` pads them.

        Raises
        ------
        EdgeL3Error
            There were no samples at all.

        Warns
        -----
        EdgeL3Warning
            The signal was shorter than a window, or all zeros.
        """
        if self._ended:
            return self._result([])
        self._ended = True
        if self._fed == 0:
            self._seen.remarks(self._framing.window)  # raises
        result = self._drain()
        for remark in self._seen.remarks(self._framing.window):
            warnings.warn(remark, EdgeL3Warning, stacklevel=2)
        return result

    def over(self, blocks: Iterable[NDArray[Any]]) -> Iterator[Embedding]:
        """Feed every block of an iterable, flush, and yield each result that is not empty."""
        for block in blocks:
            result = self.feed(block)
            if len(result.timestamps):
                yield result
        result = self.flush()
        if len(result.timestamps):
            yield result

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._queue.clear()

    def _arrivals(self):
        """Blocks as they are fed, and None whenever there are no more for now."""
        while self._queue or not self._ended:
            yield self._queue.popleft() if self._queue else None

    def _drain(self):
        parts = []
        with parallel.one_blas_thread():
            for piece in self._pieces:
                if piece is None:
                    break
                first = self._given + sum(map(len, parts))
                parts.append(embed_windows(self._network, piece, self._work, self._framing.hop, first))  # (b, dim)
        return self._result(parts)

    def _result(self, parts):
        embedding = np.concatenate([np.empty((0, self._network.dim), np.float32), *parts])
        first = self._given
        self._given += len(embedding)
        return Embedding(embedding, self._framing.timestamps(len(embedding), first))
