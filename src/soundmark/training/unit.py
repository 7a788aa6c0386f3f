"""One unit of a run: train a recipe on one split, export the graph, score the test clips.

<unit>/checkpoint.safetensors    during the training
<unit>/refit.safetensors         during the refit on all clips
<unit>/history.csv               a line per epoch, from the first one on
<unit>/recipe.toml
<unit>/predictions.csv           if there are test clips: path, fold, source, label, predicted, a column per class
<unit>/model.onnx                written last: a unit with a model of the same recipe and data is finished

A damaged file is reported and recreated from the model. The model's checksum covers its card, which contains the
history and the SHA-256 of the predictions. If the model is damaged, the unit is trained again.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soundmark.datasets import Dataset, features, leakage, splits
from soundmark.datasets.features import Features
from soundmark.datasets.protocols import ALL, protocol_of
from soundmark.datasets.splits import Split, count_recordings
from soundmark.errors import BundleError, DatasetError, OutputError, SettingsError
from soundmark.metrics.predictions import read_predictions, write_predictions
from soundmark.metrics.task import Task, score_clips
from soundmark.models import bundle, legacy, training_record
from soundmark.models.bundle import Bundle
from soundmark.models.card import Card
from soundmark.models.classifier import Model
from soundmark.models.pretrained import weights
from soundmark.models.training_record import Epoch, TrainingRecord
from soundmark.runtime import atomic, provenance
from soundmark.runtime.progress import Progress, no_progress
from soundmark.runtime.text import counted, listed
from soundmark.training import NETWORK_PACKAGES, methods
from soundmark.training.methods import Trained
from soundmark.training.recipe import Recipe
from soundmark.training.run_folder import CHECKPOINTS, remove_checkpoints

if TYPE_CHECKING:
    from soundmark.training.epochs.engine import Engine


log = logging.getLogger("soundmark")


FEW_STEPS = 100  # fewer training steps give a warning


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One training of a run: a recipe, a split of the usable clips, and the folder of the results."""

    recipe: Recipe
    protocol: str  # a key of ``PROTOCOLS``
    split: Split
    folder: Path
    seeds: int = 1  # number of seeds that the recipe is trained with on this split

    @property
    def name(self) -> str:
        """The name of the unit in progress bars and messages."""
        part = protocol_of(self.protocol).unit.format(fold=self.split.fold)
        seed = f", seed {self.recipe.seed}" if self.seeds > 1 else ""
        return f"{self.recipe.name}, {part}{seed}"

    def record(self, dataset: Dataset, store: Features) -> TrainingRecord:
        """Return the record of the training data, which identifies the run that the unit belongs to."""
        return TrainingRecord(
            name=dataset.name,
            fingerprint=dataset.fingerprint,
            features=store.checksum,
            protocol=self.protocol,
            test_fold=self.split.fold,
            n_train=len(self.split.train),
            n_windows=len(store.rows(self.split.train)) if store.windows.n_cut else None,
            n_test=len(self.split.test),
            trained_on=clips_digest(self.split.train),
            licence=dataset.licence,
            citation=dataset.citation,
        )


