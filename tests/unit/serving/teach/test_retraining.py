"""The report of a retraining: figures that a plain computation gives, on recordings that no model was trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import soundmark as sm
from soundmark.datasets.clip import Clip
from soundmark.metrics.single_label import macro_f1
from soundmark.metrics.task import Task
from soundmark.models.bundle import Bundle
from soundmark.serving.teach.examples import Examples, ExampleSource
from soundmark.serving.teach.retraining import retrain
from soundmark.training.transfer import head_stages
from soundmark.training.transfer.backgrounds import Backgrounds
from soundmark.training.transfer.embeddings import Embeddings
from support.models import tone_embedder
from support.teaching import TeachingSet, teaching_set


@pytest.fixture(scope="module")
def model() -> sm.Model:
    return tone_embedder()


def examples(*, n_original: int = 60, n_new: int = 20, seed: int = 0) -> Examples:
    """Random embeddings of three classes that overlap; the third only has corrections, two clips of a recording."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_original) % 2, np.where(np.arange(n_new) % 3 == 0, 0, 2)])
    names = np.array(["low", "high", "middle"])[labels]
    clips = tuple(
        Clip(path=Path(f"{'clips/c' if i >= n_original else 'o'}{i}.wav"), label=str(name), source=str(i // 2))
        for i, name in enumerate(names)
    )
    data = sm.Dataset(name="tones", root=Path(), classes=("low", "high", "middle"), clips=clips)
    views = (rng.normal(0, 1, (2, len(clips), 64)) + 3 * np.eye(3, 64)[labels]).astype(np.float32)
    return Examples(
        data=data,
        views=views,
        clip_of=np.arange(len(clips)),
        correction=np.arange(len(clips)) >= n_original,
        backgrounds=Backgrounds(
            features=rng.normal(0, 1, (20, 64)).astype(np.float32), groups=np.array(["synthetic", "rain"] * 10)
        ),
    )


def retrained(model: sm.Model, found: Examples, before: frozenset[str] = frozenset(), **options):
    source = ExampleSource(model, None)
    extractor: Embeddings = source.extractor
    return retrain(found, model, extractor, source.recipe, before=before, **options)


def test_scores_before_and_after_are_those_of_a_plain_computation(model):
    found = examples()
    earlier = frozenset(clip.path.name for clip in found.data.clips[60:66])
    taught = retrained(model, found, earlier)
    n = np.arange(80)
    stages = [n < 60, n < 66, n < 80]
    shrinkage = 0.9
    scores = []
    for shrinkage in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0):  # the one that the head chose is not in the report
        logits = list(
            head_stages.held_out_logits(
                found.views, found.targets, found.sources, stages, shrinkage=shrinkage, backgrounds=found.backgrounds
            )
        )
        answers = [Task.named("softmax").probabilities(each).argmax(1) for each in logits]
        truth = found.data.labels
        scores.append(
            [(float((each == truth).mean()), macro_f1(truth, each)) for each in answers]
            + [(float((each[60:] == truth[60:]).mean()), macro_f1(truth[60:], each[60:])) for each in answers]
        )
    report = taught.report["held_out"]
    figures = [
        tuple(report[part][when][name]["value"] for name in ("accuracy", "macro_f1"))
        for part, when in (("all", "before"), ("all", "after"), ("corrections", "before"), ("corrections", "after"))
    ]
    matching = [row for row in scores if np.allclose([row[1], row[2], row[4], row[5]], figures, rtol=0, atol=1e-9)]
    assert matching
    assert taught.report["curve"][0]["macro_f1"]["value"] == pytest.approx(matching[0][0][1])
    assert [point["corrections"] for point in taught.report["curve"]] == [0, 5, 10, 20]
    for part in ("all", "corrections"):
        gain = report[part]["accuracy_gain"]
        difference = report[part]["after"]["accuracy"]["value"] - report[part]["before"]["accuracy"]["value"]
        assert gain["value"] == pytest.approx(difference)
        assert gain["interval"][0] < gain["value"] < gain["interval"][1] or gain["value"] == 1.0


def test_the_model_has_the_classes_and_the_calibration_of_the_training(model):
    taught = retrained(model, examples())
    assert taught.bundle.card.classes == ("low", "high", "middle")
    assert taught.bundle.card.training.n_train == 80
    assert set(taught.bundle.outputs) >= {"logits", "embedding"}
    assert taught.report["classes"][2]["label"] == "middle"
    assert taught.report["classes"][2]["corrections"] == 13


def test_a_training_ends_at_the_next_step_after_it_is_cancelled(model):
    steps: list[str] = []

    def check() -> None:
        if "testing on held-out recordings" in steps:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        retrained(model, examples(), check=check, say=steps.append)


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> TeachingSet:
    return teaching_set(tmp_path_factory.mktemp("teaching"), recordings=3)


def test_examples_are_the_training_data_and_the_corrections(model, material, tmp_path):
    corrections = sm.Corrections(tmp_path / "corrections")
    window = sm.Index.open(material.index).windows([0])[0]
    corrections.add(window.file, 0.0, 2.5, decision="label", label="middle")  # cut into windows of 1 s
    corrections.add(window.file, 3.0, 3.4, decision="none")
    corrections.add(window.file, 4.0, 5.0, decision="no", asked="low")
    found = ExampleSource(model, material.data).examples(corrections.folder)
    assert found.data.classes == ("background", "high", "low", "middle")
    assert found.data.background == ("background",)
    assert found.correction.sum() == 2
    assert len(found.data) == len(material.data) + 2
    assert found.views.shape[1:] == (len(found.clip_of), 64)
    assert np.bincount(found.clip_of)[found.correction].tolist() in ([1, 1], [3, 1])  # whole clips, or windows
    assert (found.data.targets[found.correction].argmax(axis=1) == [3, 0]).all()


def test_what_cannot_be_learned_is_refused_with_a_reason(model, material, tmp_path):
    corrections = sm.Corrections(tmp_path / "corrections")
    source = ExampleSource(model, None)
    with pytest.raises(sm.DatasetError, match="nothing to train on yet"):
        source.examples(corrections.folder)
    windows = sm.Index.open(material.index).windows(range(18))
    corrections.add(windows[0].file, 0.0, 1.0, decision="label", label="middle")
    with pytest.raises(sm.DatasetError, match="at least two classes, and the clips have middle"):
        source.examples(corrections.folder)
    corrections.add(windows[0].file, 1.0, 2.0, decision="label", label="low")
    with pytest.raises(sm.DatasetError, match="the clips are of 1 recording: label sounds in at least two"):
        source.examples(corrections.folder)
    corrections.add(windows[12].file, 1.0, 2.0, decision="label", label="low")
    assert len(source.examples(corrections.folder).data) == 3


def test_a_multi_label_model_needs_a_difference_between_its_clips(material, tmp_path):
    single = tone_embedder()
    card = replace(single.card, activation="sigmoid", classes=("low", "high", "any"))
    source = ExampleSource(sm.Model(Bundle(single.bundle.graph, card)), None)
    corrections = sm.Corrections(tmp_path / "corrections")
    windows = sm.Index.open(material.index).windows(range(18))
    for number in (0, 6, 12):
        corrections.add(windows[number].file, 0.0, 1.0, decision="label", label=["middle", "tone"])
    with pytest.raises(sm.DatasetError, match="all clips have the same classes"):
        source.examples(corrections.folder)
    corrections.add(windows[0].file, 3.0, 4.0, decision="none")
    found = source.examples(corrections.folder)
    assert (found.data.multi_label, found.data.classes, found.backgrounds) == (True, ("middle", "tone"), None)
    assert found.data.targets.tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]
