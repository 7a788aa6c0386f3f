"""Units of a run on an executor: workers train in folders of their own, the calling process writes the results.

Workers read the features from the store of the calling process, in a cache folder that all machines share. A unit whose
worker ends is trained again, from its start, by another worker.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundmark.datasets import Dataset
from soundmark.datasets.feature_store import Rows
from soundmark.datasets.features import Features
from soundmark.errors import SettingsError
from soundmark.runtime import atomic, parallel
from soundmark.training.run_folder import UNIT_FILES
from soundmark.training.unit import Outcome, Unit, train_unit

if TYPE_CHECKING:
    from soundmark.training.epochs.engine import Engine

log = logging.getLogger("soundmark")


@dataclass(frozen=True, kw_only=True)
class RemoteFeatures:
    """Features whose array workers read from ``path``; ``digest`` is that of the file."""

    features: Features
    path: Path
    digest: str

    @classmethod
    def of(cls, store: Features) -> RemoteFeatures:
        """Return the features of ``store``, as they are sent to workers.

        >>> from soundmark.datasets import features
        >>> store = features.build(city, recipe.representation, jobs=1)
        >>> bool((RemoteFeatures.of(store).opened().array[:] == store.array[:]).all())
        True
        """
        path = store.array.path
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()
        return cls(features=replace(store, array=None), path=path.absolute(), digest=digest)  # type: ignore[arg-type]

    def opened(self) -> Features:
        """Open the array on a worker.

        Raises:
            SettingsError: the worker finds no such file, or another one.
        """
        try:
            is_same = _digest_of(str(self.path), self.path.stat().st_mtime_ns) == self.digest
        except OSError:
            is_same = False
        if not is_same:
            raise SettingsError(
                f'the worker on {platform.node()} does not find the features in "{self.path}": set SOUNDMARK_CACHE to '
                "the same folder on all machines, one that they share."
            )
        return replace(self.features, array=Rows(self.path))


@lru_cache(maxsize=16)
def _digest_of(path: str, mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Shared:
    dataset: Dataset
    stores: Mapping[str, RemoteFeatures]  # by the name of the recipe
    engine: Engine | None


@dataclass(frozen=True, kw_only=True)
class _Item:
    unit: Unit
    backbone: str | None  # the recipe's; the path of a file is absolute

    @classmethod
    def of(cls, unit: Unit) -> _Item:
        backbone = unit.recipe.backbone
        if backbone is not None and unit.recipe.has_backbone_file:
            backbone = str(Path(backbone).expanduser().absolute())  # workers have another current folder
        return cls(unit=unit, backbone=backbone)

    @property
    def description(self) -> str:
        return self.unit.name


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """The outcome of a unit, the content of its files, and the warnings."""

    outcome: Outcome
    files: Mapping[str, bytes]
    warnings: Sequence[str]


def train_units(
    executor: Executor,
    units: Sequence[Unit],
    dataset: Dataset,
    stores: Mapping[str, Features],
    *,
    engine: Engine | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Train ``units`` like ``train_unit``, on an executor; yield index and outcome of each when its files are written.

    ``stores`` are the features by the name of the recipe. ``engine`` is that of networks, of this machine.

    Raises:
        SettingsError: a worker does not find the features.
        OutputError: a folder cannot be written.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> from soundmark.datasets import features, splits
    >>> store = features.build(city, recipe.representation, jobs=1)
    >>> split = splits.official_folds(city, only=[1])[0]
    >>> unit = Unit(recipe=recipe, protocol="folds", split=split, folder=folder / "fold-1")
    >>> with ThreadPoolExecutor(1) as pool:
    ...     trained = list(train_units(pool, [unit], city, {recipe.name: store}))
    >>> trained[0][1].model.name, (folder / "fold-1" / "model.onnx").exists()
    ('model.onnx', True)
    """
    distinct = {id(store): RemoteFeatures.of(store) for store in stores.values()}
    remote = {name: distinct[id(store)] for name, store in stores.items()}
    shared = _Shared(dataset=dataset, stores=remote, engine=engine)
    items = [_Item.of(unit) for unit in units]
    for index, trained in parallel.map_unordered(_train, items, jobs=executor, shared=shared):
        for message in trained.warnings:
            log.warning("%s", message)
        unit = units[index]
        for name in sorted(trained.files, key=lambda name: name == "model.onnx"):  # the model last: it ends the unit
            atomic.write_bytes(unit.folder / name, trained.files[name])
        yield index, replace(trained.outcome, unit=unit)


def _train(shared: _Shared, item: _Item) -> _Trained:
    """Train a unit in a temporary folder of the worker."""
    store = shared.stores[item.unit.recipe.name].opened()
    with tempfile.TemporaryDirectory(prefix="soundmark-") as folder, collected_warnings() as warnings:
        unit = replace(item.unit, folder=Path(folder), recipe=replace(item.unit.recipe, backbone=item.backbone))
        outcome = train_unit(unit, shared.dataset, store, engine=shared.engine)
        files = {name: (unit.folder / name).read_bytes() for name in UNIT_FILES if (unit.folder / name).exists()}
        files["recipe.toml"] = item.unit.recipe.to_toml().encode()  # with the path as it was given
    return _Trained(outcome=outcome, files=files, warnings=warnings)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the warnings of soundmark in this thread, which nobody reads on a worker.

    >>> with collected_warnings() as warnings:
    ...     log.warning("3 clips are silent")
    >>> warnings
    ['3 clips are silent']
    """
    messages: list[str] = []
    thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: Any) -> None:
            if record.thread == thread:
                messages.append(record.getMessage())

    collector = Collector(logging.WARNING)
    log.addHandler(collector)
    try:
        yield messages
    finally:
        log.removeHandler(collector)