def clips_digest(clips: np.ndarray) -> str:
    """Return a digest of 16 hexadecimal digits for a set of clips, given as int64 indices in any order.

    >>> clips_digest(np.array([2, 1])) == clips_digest(np.array([1, 2]))
    True
    """
    return hashlib.sha256(np.sort(clips).astype(np.int64).tobytes()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The results of a finished unit."""

    unit: Unit
    history: tuple[Epoch, ...]
    engine: Mapping[str, Any]  # device, precision and threads of the training
    probabilities: np.ndarray  # float32 [n_test, classes], in the order of the split's test clips
    training_s: float
    testing_s: float
    thresholds: tuple[float, ...] | None = None  # by class, of multi-label models
    temperature: float = 1.0  # by which the logits are divided
    n_validation: int = 0  # clips used for calibration

    @property
    def model(self) -> Path:
        """The path of the model file."""
        return self.unit.folder / "model.onnx"


def train_unit(
    unit: Unit,
    dataset: Dataset,
    store: Features,
    *,
    engine: Engine | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Train, export, check, score and write ``unit``; resume from its checkpoint if there is one.

    A network is trained on ``engine``, by default the one that suits this machine; a head needs none.

    Raises:
        BundleError: the outputs of the exported graph differ from those of the network.
        OutputError: the folder cannot be written.

    >>> from soundmark.datasets import features
    >>> store = features.build(city, recipe.representation, jobs=1)
    >>> split = splits.official_folds(city, only=[1])[0]
    >>> unit = Unit(recipe=recipe, protocol="folds", split=split, folder=folder / "fold-1")
    >>> outcome = train_unit(unit, city, store)
    >>> outcome.probabilities.shape, outcome.model.name
    ((20, 10), 'model.onnx')
    """
    atomic.make_folder(unit.folder)
    trained = _train(unit, dataset, store, engine, progress)
    card = _card(unit, dataset, store, trained)
    model = Bundle(trained.graph, card)
    bundle.check_agreement(model, model.activate(trained.logits), trained.spectrograms)
    start = time.perf_counter()
    if trained.test_logits is None:
        scored = Model(model).clip_probabilities(store, unit.split.test)
    else:
        test, rows = unit.split.test, store.rows(unit.split.test)
        scored = store.windows.mean_by_clip(model.activate(trained.test_logits), rows, test)
    testing_s = time.perf_counter() - start
    training_record.write(unit.folder / "history.csv", trained.history)
    atomic.write_text(unit.folder / "recipe.toml", unit.recipe.to_toml())
    card = _with_record(card, history=trained.history, training_s=trained.seconds)
    if len(unit.split.test):
        written = write_predictions(unit.folder / "predictions.csv", dataset, unit.split.test, scored, card.thresholds)
        card = _with_record(card, testing_s=testing_s, predictions_sha256=written)
        card = replace(card, scores=_test_summary(unit, dataset, scored))
    Bundle(trained.graph, card).write(unit.folder / "model.onnx")
    remove_checkpoints(unit.folder)
    return _outcome(unit, trained.history, card, scored)


def _train(unit: Unit, dataset: Dataset, store: Features, engine: Engine | None, progress: Progress) -> Trained:
    if unit.recipe.backbone:
        return methods.train_head(unit.recipe, unit.split, dataset, store, progress=progress, name=unit.name)
    table = unit.folder / "history.csv"
    return methods.train_network(
        unit.recipe,
        splits.hold_out_validation(dataset, unit.split, unit.recipe.validation_fraction, seed=unit.recipe.seed),
        dataset,
        store,
        engine=engine,
        checkpoint=unit.folder / CHECKPOINTS[0],
        progress=progress,
        name=unit.name,
        on_history=lambda epochs: training_record.write(table, epochs),
    )


def differing_settings(recipe: Recipe, recorded: Mapping[str, Any]) -> list[str]:
    """Return the fields in which ``recipe`` differs from ``recorded`` settings, perhaps of an earlier soundmark.

    A field that the earlier version did not have is assumed to have its default, as in a recipe file.

    >>> recorded = recipe.settings()
    >>> del recorded["augmentation"]["mixstyle"]
    >>> differing_settings(recipe, recorded), differing_settings(recipe, {**recorded, "epochs": 99})
    ([], ['epochs'])
    """
    recorded, removed = legacy.split_removed(legacy.current_settings(recorded))
    with suppress(SettingsError):  # settings of a later soundmark: compare them as they are
        recorded = Recipe.from_settings(recorded).settings()
    differing = [key for key, value in recipe.settings().items() if recorded.get(key) != value]
    if recipe.has_backbone_file and Path(str(recorded.get("backbone"))).name == Path(recipe.backbone or "").name:
        differing = [key for key in differing if key != "backbone"]  # the file may be in another folder
    return [*differing, *removed]


def usable_split(split: Split, readable: np.ndarray) -> Split:
    """Remove unreadable clips from a split; the other clips stay in their part.

    >>> split = Split(np.array([0, 3]), np.array([2, 1]))
    >>> usable_split(split, np.array([True, True, True, False])).train
    array([0])
    """
    return replace(split, train=split.train[readable[split.train]], test=np.sort(split.test[readable[split.test]]))


def check_split(unit: Unit, dataset: Dataset) -> None:
    """Check that a unit has training and test clips; warn about classes without training clips.

    Raises:
        DatasetError: there are no training clips, or no test clips.

    >>> nothing = Split(np.arange(0), np.arange(3))
    >>> check_split(Unit(recipe=recipe, protocol="random", split=nothing, folder=folder), city)
    Traceback (most recent call last):
    soundmark.errors.DatasetError: notebook-mel, random split: 0 training clips and 3 test clips can be read; ...
    """
    n_train, n_test = len(unit.split.train), len(unit.split.test)
    if not n_train or (not n_test and unit.protocol != ALL.name):
        raise DatasetError(
            f"{unit.name}: {n_train} training clips and {n_test} test clips can be read; at least one of each is "
            "needed. `soundmark inspect` lists the unreadable clips with the reasons."
        )
    if untrained := splits.untrained_classes(dataset, unit.split):
        log.warning(
            "%s: classes without training clips, which cannot be recognised: %s", unit.name, ", ".join(untrained)
        )


def warn_few_steps(units: Sequence[Unit], store: Features) -> None:
    """Warn once if a training of ``units``, which have the same recipe, has fewer than ``FEW_STEPS`` steps.

    >>> warn_few_steps([], None)
    """
    for unit in units[:1]:
        n = len(store.rows(unit.split.train))
        steps = unit.recipe.steps_for(n)
        if steps is not None and steps < FEW_STEPS:
            log.warning(
                "%s: %s (%s, batches of %d of %s) %s too few to train a network: use a smaller --batch-size or more "
                "--epochs, or the recipe transfer",
                unit.recipe.name,
                counted(steps, "training step"),
                counted(unit.recipe.epochs_for(n), "epoch"),
                min(n, unit.recipe.batch_size),
                counted(n, "clip"),
                "is" if steps == 1 else "are",
            )


def check_device(recipes: Iterable[Recipe], device: str) -> None:
    """Check that a device is available for the recipes that use one: those without a backbone.

    Raises:
        SettingsError: it is not available, no recipe uses it, or the packages that train networks are not installed.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> check_device([recipe_named("transfer")], "cuda")
    Traceback (most recent call last):
    soundmark.errors.SettingsError: the recipe transfer runs on the CPU only: omit --device, or use --device cpu.
    """
    recipes = list(recipes)
    if networks := [recipe.name for recipe in recipes if recipe.backbone is None]:
        _check_installed(networks)
        engine_for([], device)
    elif device not in ("auto", "cpu"):
        names = listed(list(dict.fromkeys(recipe.name for recipe in recipes)))
        raise SettingsError(f"the recipe {names} runs on the CPU only: omit --device, or use --device cpu.")


def _check_installed(networks: Sequence[str]) -> None:
    """Raise ``SettingsError`` if a package that trains ``networks`` is not installed, as the command line does."""
    missing = [name for name in NETWORK_PACKAGES if not _is_installed(name)]
    if missing:
        noun, verb = ("package", "is") if len(missing) == 1 else ("packages", "are")
        raise SettingsError(
            f"training {listed(list(dict.fromkeys(networks)))} needs the {noun} {listed(missing)}, which {verb} not "
            'installed: pip install "soundmark[train]".'
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # ValueError: loaded without a specification
        return False


def engine_for(finished: Iterable[Outcome | None], device: str = "auto") -> Engine:
    """Return the engine of the networks that are finished in the same run, else the one that suits this machine.

    Raises:
        SettingsError: the device is not available.

    >>> engine_for([], "cpu").device
    'cpu'
    """
    from soundmark.training.epochs.engine import Engine, choose_engine

    default = choose_engine(device)
    earlier = [Engine(**outcome.engine) for outcome in finished if outcome and outcome.unit.recipe.backbone is None]
    engine = next((engine for engine in earlier if engine.device == default.device), default)
    log.debug("training on %s: %s, %d threads", engine.device, engine.precision, engine.threads)
    return engine


def find_finished(unit: Unit, dataset: Dataset, store: Features) -> Outcome | None:
    """Return the outcome of the finished unit in its folder; None if there is none, or its model is damaged.

    A damaged model is reported in a warning.

    Raises:
        OutputError: the folder contains a finished unit of another recipe or other data.

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
        _check_same_run(unit, dataset, store, model.card)
        epochs = _epochs(path, model.card.training)
    except BundleError as error:
        log.warning("%s is trained again: %s", unit.name, error)
        return None
    _restore(unit.folder / "history.csv", training_record.to_csv(epochs))
    if not _names_the_same_file(unit.folder / "recipe.toml", unit.recipe):
        _restore(unit.folder / "recipe.toml", unit.recipe.to_toml(), unit.recipe.to_toml(original_names=True))
    if not unit.recipe.calibrates:
        epochs = tuple(epoch.on_test_clips() for epoch in epochs)  # earlier versions wrote these as validation values
    outcome = _outcome(unit, epochs, model.card, _test_scores(unit, dataset, store, model))
    remove_checkpoints(unit.folder)  # an earlier run may have been killed before it removed them
    return outcome


def _epochs(path: Path, record: TrainingRecord) -> tuple[Epoch, ...]:
    """Return the history of a finished unit.

    Raises:
        BundleError: the model does not contain the history or the engine.
    """
    if record.history is None or record.engine is None:
        raise BundleError(f'"{path}" contains no training history')
    return record.history


def _names_the_same_file(path: Path, recipe: Recipe) -> bool:
    """Whether the recipe in a file is ``recipe``, with the file of its backbone in another folder."""
    if not recipe.has_backbone_file:
        return False
    try:
        found = Recipe.from_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # SettingsError is a ValueError
        return False
    return replace(found, backbone=recipe.backbone) == recipe


def _restore(path: Path, text: str, earlier: str = "") -> None:
    """Write ``text``, which comes from the model, to ``path`` if the file is missing or different, with a warning.

    A file with the text that an ``earlier`` version wrote is kept.
    """
    if path.is_file() and path.read_bytes() in (text.encode(), (earlier or text).encode()):
        return
    problem = "was damaged or changed after it was written" if path.exists() else "is missing"
    log.warning('"%s" %s: it is recreated', path, problem)
    atomic.write_text(path, text)


def _test_scores(unit: Unit, dataset: Dataset, store: Features, model: Bundle) -> np.ndarray:
    """Return the predictions of a finished unit for its test clips; if their file is damaged, score them again."""
    test, path = unit.split.test, unit.folder / "predictions.csv"
    if not len(test):
        return np.zeros((0, len(dataset.classes)), np.float32)
    expected = model.card.training.predictions_sha256 or ""
    try:
        return read_predictions(path, dataset, test, sha256=expected)
    except (ValueError, OSError) as error:
        log.warning("%s is scored again: %s", unit.name, error)
    spectrograms = store
    if unit.recipe.backbone:
        spectrograms = features.build(dataset, unit.recipe.representation, window_s=dataset.window_s)
    scored = Model(model).clip_probabilities(spectrograms, test)
    written = write_predictions(path, dataset, test, scored, model.card.thresholds)
    if written != expected:  # scored on another machine, with other rounding errors
        Bundle(model.graph, _with_record(model.card, predictions_sha256=written)).write(unit.folder / "model.onnx")
    return scored


def _check_same_run(unit: Unit, dataset: Dataset, store: Features, card: Card) -> None:
    """Check that the model in the unit's folder was trained with the same recipe, data and split.

    Raises:
        OutputError: it was not; the message lists what differs.
    """
    record = unit.record(dataset, store).to_json()
    differing = [key for key, value in record.items() if getattr(card.training, key) != value]
    differing += ["background"] if card.background != dataset.background else []
    differing += [f"recipe.{key}" for key in differing_settings(unit.recipe, card.recipe)]
    if differing:
        raise OutputError(
            f'"{unit.folder}" contains another run: it differs in {", ".join(differing)}. Choose another folder '
            "with -o, or discard that run with --fresh."
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


def _card(unit: Unit, dataset: Dataset, store: Features, trained: Trained) -> Card:
    calibration = trained.calibration
    return Card(
        classes=dataset.classes,
        representation=unit.recipe.representation,
        window_s=dataset.window_s,
        background=dataset.background,
        activation=Task.of(dataset.multi_label).activation,
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        event_thresholds=calibration.event_thresholds,
        unknown=calibration.unknown,
        recipe=_card_settings(unit.recipe),
        training=replace(
            unit.record(dataset, store),
            engine=trained.engine,
            calibrated_on=calibration.clips or None,
            nature=", ".join(calibration.nature) or None,
            weights=_weights(unit.recipe),
            n_recordings=count_recordings(dataset, unit.split.train) if dataset.sources_known else None,
        ),
        versions=provenance.versions(),
    )


def _card_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a recipe for a model's card, with the name of a backbone's file instead of its path."""
    settings = recipe.settings()
    return {**settings, "backbone": Path(settings["backbone"]).name} if recipe.has_backbone_file else settings


def _weights(recipe: Recipe) -> str | None:
    """Return the source and the licence of pretrained weights, for a model's card."""
    if not recipe.has_backbone_file:
        return weights.LICENCE if recipe.backbone else None
    name = f"{Path(recipe.backbone or '').name} (SHA-256 {recipe.backbone_sha256})"
    return f"{name}: {recipe.backbone_licence} licence" if recipe.backbone_licence else f"{name}: see its source"


def _with_record(card: Card, **changes: Any) -> Card:
    """Return the card with ``changes`` to its training record."""
    return replace(card, training=replace(card.training, **changes))


def _test_summary(unit: Unit, dataset: Dataset, probabilities: np.ndarray) -> dict[str, Any]:
    """Return the scores on the test clips, for the model's card."""
    test = unit.split.test
    summary = score_clips(dataset, test, probabilities)
    leak = leakage.measure_leakage(dataset, unit.split) if dataset.sources_known else None
    scores = {"protocol": unit.protocol, "test_fold": unit.split.fold, **summary.brief()}
    return scores | {"leak": leakage.to_json(leak)}
