"""Executors for clusters that bring none of their own."""

from __future__ import annotations

import concurrent.futures
from concurrent.futures import Executor, Future
from typing import Any, Callable

from ..errors import EdgeL3Error


class RayExecutor(Executor):
    """Run jobs as tasks of the Ray cluster that this process is connected to: `embed_files(..., executor=...)`.

    Ray tries no task again: a recording that kills its worker is one report of the kind `worker`, and the others are
    done. Cancelling a future cancels its task; a task that runs already is interrupted, as by Ctrl-C.

    Parameters
    ----------
    **options
        Options of Ray for each task, such as `num_cpus=2` (beside `threads=2`) or `resources`.

    Raises
    ------
    EdgeL3Error
        Ray is not installed, or this process is not connected to it. Call `ray.init()` yourself, which starts or finds
        a cluster: this class never does.

    Examples
    --------
    >>> import ray, edgel3_np  # doctest: +SKIP
    >>> ray.init()  # doctest: +SKIP
    >>> with edgel3_np.RayExecutor() as executor:  # doctest: +SKIP
    ...     summary = edgel3_np.embed_files("recordings", "embeddings", executor=executor)
    """

    def __init__(self, **options: Any) -> None:
        try:
            import ray
        except ImportError as error:
            what = f"RayExecutor: expected Ray, but it cannot be imported ({error}); pip install ray"
            raise EdgeL3Error(what) from error
        self._ray = ray
        if not ray.is_initialized():
            raise EdgeL3Error("RayExecutor: expected a connection to Ray, found none; call ray.init() first")
        # One remote function for all jobs: Ray stores each of them in the cluster, and loads it in each worker
        self._task = ray.remote(_call).options(**{**options, "max_retries": 0})
        self._futures: set[Future[Any]] = set()
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start `fn(*args, **kwargs)` on the cluster.

        Returns
        -------
        future : concurrent.futures.Future

        Raises
        ------
        RuntimeError
            The executor is shut down, or this process is no longer connected to Ray.
        """
        if self._closed or not self._ray.is_initialized():  # or Ray would start a new cluster
            raise RuntimeError("cannot schedule new futures after shutdown")
        reference = self._task.remote(fn, args, kwargs)
        future: Future[Any] = reference.future()

        def end(ended: Future[Any]) -> None:
            self._futures.discard(ended)
            if ended.cancelled():
                ended.set_running_or_notify_cancel()  # or `wait` waits for it
                if self._ray.is_initialized():
                    self._ray.cancel(reference)

        self._futures.add(future)
        future.add_done_callback(end)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls. The connection to Ray stays open.

        Parameters
        ----------
        wait : bool
            Wait until all calls have ended.
        cancel_futures : bool
            Cancel the calls that have not ended.
        """
        self._closed = True
        futures = list(self._futures)
        for future in futures if cancel_futures else ():
            future.cancel()
        if wait:
            concurrent.futures.wait(futures)


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)
