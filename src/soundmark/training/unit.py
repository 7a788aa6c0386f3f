"""One unit of a run: a recipe trained on one split, its graph, and what that graph says of the test clips.

<unit>/checkpoint.safetensors    while it is being trained
<unit>/refit.safetensors         while it is trained again on what was kept back, too
<unit>/history.csv               a line per epoch, from the first one on
<unit>/recipe.toml
<unit>/predictions.csv           where a part was kept back: path, fold, source, label, predicted, a column per class
<unit>/model.onnx                last: a unit that has one, of the same recipe and data, is finished

A file that was damaged since is noticed, named, and made again from the model, whose own digest covers its card: there
stand the history and the SHA-256 of the predictions. A damaged model is trained again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Dataset, splits
from soundmark.datasets.features import Features
from soundmark.datasets.protocols import ALL, protocol_of
from soundmark.datasets.splits import Split
from soundmark.errors import BundleError, DatasetError, OutputError, SettingsError
from soundmark.metrics.predictions import read_predictions, write_predictions
from soundmark.metrics.task import Task, score_clips
from soundmark.models import bundle, legacy, training_record, weights
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.training_record import EngineRecord, Epoch, TrainingRecord
from soundmark.runtime import atomic, provenance
from soundmark.runtime.progress import Progress, no_progress
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import CHECKPOINTS, remove_checkpoints

if TYPE_CHECKING:
    from soundmark.training import loop
    from soundmark.training.engine import Engine


log = logging.getLogger("soundmark")


CHECKED = 256  # test or training clips on which the graph is held against the network


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One training: a recipe, a split of the usable clips, and the folder that it goes to."""

    recipe: Recipe
    protocol: str  # a name of ``protocols``
    split: Split
    folder: Path
    seeds: int = 1  # with how many the recipe is trained on this split

    @property
    def name(self) -> str:
        """What the unit is called in a line of progress."""
        part = protocol_of(self.protocol).unit.format(fold=self.split.fold)
        seed = f", seed {self.recipe.seed}" if self.seeds > 1 else ""
        return f"{self.recipe.name}, {part}{seed}"

    def record(self, dataset: Dataset, store: Features) -> TrainingRecord:
        """The record of its training data, by which the unit of another run is recognised."""
        return TrainingRecord(
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            features=store.checksum,
            protocol=self.protocol,
            test_fold=self.split.fold,
            n_train=len(self.split.train),
            n_test=len(self.split.test),
            trained_on=clips_digest(self.split.train),
            licence=dataset.licence,
            citation=dataset.citation,
        )


