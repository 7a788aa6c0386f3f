"""``Teacher``: corrections, retraining in a thread, and the model that the server uses."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np

from soundmark.datasets import Dataset
from soundmark.datasets.dataset import split_label
from soundmark.datasets.layouts.corrections import WITH_LABEL, Correction
from soundmark.detection.archive import suggestions
from soundmark.detection.archive.corrections import Corrections
from soundmark.errors import SettingsError, SoundmarkError
from soundmark.models.classifier import Model
from soundmark.models.pretrained.model_parts import EmbeddingScorer
from soundmark.runtime.text import counted
from soundmark.serving.archives import Archive
from soundmark.serving.teach.examples import ExampleSource
from soundmark.serving.teach.retraining import retrain
from soundmark.serving.teach.versions import History, Version, Versions

RECENT = 50  # corrections in the status


OFF = (
    "corrections are off, and no sound is kept: start the server with --corrections DIR to label sounds and to retrain "
    "the model."
)


@dataclass(frozen=True)
class Job:
    """A retraining: "idle", "running", "done", "cancelled", "failed" or "interrupted"."""

    state: str = "idle"
    step: str = ""
    detail: str = ""
    began: float = 0.0  # monotonic
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the job as JSON values."""
        seconds = time.monotonic() - self.began if self.state == "running" else self.seconds
        return {"state": self.state, "step": self.step, "detail": self.detail, "seconds": round(seconds, 2)}


