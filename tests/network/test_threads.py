import contextlib
import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from interrupts import interrupt_at_line

import edgel3_np
from edgel3_np.network import threads as parallel


def blas_threads():
    library = parallel._openblas()
    if library is None:
        pytest.skip("NumPy's BLAS here is none whose threads can be set")
    before = library.get()
    library.set(2)
    if library.get() != 2:
        pytest.skip("NumPy's BLAS here has no threads")
    library.set(before)
    return library[:2]


def test_the_wheels_of_numpy_have_a_known_blas():
    """Published wheels bring OpenBLAS; if its functions were not found, the tests below would be skipped."""
    folders = [Path(np.__file__).parent.parent / "numpy.libs", Path(np.__file__).parent / ".dylibs"]
    if not any(list(folder.glob("*openblas*")) for folder in folders if folder.is_dir()):
        pytest.skip("this NumPy does not bring OpenBLAS")
    assert parallel._openblas() is not None
    assert parallel.blas_name().startswith("OpenBLAS")


def test_the_number_of_blas_threads_is_set_to_one_and_restored():
    get, set_threads = blas_threads()
    before = get()
    set_threads(2)
    try:
        with parallel.one_blas_thread() as outer:
            assert (outer, get()) == (1, 1)
            with parallel.one_blas_thread() as inner:
                assert (inner, get()) == (2, 1)
            assert get() == 1
        assert get() == 2
        with pytest.raises(RuntimeError), parallel.one_blas_thread():
            raise RuntimeError
        assert get() == 2
    finally:
        set_threads(before)


def test_an_interrupt_at_any_line_restores_the_number(monkeypatch):
    monkeypatch.setattr(parallel, "_lock", contextlib.nullcontext())  # no signal interrupts the way into or out of it
    get, set_threads = blas_threads()
    before, number, interrupted = get(), 0, True
    set_threads(2)

    def call():
        with parallel.one_blas_thread():
            pass

    try:
        while interrupted:
            number += 1
            interrupted = interrupt_at_line(number, call, lambda module: module == parallel.__name__)
            assert (get(), len(parallel._inside)) == (2, 0), f"line {number}"
        assert number > 10
    finally:
        set_threads(before)


def test_the_last_of_overlapping_calls_restores_the_number():
    get, set_threads = blas_threads()
    before = get()
    set_threads(2)
    inside, leave = threading.Barrier(3), threading.Event()

    def call():
        with parallel.one_blas_thread():
            inside.wait()
            leave.wait()

    threads = [threading.Thread(target=call) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        inside.wait()
        assert get() == (2 if parallel._openblas().own else 1)  # with OpenMP, other threads are not affected
        leave.set()
        for thread in threads:
            thread.join()
        assert get() == 2
    finally:
        leave.set()
        set_threads(before)


class FakeBlas:
    """A BLAS in which each thread has a number of its own, as with OpenMP."""

    def __init__(self):
        self.numbers = {}
        self.blas = parallel._Blas(self.get, self.set, lambda: b"OpenBLAS", True)

    def get(self):
        return self.numbers.get(threading.get_ident(), 4)

    def set(self, number):
        self.numbers[threading.get_ident()] = number


def test_each_thread_of_an_openmp_blas_is_set_and_restored(monkeypatch):
    fake, found = FakeBlas(), []
    monkeypatch.setattr(parallel, "_openblas", lambda: fake.blas)
    with parallel.one_blas_thread():
        found += parallel.in_order(lambda _: fake.get(), range(8), 2)
        with parallel.spread(2) as apply:
            found += apply(lambda _: fake.get(), range(8))
        with parallel.one_blas_thread():
            found.append(fake.get())
        found.append(fake.get())
    assert found == [1] * 18 and fake.get() == 4


def test_overlapping_calls_on_an_openmp_blas(monkeypatch):
    """The call that ends last does not leave the thread of the other one with a BLAS of one thread."""
    fake, inside, leave, after = FakeBlas(), threading.Event(), threading.Event(), []
    monkeypatch.setattr(parallel, "_openblas", lambda: fake.blas)

    def call():
        with parallel.one_blas_thread():
            inside.set()
            leave.wait(20)
        after.append(fake.get())

    thread = threading.Thread(target=call)
    with parallel.one_blas_thread():
        thread.start()
        inside.wait(20)
    assert fake.get() == 4
    leave.set()
    thread.join()
    assert after == [4] and not parallel._inside


def test_embedding_works_with_an_unknown_blas(small_model, sweep, monkeypatch):
    expected = small_model.embed(sweep, 8000)
    monkeypatch.setattr(parallel, "_openblas", lambda: None)
    assert parallel.blas_name() == "unknown"
    found = small_model.embed(sweep, 8000)
    np.testing.assert_allclose(
        found.embedding, expected.embedding, rtol=0, atol=1e-5 * np.abs(expected.embedding).max()
    )


def test_the_number_of_blas_threads_does_not_change_a_bit(small_npz):
    """Processes that start with different numbers of BLAS threads embed the same sound with the default model."""
    blas_threads()
    code = (
        "import numpy, hashlib, edgel3_np\n"
        "x = numpy.random.default_rng(0).standard_normal(44100)\n"
        "print(hashlib.sha256(edgel3_np.embed(x, 22050).embedding).hexdigest())\n"
    )
    digests = set()
    for threads in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
        environment.update(OPENBLAS_NUM_THREADS=threads)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=200)
        assert ran.returncode == 0, ran.stderr
        digests.add(ran.stdout)
    assert len(digests) == 1
    assert len(digests.pop().strip()) == len(hashlib.sha256().hexdigest())


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_results_come_in_order(threads):
    def slow_at_first(item):
        time.sleep(0.01 if item == 0 else 0)
        return item * item

    assert list(parallel.in_order(slow_at_first, range(50), threads)) == [item * item for item in range(50)]


