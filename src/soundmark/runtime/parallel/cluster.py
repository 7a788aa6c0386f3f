"""Workers on other machines: a Dask cluster as an executor.

    with connected("tcp://10.0.0.5:8786") as workers:
        for index, result in map_unordered(function, items, jobs=workers):
            ...

Dask's scheduler gives the work to the workers, and gives it to another one if a worker ends. Functions and items reach
the workers as pickles, which Dask's processes execute: the cluster and its network must be trusted.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from soundmark.errors import SettingsError, SoundmarkError
from soundmark.runtime.parallel import available_cores, installed_version, without_sigint
from soundmark.runtime.text import counted, listed, shortened

log = logging.getLogger("soundmark")

LOCAL = "local"
CONNECT_S = 5.0  # time to find the scheduler
WORKERS_S = 30.0  # time for the first worker to start
NO_WORKERS_S = 60.0  # time without any worker, after which the work is given up
CHECK_INTERVAL_S = 2.0
SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1GB",  # of a model
    "distributed.worker.profile.enabled": False,  # of workers that are started here
}


RESUME = "Finished work is kept: run the same command again to resume."


# Packages on which the last digits of results depend.
NUMERIC = ("python", "numpy", "soundfile", "soxr", "ducc0", "onnxruntime", "torch")


def check_address(cluster: str) -> None:
    """Check that the address of a cluster has a valid form: ``local``, or the address of a scheduler.

    Raises:
        SettingsError: it has not.

    >>> check_address("local")
    >>> check_address("tcp://10.0.0.5:8786")
    >>> check_address("10.0.0.5")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: cluster is "10.0.0.5": expected the address of a Dask scheduler, like ... or local.
    """
    if cluster != LOCAL and not re.fullmatch(
        r"(tcp|tls|wss?|ucx)://[^\s/:]+:\d{1,5}|(tcp|tls)://\[[^\s/]+\]:\d{1,5}", cluster
    ):
        raise SettingsError(
            f'cluster is "{shortened(cluster)}": expected the address of a Dask scheduler, like tcp://10.0.0.5:8786, '
            "or local."
        )


class Cluster(Executor):
    """The workers of a Dask ``client`` as an executor; ``address`` is its name in messages."""

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address
        self._executor = client.get_executor(pure=False)
        self._checked_s = time.monotonic()
        self._without_workers_s: float | None = None
        self.cores = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn(*args)`` on a worker. Arguments that ``share`` returned are replaced by their values."""
        self._check_connection()
        found: Future[Any] = self._executor.submit(fn, *args, **kwargs)
        return found

    def share(self, value: Any) -> Any:
        """Send ``value`` to the workers once; return a reference to it for the arguments of ``submit``."""
        self._check_connection()
        return self.client.submit(_same, value, pure=False)

    def check(self) -> None:
        """Check from time to time that the scheduler can be reached and has workers.

        Raises:
            SoundmarkError: it cannot, or has had none for a minute.
        """
        self._check_connection()
        now_s = time.monotonic()
        if now_s - self._checked_s < CHECK_INTERVAL_S:
            return
        self._checked_s = now_s
        self.count_cores()
        if self.cores:
            self._without_workers_s = None
        elif self._without_workers_s is None:
            self._without_workers_s = now_s
            log.warning("the cluster at %s has no workers left: waiting for new ones", self.address)
        elif now_s - self._without_workers_s > NO_WORKERS_S:
            raise SoundmarkError(
                f'the cluster at {self.address} has no workers left. {RESUME} Start workers first: "dask worker '
                f'{self.address}".'
            )

    def count_cores(self) -> None:
        """Update ``cores``, the number of threads of all workers; keep it if the scheduler does not answer in time."""
        with suppress(OSError, TimeoutError):
            self.cores = sum(self.client.sync(self.client.scheduler.ncores, callback_timeout=CONNECT_S).values())
        self._check_connection()

    def explain(self, error: BaseException, item: object) -> BaseException:
        """Return the error to raise for an ``error`` of the work on ``item``."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            what = getattr(item, "description", "the same work")
            return SoundmarkError(
                f"several workers ended while they worked on {what}: killed (out of memory?), or crashed by a file. "
                f"{RESUME}"
            )
        if isinstance(error, CancelledError):
            with suppress(SoundmarkError):
                self._check_connection()
            return _lost(self.address)
        if isinstance(error, ModuleNotFoundError | AttributeError) and "soundmark" in str(error):
            return SoundmarkError(f"a worker of the cluster at {self.address} has no soundmark {installed_version()}.")
        return error

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel the work that is not finished."""
        if self.client.status == "running":
            with suppress(Exception):  # the scheduler may be gone
                self._executor.shutdown(wait=False)

    def _check_connection(self) -> None:
        if self.client.status != "running":
            raise _lost(self.address)


def _lost(address: str) -> SoundmarkError:
    return SoundmarkError(f"the connection to the scheduler at {address} was lost. {RESUME}")