def clips_digest(clips: np.ndarray) -> str:
    """16 hexadecimal digits that stand for a set of clips, int64 indices in any order.

    >>> clips_digest(np.array([2, 1])) == clips_digest(np.array([1, 2]))
    True
    """
    return hashlib.sha256(np.sort(clips).astype(np.int64).tobytes()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished unit gives."""

    unit: Unit
    history: tuple[Epoch, ...]
    engine: Mapping[str, Any]  # device, precision and threads that it was trained with
    probabilities: np.ndarray  # float32 [n_test, classes], in the order of the split's test clips
    training_s: float
    testing_s: float
    thresholds: tuple[float, ...] | None = None  # of its classes, where each is there or not by itself
    temperature: float = 1.0  # that its logits were divided by
    n_validation: int = 0  # clips that it was calibrated on

    @property
    def model(self) -> Path:
        """Its bundle."""
        return self.unit.folder / "model.onnx"


def train_unit(
    unit: Unit,
    dataset: Dataset,
    store: Features,
    *,
    engine: Engine | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Train, export, check, score and write ``unit``, going on from its checkpoint where it has one.

    Raises:
        BundleError: the graph does not say what the network says.
        OutputError: the folder cannot be written.

    >>> from soundmark.datasets import features
    >>> store = features.build(city, recipe.representation, jobs=1)
    >>> split = splits.official_folds(city, only=[1])[0]
    >>> unit = Unit(recipe=recipe, protocol="folds", split=split, folder=folder / "fold-1")
    >>> outcome = train_unit(unit, city, store)
    >>> outcome.probabilities.shape, outcome.model.name
    ((20, 10), 'model.onnx')
    """
    from soundmark.training import loop, onnx_export

    atomic.make_folder(unit.folder)
    split = splits.hold_out_validation(dataset, unit.split, unit.recipe.validation_fraction, seed=unit.recipe.seed)
    data = _training_data(unit, split, dataset, store)
    checkpoint = unit.folder / CHECKPOINTS[0]
    table = unit.folder / "history.csv"
    shown = loop.TrainingProgress(progress, unit.name, lambda epochs: training_record.write(table, epochs))
    start = time.perf_counter()
    trained = loop.train_network(
        data,
        unit.recipe,
        checkpoint=checkpoint,
        engine=engine,
        on_batch=shown.on_batch,
        on_epoch=shown.on_epoch,
        on_status=shown.on_status,
    )
    training_s = sum(epoch.seconds for epoch in trained.history) or time.perf_counter() - start
    exported = onnx_export.export_network(trained.network, store.array.shape[1:], trained.calibration.familiarity)
    card = _card(unit, dataset, store, trained)
    sample = store.array[np.concatenate([unit.split.test, unit.split.train])[:CHECKED]]
    in_torch = Bundle(exported, card).activate(onnx_export.network_logits(trained.network, sample))
    bundle.check_agreement(Bundle(exported, card), in_torch, sample)
    start = time.perf_counter()
    scored = Model(Bundle(exported, card)).probabilities(store.array, unit.split.test)
    testing_s = time.perf_counter() - start
    training_record.write(unit.folder / "history.csv", trained.history)
    atomic.write_text(unit.folder / "recipe.toml", unit.recipe.to_toml())
    card = _with_record(card, history=trained.history, training_s=training_s)
    if len(unit.split.test):
        written = write_predictions(unit.folder / "predictions.csv", dataset, unit.split.test, scored, card.thresholds)
        card = _with_record(card, testing_s=testing_s, predictions_sha256=written)
        card = replace(card, scores=_own_scores(unit, dataset, scored))
    Bundle(exported, card).write(unit.folder / "model.onnx")
    remove_checkpoints(unit.folder)
    return _outcome(unit, trained.history, card, scored)


def _training_data(unit: Unit, split: Split, dataset: Dataset, store: Features) -> loop.TrainingData:
    """What training is given. A recipe that decides anything is not given the test clips: neither sound nor label.

    The notebook's watches its test clips after each epoch, for the curve; nothing hangs on them.
    """
    from soundmark.training import loop

    targets = dataset.targets.astype(np.float32)
    if unit.recipe.decides:
        targets[split.test] = np.nan
    return loop.TrainingData(
        features=store.array.hiding(split.test) if unit.recipe.decides else store.array,
        targets=targets,
        train=split.train,
        validation=split.validation if unit.recipe.decides else split.test,
        sources=dataset.sources,
        activation=Task.of(dataset.multi_label).activation,
        checksum=store.checksum,
    )


def differing_settings(recipe: Recipe, noted: Mapping[str, Any]) -> list[str]:
    """Which fields of ``recipe`` are others in the settings that were ``noted``, maybe by an earlier soundmark.

    A field that there was not at the time is taken to have its default, as in a recipe file.

    >>> noted = recipe.settings()
    >>> del noted["augmentation"]["mixstyle"]
    >>> differing_settings(recipe, noted), differing_settings(recipe, {**noted, "epochs": 99})
    ([], ['epochs'])
    """
    noted, removed = legacy.split_removed(legacy.current_settings(noted))
    with suppress(SettingsError):  # of a later soundmark, which knows more: then it is told word by word
        noted = Recipe.from_settings(noted).settings()
    return [*(key for key, value in recipe.settings().items() if noted.get(key) != value), *removed]


def usable_split(split: Split, readable: np.ndarray) -> Split:
    """The split without the clips that could not be read: no other clip changes sides.

    >>> split = Split(np.array([0, 3]), np.array([2, 1]))
    >>> usable_split(split, np.array([True, True, True, False])).train
    array([0])
    """
    return replace(split, train=split.train[readable[split.train]], test=np.sort(split.test[readable[split.test]]))


def check_split(unit: Unit, dataset: Dataset) -> None:
    """Refuse to train on nothing, or to test on nothing; warn of classes of which there is nothing to train on.

    Raises:
        DatasetError: with what is there.

    >>> nothing = Split(np.arange(0), np.arange(3))
    >>> check_split(Unit(recipe=recipe, protocol="random", split=nothing, folder=folder), city)
    Traceback (most recent call last):
    soundmark.errors.DatasetError: notebook-mel, random split: 0 clips to train on and 3 to test on can be read; ...
    """
    n_train, n_test = len(unit.split.train), len(unit.split.test)
    if not n_train or (not n_test and unit.protocol != ALL.name):
        raise DatasetError(
            f"{unit.name}: {n_train} clips to train on and {n_test} to test on can be read; it needs some of both. "
            "`soundmark inspect` names the others with the reason."
        )
    if unseen := splits.untrained_classes(dataset, unit.split):
        log.warning("%s: no clip to train on, so none recognised, of: %s", unit.name, ", ".join(unseen))


def engine_for(found: Iterable[Outcome | None], device: str = "auto") -> Engine:
    """What to train on: what the finished units of the same run were trained on, or what suits this machine.

    Raises:
        SettingsError: the device is not there.

    >>> engine_for([], "cpu").device
    'cpu'
    """
    from soundmark.training.engine import Engine, choose_engine

    ours = choose_engine(device)
    before = [Engine(**outcome.engine) for outcome in found if outcome]
    return next((engine for engine in before if engine.device == ours.device), ours)


def find_finished(unit: Unit, dataset: Dataset, store: Features) -> Outcome | None:
    """The finished unit in its folder; ``None`` where there is none, or a damaged model (which is said).

    Raises:
        OutputError: there is a finished unit of another recipe or other data.

    >>> from soundmark.datasets import features
    >>> split = splits.official_folds(city, only=[1])[0]
    >>> unit = Unit(recipe=recipe, protocol="folds", split=split, folder=folder / "fold-1")
    >>> find_finished(unit, city, features.build(city, recipe.representation, jobs=1)) is None
    True
    """
    path = unit.folder / "model.onnx"
    if not path.exists():
        return None
    try:
        model = bundle.read_bundle(path)
        _refuse_other(unit, dataset, store, model.card)
        epochs = _epochs(path, model.card.training)
    except BundleError as error:
        log.warning("%s is trained again: %s", unit.name, error)
        return None
    _restore(unit.folder / "history.csv", training_record.to_csv(epochs))
    _restore(unit.folder / "recipe.toml", unit.recipe.to_toml(), unit.recipe.to_toml(original_names=True))
    outcome = _outcome(unit, epochs, model.card, _test_scores(unit, dataset, store, model))
    remove_checkpoints(unit.folder)  # a kill may have come just before this
    return outcome


def _epochs(path: Path, record: TrainingRecord) -> tuple[Epoch, ...]:
    """The history of a finished unit.

    Raises:
        BundleError: the model does not have it, or not what it was trained on.
    """
    if record.history is None or record.engine is None:
        raise BundleError(f'"{path}" does not say how it was trained')
    return record.history


def _restore(path: Path, text: str, earlier: str = "") -> None:
    """Write ``path`` again, with a warning, where it is not the ``text`` that the model beside it calls for.

    A file that holds the text of an ``earlier`` version is kept as it is.
    """
    if path.is_file() and path.read_bytes() in (text.encode(), (earlier or text).encode()):
        return
    what = "was damaged or changed after it was written" if path.exists() else "is missing"
    log.warning('"%s" %s: it is written again', path, what)
    atomic.write_text(path, text)


def _test_scores(unit: Unit, dataset: Dataset, store: Features, model: Bundle) -> np.ndarray:
    """What the finished unit says of its test clips: its predictions, or scored once more where they are damaged."""
    test, path = unit.split.test, unit.folder / "predictions.csv"
    if not len(test):
        return np.zeros((0, len(dataset.classes)), np.float32)
    known = model.card.training.predictions_sha256 or ""
    try:
        return read_predictions(path, dataset, test, sha256=known)
    except (ValueError, OSError) as error:
        log.warning("%s is scored again: %s", unit.name, error)
    scored = Model(model).probabilities(store.array, test)
    written = write_predictions(path, dataset, test, scored, model.card.thresholds)
    if written != known:  # scored on another machine, whose last digits are others
        Bundle(model.graph, _with_record(model.card, predictions_sha256=written)).write(unit.folder / "model.onnx")
    return scored


def _refuse_other(unit: Unit, dataset: Dataset, store: Features, card: Card) -> None:
    """Refuse a folder whose model was made from something else.

    Raises:
        OutputError: with what differs.
    """
    ours = unit.record(dataset, store).to_json()
    differing = [key for key, value in ours.items() if getattr(card.training, key) != value]
    differing += [f"recipe.{key}" for key in differing_settings(unit.recipe, card.recipe)]
    if differing:
        raise OutputError(
            f'"{unit.folder}" holds another run: it differs in {", ".join(differing)}. Choose another folder '
            "with -o, or start this one over with --fresh."
        )


def _outcome(unit: Unit, epochs: tuple[Epoch, ...], card: Card, probabilities: np.ndarray) -> Outcome:
    return Outcome(
        unit=unit,
        history=epochs,
        engine=asdict(card.training.engine) if card.training.engine else {},
        probabilities=probabilities,
        training_s=card.training.training_s or 0.0,
        testing_s=card.training.testing_s or 0.0,
        thresholds=card.thresholds,
        temperature=card.temperature,
        n_validation=card.training.calibrated_on or 0,
    )


def _card(unit: Unit, dataset: Dataset, store: Features, trained: loop.TrainedNetwork) -> Card:
    settled = trained.calibration
    return Card(
        classes=dataset.classes,
        representation=unit.recipe.representation,
        window_s=dataset.window_s,
        activation=Task.of(dataset.multi_label).activation,
        temperature=settled.temperature,
        thresholds=settled.thresholds,
        unknown=settled.unknown,
        recipe=unit.recipe.settings(),
        training=replace(
            unit.record(dataset, store),
            engine=EngineRecord(**asdict(trained.engine)),
            calibrated_on=settled.clips or None,
            weights=weights.LICENCE if unit.recipe.is_pretrained else None,
        ),
        versions=provenance.versions(),
    )


def _with_record(card: Card, **more: Any) -> Card:
    """The card with the fields ``more`` in its training record."""
    return replace(card, training=replace(card.training, **more))


def _own_scores(unit: Unit, dataset: Dataset, probabilities: np.ndarray) -> dict[str, Any]:
    """What the card says of how good the model is: on the clips that were kept back from its own training."""
    test = unit.split.test
    summary = score_clips(dataset, test, probabilities, seed=unit.recipe.seed)
    return {"protocol": unit.protocol, "test_fold": unit.split.fold, **summary.brief()}