def test_few_items_are_taken_in_advance():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = parallel.in_order(lambda item: item, items(), 2)
    next(results)
    assert len(taken) <= 6
    assert list(results) == list(range(1, 100))


@pytest.mark.parametrize("threads", [1, 3])
def test_errors_are_raised_and_leave_no_thread(threads):
    def fail(item):
        if item == 5:
            raise ValueError("five")
        return item

    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="five"):
        list(parallel.in_order(fail, range(20), threads))
    assert set(threading.enumerate()) <= before  # threads of earlier tests may have ended


@pytest.mark.parametrize("end", ["close", "error"])
def test_a_generator_that_ends_early_cancels_the_queued_calls(end):
    """It waits only for calls that have begun."""
    begun, go_on = [], threading.Event()

    def work(item):
        begun.append(item)
        if item == 0 and end == "error":
            raise ValueError("zero")
        if item > 0:
            go_on.wait(60)
        return item

    results = parallel.in_order(work, range(100), 2)
    threading.Timer(0.2, go_on.set).start()
    if end == "close":
        assert next(results) == 0
        results.close()
    else:
        with pytest.raises(ValueError, match="zero"):
            next(results)
    assert len(begun) <= 3, begun


def slow_squares(apply, n=20):
    """Return the squares of numbers, the order in which they are computed, and how many run at a time at most."""
    lock, done, busy, most = threading.Lock(), [], [0], [0]

    def square(item):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.02 if item == 0 else 0.001)
        with lock:
            busy[0] -= 1
            done.append(item)
        return item * item

    return list(apply(square, range(n))), done, most[0]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_spread_gives_the_results_of_map(threads):
    """The results are in order, at most `threads` calls run at a time, it can be used again, and no thread is left."""
    before = set(threading.enumerate())
    with parallel.spread(threads) as apply:
        for _ in range(3):
            squares, done, most = slow_squares(apply)
            assert squares == [item * item for item in range(20)]
            assert sorted(done) == list(range(20)) and most <= threads
        assert list(apply(str, [])) == []
        together = threading.Barrier(threads)  # all calls must run at the same time
        assert sorted(apply(lambda _: together.wait(60), range(threads))) == list(range(threads))
    assert set(threading.enumerate()) <= before  # threads of earlier tests may have ended


@pytest.mark.parametrize("threads", [1, 3])
def test_spread_raises_errors(threads):
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), parallel.spread(threads) as apply:
        list(apply(lambda item: 1 // item, [2, 1, 0, 1, 2]))
    assert set(threading.enumerate()) <= before  # threads of earlier tests may have ended


def test_spread_on_one_thread_is_map():
    with parallel.spread(1) as apply:
        assert apply is map


def test_cores_are_shared_among_calls():
    cores = parallel.check_threads(None, 1)
    assert cores >= 1
    assert parallel.check_threads(None, 10 * cores) == 1
    assert parallel.check_threads(np.int64(3), 10) == 3


def digest(model, sound, **options):
    """Return a hash of the embedding of a sound."""
    return hashlib.sha256(model.embed(sound, 8000, **options).embedding.tobytes()).hexdigest()


def test_one_model_in_eight_threads_at_once(small_model, sweep):
    """Each thread embeds its own sound several times, and gets the same bytes as alone."""
    from concurrent.futures import ThreadPoolExecutor

    sounds = [np.roll(sweep, 1000 * i) for i in range(8)]
    alone = [digest(small_model, sound) for sound in sounds]
    together = threading.Barrier(8)

    def work(sound):
        together.wait(60)
        return {digest(small_model, sound, threads=1 + len(sound) % 2) for _ in range(5)}

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, sounds)) == [{expected} for expected in alone]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_in_a_daemonic_process(small_npz, small_model, sweep, method):
    context = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    process = context.Process(target=answer, args=(str(small_npz), sweep, answers), daemon=True)
    process.start()
    assert answers.get() == digest(small_model, sweep)
    process.join(60)
    assert process.exitcode == 0


def answer(path, sound, answers):
    """Send the hash of an embedding; a child process runs this function."""
    answers.put(digest(edgel3_np.load_model(path), sound, threads=2))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_while_another_thread_computes(small_npz, sweep):
    """The child inherits that thread's lock and its setting of the BLAS, but not the thread."""
    code = (
        "import os, sys, threading, numpy, edgel3_np\n"
        "from edgel3_np.network import threads as parallel\n"
        "model, sound = edgel3_np.load_model(sys.argv[1]), numpy.random.default_rng(0).standard_normal(17003)\n"
        "before = parallel._openblas() and parallel._openblas()[0]()\n"
        "expected = model.embed(sound, 8000).embedding.tobytes()\n"
        "held = threading.Event()\n"
        "def hold():\n"
        "    with parallel.one_blas_thread(), parallel._lock:\n"
        "        held.set(); threading.Event().wait()\n"
        "threading.Thread(target=hold, daemon=True).start(); held.wait()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert not parallel._inside and (parallel._openblas() is None or parallel._openblas()[0]() == before)\n"
        "    same = model.embed(sound, 8000).embedding.tobytes() == expected\n"
        "    os._exit(0 if same else 3)\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(edgel3_np.__file__).parent.parent)}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, str(small_npz)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "0\n")
