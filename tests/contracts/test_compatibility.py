"""The current code reads files of version 0.1.0, with the old names of recipes, networks and fields.

The files are in tests/data/v0.1; its README explains how they were created. expected.json contains the results of
version 0.1.0.
"""

import csv
import json
import os
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from soundmark.cli.commands import app
from soundmark.datasets import Dataset, features
from soundmark.detection import inputs
from soundmark.detection.results_folder import analyze_to_folder
from soundmark.detection.settings import DetectionSettings
from soundmark.detection.summary import summarize
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.evaluation.comparison import run_plan
from soundmark.evaluation.model_evaluation import evaluate_model
from soundmark.evaluation.plan import make_plan
from soundmark.models import legacy
from soundmark.models.bundle import Bundle, read_bundle
from soundmark.models.card_text import card_lines
from soundmark.models.classifier import load
from soundmark.runtime.output_folder import MANIFEST
from soundmark.spectrograms import Image, LogMel, Mel
from soundmark.training.epochs import loop
from soundmark.training.named_recipes import RECIPES, recipe_named
from soundmark.training.recipe import Augmentation, Recipe
from soundmark.training.single_model import comparison_scores, train_model

DATA = Path(__file__).resolve().parents[1] / "data" / "v0.1"
EXPECTED = json.loads((DATA / "expected.json").read_text())
CLIP_TIME_NS = 1_700_000_000_000_000_000  # modification time of the clips when version 0.1.0 classified them
MEL = Recipe(name="notebook-mel", representation=Mel(size=(24, 24)), epochs=40, batch_size=30)
IMAGE = Recipe(name="notebook-image", representation=Image(size=(24, 24)), epochs=40, batch_size=30)
# The old run was on a processor with AVX-512; NumPy rounds logarithms differently without. Also by version 0.1.0.
CHECKSUMS_WITHOUT_AVX512 = {"mel": "0d4d8d446a8dd92c", "image": "cf1662a5b5dae3ff"}
# ONNX Runtime's 8-bit kernels differ: on processors without VNNI, sums of two products saturate.
CPU_INFO = Path("/proc/cpuinfo")
HAS_VNNI = "vnni" in CPU_INFO.read_text() if CPU_INFO.exists() else False
TOLERANCES = {} if HAS_VNNI else {"models/int8.onnx": 0.01}
OLD_NAMES = {"seed-mel": "notebook-mel", "seed-image": "notebook-image", "seed-image-22k": "notebook-image-22k"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a copy of the old files; the clips have their old modification times."""
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    for clip in (tmp_path / "clips").iterdir():
        os.utime(clip, ns=(CLIP_TIME_NS, CLIP_TIME_NS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if anything is trained."""

    def refuse(data: object, recipe: Recipe, **_: object) -> None:
        raise AssertionError(f"{recipe.name} would be trained again")

    monkeypatch.setattr(loop, "train_network", refuse)


@pytest.fixture
def same_features(city: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features with the checksum of the old run: on other processors, rounding and therefore checksums differ."""
    build = features.build

    def build_with_old_checksum(dataset: Dataset, representation: object, **options: object) -> features.Features:
        kind = "image" if isinstance(representation, Image) else "mel"
        checksum = read_bundle(DATA / "compare" / f"seed-{kind}" / "random" / "model.onnx").card.training.features
        return replace(build(dataset, representation, **options), checksum=checksum)

    monkeypatch.setattr(features, "build", build_with_old_checksum)


def run_cli(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    """All files in a folder except those that every run rewrites."""
    rewritten = (".lock", MANIFEST, "metrics.json", "report.html", "parameters.json")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in rewritten]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# --- The files themselves ---


def test_old_files_contain_no_paths_of_the_machine():
    for path in (path for path in DATA.rglob("*") if path.is_file()):
        assert not [root for root in (b"/tmp", b"/home", b"/root", b"/work") if root in path.read_bytes()], path


def test_synthetic_data_set_has_the_fingerprint_of_the_old_runs(city: Dataset):
    assert city.fingerprint == json.loads((DATA / "compare" / "metrics.json").read_text())["dataset"]["fingerprint"]


@pytest.mark.parametrize(("kind", "representation"), [("mel", MEL.representation), ("image", IMAGE.representation)])
def test_feature_store_has_the_values_of_the_old_run(city: Dataset, kind: str, representation: Mel | Image):
    card = read_bundle(DATA / "compare" / f"seed-{kind}" / "random" / "model.onnx").card
    assert card.representation == representation
    found = features.build(city, representation, jobs=1)
    with np.load(DATA / "features.npz") as old_features:
        rounding = 1 / 255 if kind == "image" else 2e-3  # dB; NumPy's exp differs in the last digit between processors
        np.testing.assert_allclose(found.array[:4], old_features[kind], rtol=0, atol=rounding)
    if platform.machine() == "x86_64":
        assert found.checksum in (card.training.features, CHECKSUMS_WITHOUT_AVX512[kind])


# --- Recipes ---


FINE_TUNING = {"network": '"resnet"', "head_rate": "1.0", "blend": "1.0", "head_anew": "false"}  # without it


def every_field() -> str:
    """A recipe file with all old names of fields, and the defaults of those that were removed."""
    text = (DATA / "recipes" / "every_field.toml").read_text()
    for name, default in FINE_TUNING.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {default}", text, flags=re.MULTILINE)
    assert all(field in text for field in (*legacy.FIELDS, *legacy.AUGMENTATION_FIELDS))
    return text


def test_recipe_file_with_all_old_field_names_is_read():
    assert Recipe.from_toml(every_field()) == Recipe(
        name="every-field",
        network="resnet",
        representation=LogMel(),
        epochs=3,
        min_batches=7,
        ema_decay=0.9,
        validation_fraction=0.25,
        known_quantile=0.9,
        augmentation=Augmentation(roll=True, mixup=0.4, mixup_probability=0.3, mixstyle=0.2, mixstyle_probability=0.6),
    )


@pytest.mark.parametrize("name", ["transfer-finetune", "every_field"])
def test_recipe_files_that_fine_tune_are_refused_with_the_last_version_that_can(name: str):
    with pytest.raises(SettingsError, match=r"use soundmark 0.1.0"):
        recipe_named(str(DATA / "recipes" / f"{name}.toml"))


def test_a_recipe_is_written_as_version_0_1_wrote_it():
    """Its text recognises the files of old runs, and its fields in their order identify old checkpoints."""
    text = (DATA / "compare" / "seed-mel" / "random" / "recipe.toml").read_text()
    assert MEL.to_toml(original_names=True) == text


def test_old_recipe_files_give_the_renamed_recipes():
    assert recipe_named(str(DATA / "recipes" / "seed-mel.toml")) == MEL
    assert recipe_named(str(DATA / "recipes" / "seed-image.toml")) == IMAGE
    assert Recipe.from_toml((DATA / "compare" / "seed-mel" / "random" / "recipe.toml").read_text()) == MEL


def test_new_recipe_files_have_new_names_only():
    text = Recipe.from_toml(every_field()).to_toml()
    assert not [name for name in (*legacy.FIELDS, *legacy.AUGMENTATION_FIELDS) if f"\n{name} =" in text]


@pytest.mark.parametrize(("old_name", "new_name"), OLD_NAMES.items())
def test_old_recipe_names_are_accepted(old_name: str, new_name: str):
    assert recipe_named(old_name) is RECIPES[new_name]
    assert Recipe.from_settings({"name": old_name, "representation": "mel", "network": "seed_cnn"}).name == new_name


def test_removed_field_is_accepted_only_at_its_default(monkeypatch: pytest.MonkeyPatch):
    removed = {"warmup": (0.1, "0.4.0"), "augmentation.echo": (False, "0.5.0")}
    monkeypatch.setattr(legacy, "REMOVED_FIELDS", removed)
    text = 'name = "mine"\nrepresentation = "mel"\nwarmup = {}\n[augmentation]\necho = {}\n'
    assert Recipe.from_toml(text.format("0.1", "false")) == Recipe(name="mine", representation=Mel())
    with pytest.raises(SettingsError, match=r"warmup = 0.5, but this field was removed: use soundmark 0.4.0, .*0.1"):
        Recipe.from_toml(text.format("0.5", "false"))
    with pytest.raises(SettingsError, match="augmentation.echo = True, .*soundmark 0.5.0, .* its default, False"):
        Recipe.from_toml(text.format("0.1", "true"))
    with pytest.raises(SettingsError, match="no recipe field"):
        Recipe.from_toml(text.format("0.1", "false").replace("warmup", "warmdown"))


def test_run_with_a_removed_field_is_the_same_run_only_at_its_default(monkeypatch: pytest.MonkeyPatch):
    from soundmark.training.unit import differing_settings

    monkeypatch.setattr(legacy, "REMOVED_FIELDS", {"warmup": (0.1, "0.4.0")})
    assert differing_settings(MEL, {**MEL.settings(), "warmup": 0.1}) == []
    assert differing_settings(MEL, {**MEL.settings(), "warmup": 0.2}) == ["warmup"]


# --- Models ---


@pytest.mark.parametrize("path", EXPECTED["answers"])
def test_old_model_returns_its_old_results(old: Path, path: str):
    model = load(path)
    tolerance = TOLERANCES.get(path, 1e-6)
    for clip, expected in EXPECTED["answers"][path].items():
        answer = model.classify(f"clips/{clip}")
        assert [entry["label"] for entry in answer] == [entry["label"] for entry in expected["classify"]]
        scores = [entry["score"] for entry in expected["classify"]]
        assert [entry["score"] for entry in answer] == pytest.approx(scores, abs=tolerance)
        events = [asdict(event) for event in model.events(f"clips/{clip}", overlap=0.5, threshold=0.12)]
        assert [event["label"] for event in events] == [event["label"] for event in expected["events"]]
        for event, old_event in zip(events, expected["events"], strict=True):
            assert event.pop("level_dbfs") < 0  # version 0.1.0 had no levels
            assert event.pop("level_dba") is None
            assert {**event, "label": ""} == pytest.approx({**old_event, "label": ""}, abs=tolerance)


def test_old_models_cover_unknown_multi_label_and_int8():
    answers = {path: expected["20240611_143000.wav"]["classify"] for path, expected in EXPECTED["answers"].items()}
    assert answers["models/unknown.onnx"][0]["label"] == "unknown"
    assert sum(entry["score"] for entry in answers["models/multi_label.onnx"]) != pytest.approx(1, abs=0.01)
    assert load(DATA / "models" / "multi_label.onnx").thresholds.tolist() == [0.3, 0.5, 0.7]
    assert load(DATA / "models" / "int8.onnx").card.training.int8 is not None


@pytest.mark.parametrize("path", EXPECTED["answers"])
def test_show_of_an_old_model_uses_the_new_names(old: Path, path: str):
    recipe = dict(card_lines(load(path).card))["recipe"]
    assert recipe.startswith("name=notebook-mel, network=notebook_cnn") or path.startswith("compare/seed-image")
    assert not set(re.findall(r"(\w+)=", recipe)) & {*legacy.FIELDS, *legacy.AUGMENTATION_FIELDS}
    assert load(path).classes[0] in run_cli("show", path)
    assert recipe[:40] in run_cli("show", path, "--all")
    assert json.loads(run_cli("show", path, "--format", "json"))["recipe"]["network"] == "notebook_cnn"


def test_old_waveform_export_returns_its_old_results_and_is_refused_as_a_model():
    import onnxruntime

    session = onnxruntime.InferenceSession(DATA / "models" / "waveform.onnx")
    (waveform,) = session.get_inputs()
    tone = np.sin(2 * np.pi * 440 * np.arange(waveform.shape[1]) / 22_050).astype(np.float32)[None] / 2
    assert session.run(None, {waveform.name: tone})[0][0].tolist() == pytest.approx(EXPECTED["waveform"], abs=1e-6)
    with pytest.raises(BundleError, match="an export for other programs"):
        load(DATA / "models" / "waveform.onnx")


# --- Runs ---

SAME: list[Callable[[Recipe], Recipe]] = [
    lambda recipe: recipe,
    lambda recipe: recipe_named(str(DATA / "recipes" / f"{recipe.name.replace('notebook', 'seed')}.toml")),
]


def first_row(unit: Path) -> dict[str, str]:
    with (unit / "history.csv").open(newline="") as file:
        return next(csv.DictReader(file))


@pytest.mark.usefixtures("no_training", "same_features")
@pytest.mark.parametrize("named", SAME, ids=["new names", "old names"])
def test_compare_resumes_a_finished_old_run_without_training(
    old: Path, city: Dataset, named: Callable[[Recipe], Recipe], caplog: pytest.LogCaptureFixture
):
    before, figures = contents(old / "compare"), json.loads((old / "compare" / "metrics.json").read_text())
    plan = make_plan(city, [named(IMAGE), named(MEL)], protocols=["random"])
    found = run_plan(plan, old / "compare")
    assert contents(old / "compare") == before
    assert not caplog.records
    for result, expected in zip(found.results, figures["results"], strict=True):
        assert result.recipe.name == OLD_NAMES[expected["recipe"]]
        assert result.summary.accuracy == expected["accuracy"]
        history = result.folds[0].history
        assert len(history) == 40
        # Version 0.1 called the notebook's test loss validation_loss; the file is kept, the result names it.
        assert history[0].validation_loss is None
        assert history[0].test_loss == float(
            first_row(old / "compare" / expected["recipe"] / "random")["validation_loss"]
        )


@pytest.mark.usefixtures("no_training", "same_features")
def test_compare_with_another_setting_refuses_an_old_run(old: Path, city: Dataset):
    plan = make_plan(city, [replace(MEL, ema_decay=0.5)], protocols=["random"])
    with pytest.raises(OutputError, match="it differs in recipe.ema_decay"):
        run_plan(plan, old / "compare")


@pytest.mark.usefixtures("no_training", "same_features")
@pytest.mark.parametrize("named", SAME, ids=["new names", "old names"])
def test_train_resumes_a_finished_old_run_without_training(
    old: Path, city: Dataset, named: Callable[[Recipe], Recipe], caplog: pytest.LogCaptureFixture
):
    before = contents(old / "train")
    made = train_model(city, named(MEL), old / "train", test_fold=1)
    assert made.card.training.test_fold == 1
    assert contents(old / "train") == before
    assert all("training steps" in record.getMessage() for record in caplog.records)


def test_scores_of_an_old_comparison_are_written_to_a_new_card(old: Path, city: Dataset):
    scores = comparison_scores(old / "compare", MEL, city)
    assert scores["protocol"] == "random"
    assert scores["n_test"] == 20


@pytest.mark.usefixtures("same_features")
def test_checkpoint_of_the_old_version_is_recognised(city: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from soundmark.training.epochs.checkpoint import Checkpoint

    fingerprints: list[str] = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, path, fingerprint: fingerprints.append(fingerprint))
    train_model(city, replace(MEL, epochs=1), tmp_path / "run", test_fold=1)
    assert fingerprints == [EXPECTED["checkpoint"]]


# --- Results ---


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_old_results_folder_is_resumed_from_its_journal(old: Path, form: str, monkeypatch: pytest.MonkeyPatch):
    before, folder = contents(old / f"classify_{form}"), Path(f"classify_{form}")
    model = load("train/model.onnx")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file would be analyzed again")

    monkeypatch.setattr(Bundle, "run_for", refuse)
    files = list(inputs.files(["clips"]))
    done = analyze_to_folder(model, files, DetectionSettings(), folder, form=form)
    assert (done.analyzed, done.resumed) == (2, 2)
    assert contents(folder) == before


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_summary_reads_old_results(old: Path, form: str):
    for path in (old / f"classify_{form}", old / f"classify_{form}" / f"results.{form}"):
        found = summarize([path])
        assert found.labels == ("children_playing",)
        assert found.minutes.sum() == pytest.approx(1.5 / 60)
        assert [str(day) for day in found.days] == ["2024-06-11"]


@pytest.mark.usefixtures("same_features")
def test_evaluate_resumes_an_old_folder(old: Path, city: Dataset):
    before = json.loads((old / "evaluate" / "metrics.json").read_text())
    tested = evaluate_model(load("train/model.onnx"), city, folder=Path("evaluate"), jobs=1)
    assert tested.summary.accuracy == before["accuracy"]
    after = json.loads((old / "evaluate" / "metrics.json").read_text())
    assert after.keys() == before.keys()
    assert {key: after[key] for key in ("about", "n_test", "accuracy")} == {
        key: before[key] for key in ("about", "n_test", "accuracy")
    }
    assert after["note"] == "fold 1, which was held out from the model's training"
    assert after["log_loss"] == pytest.approx(before["log_loss"], abs=1e-6)


# --- The command line ---


@pytest.mark.usefixtures("no_training", "same_features")
def test_command_line_resumes_an_old_run(old: Path, city: Dataset):
    data, recipes = str(city.root), ("--recipe", "recipes/seed-image.toml", "--recipe", "recipes/seed-mel.toml")
    assert "notebook-mel" in run_cli("compare", data, *recipes, "--protocol", "random", "-o", "compare", "--quiet")
    run_cli("train", data, *recipes[2:], "--test-fold", "1", "-o", "train", "--quiet")


@pytest.mark.parametrize("name", OLD_NAMES)
def test_command_line_accepts_old_recipe_names(old: Path, city: Dataset, name: str):
    with pytest.raises(SettingsError, match="no fold 99"):  # checked after the name of the recipe
        run_cli("train", str(city.root), "--recipe", name, "--test-fold", "99", "-o", "new", "--quiet")
