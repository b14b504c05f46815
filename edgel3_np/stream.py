"""Embeddings of a signal that is still arriving: from a microphone, a socket, a simulation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .audio.samples import check_samples, check_sr, scale_remark, to_mono, wide_peak
from .errors import EdgeL3Error, warn
from .model import Model, as_model
from .network.forward import new_workspace
from .network.threads import one_blas_thread
from .pipeline import Embedding, SignalStats, embed_windows, framing_for, windows_of

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray


class Stream:
    """Embed a signal block by block.

    All embeddings together have the same bytes as those of `Model.embed` of the whole signal, however it is cut into
    blocks. At its end a `with` block closes the stream without flushing it: windows that are not complete are dropped.

    If a call fails or is interrupted, windows are lost. Every later call then raises `EdgeL3Error`, because the times
    of what follows would be wrong. A block that is refused is not such a failure.

    Parameters
    ----------
    model : Model, str or path
        As for `embed`: a loaded model, the name of a model, or the path of a weight file.
    sr : int > 0
        Sampling rate of the signal, Hz.
    hop_size : number > 0
        Seconds between windows; of a network for streams a multiple of 0.1.
    center : bool
        Centre window i on the time `i * hop_size`; otherwise it starts there.

    Notes
    -----
    An embedding comes with the last sample of its window; if the signal is resampled, with 64 samples of the lower rate
    more (8 ms of 8 kHz). Of a network for streams, such as pico-64-stream, it comes 0.354 s later, because that hears
    what follows; nothing is computed twice, however short the hop.

    Raises
    ------
    EdgeL3Error
        An option is not as described, or as for `load_model`.

    Examples
    --------
    >>> import numpy as np
    >>> from edgel3_np import Stream
    >>> blocks = np.random.default_rng(0).standard_normal((21, 1000))  # 2.6 seconds
    >>> with Stream("pico-64", sr=8000, hop_size=0.5) as stream:
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

    def __init__(
        self, model: str | os.PathLike[str] | Model, sr: float, *, hop_size: float = 0.1, center: bool = True
    ) -> None:
        self._network, self._sr = as_model(model).network, check_sr(sr)
        framing = framing_for(self._network, hop_size, center)
        self._framing = framing._replace(batch=min(framing.batch, self._network.microbatch))
        self._queue: deque[NDArray[Any]] = deque()
        self._work, self._stats = new_workspace(self._network, self._framing.batch), SignalStats()
        self._fed, self._given, self._ended, self._failed, self._channels, self._peak = 0, 0, False, False, None, 0
        self._batches = windows_of(self._network, self._arrivals(), self._sr, self._framing, self._stats)

    def feed(self, block: NDArray[Any]) -> Embedding:
        """Take the next samples of the signal, and embed the windows that they complete.

        Parameters
        ----------
        block : np.ndarray [shape=(n,) or (n, channels)]
            Any number of samples, of any kind that `embed` takes.

        Returns
        -------
        result : Embedding
            Embeddings of the windows that are complete now; often none.

        Raises
        ------
        EdgeL3Error
            The block is not an array of finite samples (then it is not taken), the stream is flushed or closed, or an
            earlier call failed.
        """
        self._begin()
        try:
            mono = self._accept(block)
        except EdgeL3Error:  # the block is refused, and nothing is lost
            self._failed = False
            raise
        self._fed += len(mono)
        self._queue.append(mono)
        result = self._drain()
        self._failed = False
        return result

    def flush(self) -> Embedding:
        """End the signal, and embed the windows that are left.

        Returns
        -------
        result : Embedding
            Embeddings of the windows that are left, padded with zeros as `embed` pads them.

        Raises
        ------
        EdgeL3Error
            There are no samples at all, or an earlier call failed.

        Warns
        -----
        EdgeL3Warning
            The signal is shorter than a window, or all zeros.
        """
        self._begin()
        if self._fed == 0:
            self._failed = False  # nothing is lost: samples may still come
            self._stats.remarks(self._framing.window, "audio")  # raises
        if self._ended:
            result = self._result([])
        else:
            self._ended = True
            result = self._drain()
            self._stats.others += filter(None, [scale_remark(self._dtype, self._peak)])
            for remark in self._stats.remarks(self._framing.window, "audio"):
                warn(remark)
        self._failed = False
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
        """Yield blocks as they are fed, and None whenever there are no more for now."""
        while self._queue or not self._ended:
            yield self._queue.popleft() if self._queue else None

    def _begin(self):
        """Begin a call: until all is well the stream has failed, so all that ends a call early counts, a Ctrl-C too."""
        if self._failed:
            raise EdgeL3Error(
                "stream: expected calls one after the other, each to its end, found one that failed or still runs: "
                "windows are lost; make a new Stream"
            )
        self._failed = True

    def _accept(self, block):
        """Check a block and mix it down: (n,) or (n, channels) of any kind -> (n,), float64."""
        if self._ended:
            raise EdgeL3Error("stream: expected no more samples after flush(), found some; make a new Stream")
        if not isinstance(block, np.ndarray):
            raise EdgeL3Error(f"stream: expected a NumPy array of samples, found {type(block).__name__}")
        samples = check_samples(block)
        channels = samples.shape[1]
        if self._channels not in (None, channels):
            raise EdgeL3Error(f"stream: expected {self._channels} channels, as before, found {channels}")
        if self._channels is None and channels > max(2, len(samples)) and len(samples):
            raise EdgeL3Error(f"stream: expected blocks (n, channels), found {block.shape}; pass block.T")
        mono = to_mono(samples, self._fed, self._sr, "stream")
        self._channels = channels
        self._dtype, self._peak = samples.dtype, max(self._peak, wide_peak(samples))
        return mono

    def _drain(self):
        """Embed the windows that are complete."""
        parts = []
        with one_blas_thread():
            for batch in self._batches:
                if batch is None:
                    break
                follows = self._given + len(parts) > 0
                parts.append(embed_windows(self._network, batch, self._work, self._framing.hop, map, follows))
        return self._result(parts)

    def _result(self, parts):
        embedding = np.concatenate([np.empty((0, self._network.dim), np.float32), *parts])
        timestamps = self._framing.timestamps(len(embedding), self._given)
        self._given += len(embedding)
        return Embedding(embedding, timestamps)