def _same(value: Any) -> Any:
    return value


@contextmanager
def connected(cluster: Any, jobs: int | None = None) -> Iterator[Cluster]:
    """Connect to a Dask cluster: the address of its scheduler, ``local``, or a ``distributed.Client``.

    ``local`` starts a cluster on this machine, with ``jobs`` worker processes (default: all cores).

    Raises:
        SettingsError: the address is invalid, or nothing answers there; there are no workers; a worker has another
            version of soundmark.
        ImportError: the package distributed is not installed.

    >>> with connected("local", 1) as workers:  # doctest: +SKIP
    ...     workers.submit(abs, -1).result()
    1
    """
    import dask
    from distributed import Client

    with ExitStack() as stack:
        if isinstance(cluster, Client):
            workers = Cluster(cluster, cluster.scheduler.address)
        elif isinstance(cluster, str):
            check_address(cluster)
            stack.enter_context(_quiet())
            stack.enter_context(dask.config.set(SETTINGS))
            client = _client(cluster, jobs, stack)
            workers = Cluster(client, client.scheduler.address)
        else:
            raise SettingsError(
                f"cluster is {shortened(repr(cluster))}: expected the address of a Dask scheduler, a "
                "distributed.Client, or a concurrent.futures.Executor."
            )
        stack.callback(workers.shutdown)
        _check_workers(workers)
        yield workers


def _client(cluster: str, jobs: int | None, stack: ExitStack) -> Any:
    """Return a client for an address, or for a cluster that is started here; ``stack`` closes both."""
    from distributed import Client, LocalCluster

    class Connection(Client):
        """A client that is closed if it cannot connect; its finaliser, called at any time, may wait for ever."""

        def start(self, **options: Any) -> None:
            try:
                super().start(**options)
            except BaseException:
                _closed(self)
                raise

    if cluster == LOCAL:
        with without_sigint():
            local = LocalCluster(
                n_workers=jobs or available_cores(),
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        stack.callback(_closed, local)
        cluster = local.scheduler_address
    try:
        client = Connection(cluster, timeout=CONNECT_S, set_as_default=False)
    except Exception as error:  # of Dask, of the network, or of the answer of another service
        if isinstance(error, TypeError) and cluster.startswith("tls:"):
            raise SettingsError(
                f"{cluster} needs certificates: set distributed.comm.tls in the configuration of Dask."
            ) from error
        raise SettingsError(
            f'no Dask scheduler answers at {cluster}. Start one with "dask scheduler", and workers with "dask worker '
            f'{cluster}", or use --cluster local.'
        ) from error
    stack.callback(_closed, client)
    return client


def _closed(opened: Any) -> None:
    """Close a client or a local cluster; its scheduler may be gone."""
    with suppress(Exception):
        opened.close(timeout=CONNECT_S)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Dask's own log: what the user needs to know is in the messages of soundmark."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _check_workers(workers: Cluster) -> None:
    """Wait for a worker; check that all workers have this version of soundmark, and packages that compute the same.

    Raises:
        SettingsError: there is none, or one has another version.
    """
    since_s = time.monotonic()
    workers.count_cores()
    if not workers.cores:
        log.warning("the cluster at %s has no workers yet: waiting for up to %.0f s", workers.address, WORKERS_S)
    while not workers.cores:
        if time.monotonic() - since_s > WORKERS_S:
            raise SettingsError(
                f'the cluster at {workers.address} has no workers: start some with "dask worker {workers.address}".'
            )
        time.sleep(0.1)
        workers.count_cores()
    found = workers.client.run(_probe(), on_error="ignore")
    own = {name: version for name, version in _probe()().items() if name in NUMERIC}
    wrong = [address for address, versions in found.items() if versions.get("soundmark") != installed_version()]
    if wrong:
        other = found[wrong[0]].get("soundmark")
        has = f"soundmark {other}" if other else "no soundmark"
        verb = "has" if len(wrong) == 1 else "have"
        raise SettingsError(
            f"{counted(len(wrong), 'worker')} of {len(found)} ({listed(wrong[:3])}) {verb} {has}, but this machine has "
            f"{installed_version()}: install the same version on all machines."
        )
    differing = {
        f"{name} {versions[name]} instead of {version}"
        for versions in found.values()
        for name, version in own.items()
        if versions.get(name, version) != version
    }
    if differing:
        log.warning(
            "workers have other packages than this machine (%s): results may differ in their last digits",
            ", ".join(sorted(differing)),
        )
    log.debug("cluster at %s: %d workers, %d threads", workers.address, len(found), workers.cores)


def _probe() -> Callable[[], dict[str, str]]:
    """Return a function that reports the versions of a worker; it reaches workers without soundmark too."""
    names = ("soundmark", *NUMERIC)

    def versions() -> dict[str, str]:
        import importlib.metadata
        import platform

        found = {"python": platform.python_version()}
        for name in names:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    return versions