class Teacher:
    """Retrains ``model`` on ``corrections``; ``use`` is called with each model that is to be used, and its name.

    ``training`` is the data set that the model was trained on, if it is available. Use it in a ``with`` block. After a
    restart, the model that was in use is used again.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        corrections: Corrections,
        *,
        use: Callable[[Model, str], None],
        training: Dataset | None = None,
    ) -> None:
        self.base, self.name, self.corrections, self.training = model, name, corrections, training
        self.versions = Versions(corrections.folder, model.bundle.digest)
        self.model = model
        self._use, self._source = use, ExampleSource(model, training)
        self._thread = ThreadPoolExecutor(1, "teacher")
        self._lock, self._cancelled, self._closing = threading.Lock(), threading.Event(), threading.Event()
        self._scores: dict[tuple[str, str], np.ndarray] = {}
        self.job = Job()

    def __enter__(self) -> Self:
        history = self.versions.history()
        if history.interrupted is not None:
            detail = f"The training of {history.interrupted} was interrupted. Nothing is lost: train again."
            self.job = Job(state="interrupted", detail=detail)
        with suppress(SoundmarkError):  # a model that was deleted: the base is used
            self._load(history)
        if self.training is not None:
            self._thread.submit(self._warm)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.shutdown(cancel_futures=True)

    def _warm(self) -> None:
        """Read the features of the training data, or compute them, so that a training need not wait for it."""
        with suppress(SoundmarkError, CancelledError):
            self._source.warm(progress=self._progress)

    def _load(self, history: History) -> None:
        version = next((each for each in history.versions if each.number == history.in_use), None)
        if version is not None:
            self._switch(Model(self.versions.read(version)), version.number)

    def _switch(self, model: Model, number: int) -> None:
        self.model = model
        self._use(model, self.name if number == 0 else f"{self.name}, taught {number}")

    def add(self, *args: Any, **values: Any) -> Correction:
        """Add a correction: see ``Corrections.add``; its features are computed in the background."""
        added = self.corrections.add(*args, model=self.model.bundle.digest, **values)
        if added.path:
            self._thread.submit(self._prepare)
        return added

    def _prepare(self) -> None:
        from soundmark.datasets.layouts.corrections import has_labels

        with suppress(SoundmarkError):
            if has_labels(self.corrections.folder):
                self._source.prepare(Dataset.open(self.corrections.folder).clips[-1:])

    def train(self) -> Job:
        """Start to retrain the model in a thread.

        Raises:
            SettingsError: a training is running.
        """
        with self._lock:
            if self.job.state == "running":
                raise SettingsError("a training is running: wait for it, or cancel it.")
            self._cancelled.clear()
            self.job = Job(state="running", step="waiting", began=time.monotonic())
        self._thread.submit(self._run)
        return self.job

    def cancel(self) -> None:
        """Cancel the training that is running, if any."""
        self._cancelled.set()

    def _check(self) -> None:
        if self._cancelled.is_set() or self._closing.is_set():
            raise CancelledError

    def _progress(self, what: str, done: int, total: int, unit: str, status: str = "", /) -> None:
        self._check()
        if self.job.state == "running" and total:
            self._say(f"{what}, {done:,} of {total:,} {unit}")

    def _say(self, step: str) -> None:
        self.job = Job(state="running", step=step, began=self.job.began)

    def _run(self) -> None:
        began = _now()
        try:
            self._check()
            self.versions.started(began)
            version = self._trained(began)
            detail = f"Model {version.number} was trained on {counted(version.report['clips'], 'clip')} and is in use."
            self._end("done", detail)
        except CancelledError:
            self._ended("cancelled", "The training was cancelled. The model did not change.")
        except SoundmarkError as error:
            self._ended("failed", str(error))
        except Exception:  # a bug in soundmark must not leave a training that never ends
            self._ended("failed", "The training failed because of a bug in soundmark: see the log of the server.")
            raise

    def _ended(self, state: str, detail: str) -> None:
        with suppress(SoundmarkError):
            self.versions.ended(state)
        self._end(state, detail)

    def _end(self, state: str, detail: str) -> None:
        self.job = Job(state=state, detail=detail, seconds=time.monotonic() - self.job.began)

    def _trained(self, began: str) -> Version:
        self._say("features")
        examples = self._source.examples(self.corrections.folder, progress=self._progress)
        history = self.versions.history()
        earlier = next((each.clips for each in history.versions if each.number == history.in_use), frozenset[str]())
        found = retrain(
            examples,
            self.base,
            self._source.extractor,
            self._source.recipe,
            before=earlier,
            check=self._check,
            say=self._say,
        )
        self._check()
        clips = frozenset(
            clip.path.name for clip, is_one in zip(examples.data.clips, examples.correction, strict=True) if is_one
        )
        version = self.versions.add(found.bundle, time=began, clips=clips, report=found.report)
        self._switch(Model(found.bundle), version.number)
        return version

    def use(self, number: int) -> None:
        """Use the model with a number from now on: 0 is the one that the server was started with.

        Raises:
            SettingsError: there is no such model, or a training is running.
            BundleError: its file is missing or damaged.
        """
        if self.job.state == "running":
            raise SettingsError("a training is running: wait for it, or cancel it.")
        model = self.base if number == 0 else Model(self.versions.read(self.version(number)))
        self.versions.use(number)
        self._switch(model, number)

    def version(self, number: int) -> Version:
        """Return the model with a number from 1.

        Raises:
            SettingsError: there is no such model.
        """
        found = {each.number: each for each in self.versions.history().versions}
        if number not in found:
            known = ", ".join(map(str, (0, *found)))
            raise SettingsError(f"there is no model {number}. Known: {known}.")
        return found[number]

    def scores(self, archive: Archive) -> tuple[Sequence[str], np.ndarray]:
        """Return the classes of the model in use, and its scores of an archive, float32 ``[windows, classes]``."""
        model, digest = self.model, self.model.bundle.digest
        if digest == archive.index.model_digest:
            return archive.index.classes, archive.index.all_scores()
        key = (archive.name, digest)
        if key not in self._scores:
            scorer, index = EmbeddingScorer(model.bundle), archive.index
            self._scores = {name: scores for name, scores in self._scores.items() if name[1] == digest}
            self._scores[key] = scorer(index.embeddings())
        return model.classes, self._scores[key]

    def suggest(self, archive: Archive, n: int, label: str | None) -> np.ndarray:
        """Return the numbers of windows to label next, with the scores of the model in use."""
        classes, scores = self.scores(archive)
        which = None if label is None or label not in classes else list(classes).index(label)
        labelled = [clip for _, clip in self.corrections.located(each.path for each in archive.index.recordings)]
        uncertain = suggestions.uncertainty(scores, which)
        return archive.index.suggested(n, uncertain, labelled)

    def status(self) -> dict[str, Any]:
        """Return what the page shows, as JSON values."""
        history, standing = self.versions.history(), self.corrections.standing()
        labelled = [each for each in standing if each.decision in WITH_LABEL and each.path]
        counts = Counter(name for each in labelled for name in split_label(each.label))
        return {
            "model": {"name": self.name, "in_use": history.in_use, "classes": list(self.model.classes)},
            "corrections": {
                "decisions": len(standing),
                "labelled": len(labelled),
                "by_class": dict(sorted(counts.items())),
                "max_bytes": self.corrections.max_bytes,
                "recent": [_recent(each) for each in reversed(standing[-RECENT:])],
            },
            "training_data": self._training_data(),
            "job": self.job.to_json(),
            "models": [{"number": each.number, "time": each.time, "report": each.report} for each in history.versions],
        }

    def _training_data(self) -> dict[str, Any]:
        if self.training is None:
            return {
                "clips": 0,
                "note": "The data that the model was trained on are not available: a retrained model knows the classes "
                "of the corrections alone. Start the server with --train-data DATASET to keep its other classes.",
            }
        return {"clips": len(self.training), "name": self.training.name, "note": ""}


def _recent(correction: Correction) -> dict[str, Any]:
    return {
        "id": correction.id,
        "decision": correction.decision,
        "label": correction.label or correction.asked,
        "file": correction.source.rpartition(" ")[0] or correction.source,
        "is_discarded": correction.decision in WITH_LABEL and not correction.path,
        "start_s": correction.source_start_s,
        "end_s": correction.source_end_s,
        "reviewer": correction.reviewer,
        "time": correction.time,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
