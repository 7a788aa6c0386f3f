"""Map a function over items in parallel: in processes or threads of this machine, or on an executor such as a cluster.

Worker processes are spawned, never forked: this behaves the same on Linux, macOS and Windows, and is safe with torch's
threads. Workers ignore Ctrl-C, which the parent handles, and exit when the parent is killed. multiprocessing is
imported on use: `soundmark classify` does not need it and starts faster without it.

In reading order:

    allocator    keep freed memory in processes that compute
    same_files   check that a worker on another machine finds the same files as this one
    cluster      workers on other machines: a Dask cluster as an executor
    worker       the inside of a process that answers requests, under limits on memory and time
    worker_pool  such processes: a crash, a hang or a lack of memory ends a request, not the program
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import version
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from soundmark.errors import SoundmarkError
from soundmark.runtime.checks import check_jobs
from soundmark.runtime.parallel.allocator import undo_trimming

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor


Item = TypeVar("Item")


Result = TypeVar("Result")


log = logging.getLogger("soundmark")


Jobs = int | Executor | None
"""Where work is done: a number of processes (None: all cores), or an executor."""


POLL_S = 0.5  # between checks that an executor still works


AHEAD = 8  # default number of items that ``map_ordered`` has in progress


_stopped: Any = None  # in a worker: a shared number, set to 1 when the parent no longer needs results


def available_cores() -> int:
    """Return the number of processors that this process may use: its CPU affinity, not the machine's count.

    >>> available_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def workers(cluster: Any, jobs: int | None = None) -> Iterator[Jobs]:
    """Give where work is done: ``jobs`` processes of this machine, or the workers of ``cluster``, if it is not None.

    ``cluster`` is the address of a Dask scheduler, ``local``, a ``distributed.Client``, or any executor.

    Raises:
        SettingsError: ``jobs`` is not valid, or the cluster cannot be used: see ``cluster.connected``.

    >>> with workers(None, 2) as jobs:
    ...     jobs
    2
    """
    check_jobs(jobs)
    if cluster is None or isinstance(cluster, Executor):
        yield jobs if cluster is None else cluster
        return
    from soundmark.runtime.parallel.cluster import connected

    with connected(cluster, jobs) as executor:
        yield executor


def count(jobs: Jobs) -> int:
    """Return how many items are worked on at a time.

    >>> count(3)
    3
    """
    if not isinstance(jobs, Executor):
        return jobs or available_cores()
    cores = getattr(jobs, "cores", None) or getattr(jobs, "_max_workers", None)  # of Dask; of the standard library
    return int(cores or available_cores())


def map_unordered(
    function: Callable[..., Result], items: Sequence[Item], *, jobs: Jobs = None, shared: Any = None
) -> Iterator[tuple[int, Result]]:
    """Yield ``(index, function(items[index]))`` in order of completion, from ``jobs`` processes (default: all cores).

    ``function`` must be defined at the top level of a module; items and results must be picklable. With one job or one
    item, no process is started. At most four items per process are in progress, so memory use does not grow with the
    number of items. ``jobs`` may be an executor, such as a cluster. If ``shared`` is given, the function is called as
    ``function(shared, item)``; a cluster sends it to each worker only once.

    Raises:
        SoundmarkError: the workers could not be started, or one was killed (for example: out of memory).

    >>> sorted(map_unordered(abs, [-3, 2, -1], jobs=1))
    [(0, 3), (1, 2), (2, 1)]
    """
    if isinstance(jobs, Executor):
        yield from _on_executor(jobs, function, items, shared)
        return
    if shared is not None:
        function = partial(function, shared)
    jobs = min(jobs or available_cores(), len(items))
    log.debug("%d work items in %d processes", len(items), max(1, jobs))
    if jobs <= 1:
        yield from ((index, function(item)) for index, item in enumerate(items))
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")
    stopped = context.RawValue("b", 0)  # not an Event: a killed worker could leave its lock held
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_initialize_worker, initargs=(stopped,))
    try:
        yield from _in_flight(pool, function, items, most=4 * jobs)
    except BrokenProcessPool as error:
        raise SoundmarkError(
            "a worker process ended unexpectedly: it was killed (out of memory?), or the calling script does not guard "
            'its code by `if __name__ == "__main__":`. Finished work is kept: run the same command again to resume. '
            "If this error repeats, use --jobs 1 or jobs=1."
        ) from error
    finally:
        stopped.value = 1  # after an early exit, do not wait for the items in the queue
        pool.shutdown(wait=True, cancel_futures=True)


def batches(items: Iterable[Item], n: int) -> Iterator[list[Item]]:
    """Yield lists of ``n`` items; the last one may be shorter.

    >>> list(batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    rest = iter(items)
    while batch := list(islice(rest, n)):
        yield batch


def map_ordered(
    function: Callable[[Item], Result], items: Iterable[Item], pool: Executor | None, *, most: int = AHEAD
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of ``items``, computed by ``pool`` while the next items are produced.

    At most ``most`` items are in progress, so memory use does not grow with their number. Without a pool, or for a
    single item, ``function`` runs in this thread.

    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(map_ordered(abs, iter([-3, 2, -1]), pool))
    [3, 2, 1]
    """
    rest = iter(items)
    first = list(islice(rest, 2))
    if pool is None or len(first) < 2:
        yield from map(function, chain(first, rest))
        return
    running: deque[Future[Result]] = deque()
    try:
        for item in chain(first, rest):
            running.append(pool.submit(function, item))
            while running and (running[0].done() or len(running) >= most):
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``function(item)`` of each of ``items``, computed by a thread per core: for functions that NumPy computes.

    >>> map_in_threads(abs, [-3, 2, -1])
    [3, 2, 1]
    """
    threads = min(available_cores(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def _in_flight(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item], most: int
) -> Iterator[tuple[int, Result]]:
    pending = iter(enumerate(items))
    with without_sigint():  # the first submissions start the processes
        running: dict[Future[Result], int] = {
            pool.submit(_work, function, item): index for index, item in islice(pending, most)
        }
    while running:
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()
            for index, item in islice(pending, 1):
                running[pool.submit(_work, function, item)] = index


def _on_executor(
    pool: Executor, function: Callable[..., Result], items: Sequence[Item], shared: Any
) -> Iterator[tuple[int, Result]]:
    """``map_unordered`` on an executor that belongs to the caller."""
    check, explain = getattr(pool, "check", None), getattr(pool, "explain", None)
    given = () if shared is None else (pool.share(shared) if hasattr(pool, "share") else shared,)
    task: Callable[..., Result] = partial(run_task, installed_version(), function)
    pending = iter(enumerate(items))
    running: dict[Future[Result], int] = {}
    try:
        while True:
            for index, item in islice(pending, max(0, 4 * count(pool) - len(running))):
                running[pool.submit(task, *given, item)] = index
            if not running:
                return
            done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            if check:
                check()
            for future in done:
                index = running.pop(future)
                try:
                    result = future.result()
                except (Exception, CancelledError) as error:
                    raise (explain(error, items[index]) if explain else error) from error
                yield index, result
    finally:
        if not check:  # a cluster cancels all when it is closed: one by one would take long
            for future in running:
                future.cancel()


@cache
def installed_version() -> str:
    """Return the version of soundmark.

    >>> installed_version().count(".")
    2
    """
    return version("soundmark")


def run_task(required: str, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call ``function`` on a worker; it must have the version ``required`` of soundmark.

    Raises:
        SoundmarkError: it has another one. Workers that join later are not seen by the check at the start.

    >>> run_task("0.0.9", abs, -1)
    Traceback (most recent call last):
    soundmark.errors.SoundmarkError: a worker has soundmark ..., but the command was started with 0.0.9: install ...
    """
    if installed_version() != required:
        raise SoundmarkError(
            f"a worker has soundmark {installed_version()}, but the command was started with {required}: install the "
            "same version on all machines. Finished work is kept: run the same command again to resume."
        )
    undo_trimming()
    return function(*arguments)


@contextmanager
def without_sigint() -> Iterator[None]:
    """Block Ctrl-C in processes started here: an interrupt during an import would print a traceback.

    >>> with without_sigint():
    ...     pass
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows: `_initialize_worker` makes them ignore it
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # starting it with the first process would unblock Ctrl-C
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(function: Callable[[Item], Result], item: Item) -> Result:
    if _stopped is not None and _stopped.value:
        raise CancelledError
    return function(item)


def _initialize_worker(stopped: Any) -> None:
    """Set up a worker process: it ignores Ctrl-C, which its parent handles, and exits when the parent does."""
    import multiprocessing

    global _stopped
    _stopped = stopped
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread per process; NumPy is not imported yet
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()


def _exit_with(sentinel: int) -> None:
    from multiprocessing.connection import wait as wait_for

    wait_for([sentinel])
    os._exit(1)
