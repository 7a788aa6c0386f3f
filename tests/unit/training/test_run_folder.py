"""Run folders: foreign files with the names of a run's files are refused before anything is computed, and kept."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from soundmark.datasets import features
from soundmark.errors import OutputError
from soundmark.evaluation.comparison import run_and_report
from soundmark.evaluation.plan import make_plan
from soundmark.spectrograms import Mel
from soundmark.training.named_recipes import recipe_named
from soundmark.training.run_folder import UNIT_FILES, exclusive_run, is_of_earlier_run
from soundmark.training.single_model import train_model

RECIPE = replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=1, batch_size=30)
FOREIGN = "exists already and was not written by soundmark. Move it, or choose another folder with -o."


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture
def no_features(monkeypatch):
    """Fail if features are computed: a foreign file is found before."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("features would be computed")

    monkeypatch.setattr(features, "build", refuse)


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", UNIT_FILES)
def test_train_keeps_a_foreign_file(city, tmp_path, name, fresh):
    (tmp_path / name).write_text("mine")
    before = digests(tmp_path)
    with pytest.raises(OutputError, match=FOREIGN):
        train_model(city, RECIPE, tmp_path, fresh=fresh)
    assert digests(tmp_path) == before


@pytest.mark.usefixtures("no_features")
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("name", ["report.html", "metrics.json", "notebook-mel/random/model.onnx"])
def test_compare_keeps_a_foreign_file(city, tmp_path, name, fresh):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = digests(tmp_path)
    with pytest.raises(OutputError, match=FOREIGN):
        run_and_report(make_plan(city, [RECIPE], protocols=["random"]), tmp_path, fresh=fresh)
    assert digests(tmp_path) == before


@pytest.mark.usefixtures("no_features")
def test_compare_does_not_write_through_a_link(city, tmp_path):
    (tmp_path / "elsewhere" / "random").mkdir(parents=True)
    (tmp_path / "elsewhere" / "random" / "history.csv").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notebook-mel").symlink_to(tmp_path / "elsewhere")
    for fresh in (False, True):
        with pytest.raises(OutputError, match='notebook-mel" is a symbolic link: soundmark follows none'):
            run_and_report(make_plan(city, [RECIPE], protocols=["random"]), tmp_path / "run", fresh=fresh)
    assert (tmp_path / "elsewhere" / "random" / "history.csv").read_text() == "mine"


@pytest.mark.slow
def test_a_fresh_training_replaces_its_own_files_and_keeps_the_others(city, tmp_path, caplog):
    train_model(city, RECIPE, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "recipe.toml").write_text("# my changes")
    train_model(city, RECIPE, tmp_path / "run", fresh=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "run" / "recipe.toml.changed").read_text() == "# my changes"
    assert 'it is kept as "recipe.toml.changed"' in caplog.text
    before = digests(tmp_path / "run")
    train_model(city, RECIPE, tmp_path / "run")
    assert digests(tmp_path / "run") == before


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_recognised_by_the_files_beside_each(city, tmp_path):
    train_model(city, RECIPE, tmp_path / "run", test_fold=1)
    names = ["model.onnx", "recipe.toml", "history.csv", "predictions.csv"]
    assert all(is_of_earlier_run(tmp_path / "run" / name) for name in names)
    (tmp_path / "run" / "recipe.toml").write_text(replace(RECIPE, epochs=2).to_toml())
    assert not any(is_of_earlier_run(tmp_path / "run" / name) for name in names)


def test_an_unknown_name_is_not_of_an_earlier_run(tmp_path):
    with exclusive_run(tmp_path):
        assert not is_of_earlier_run(tmp_path / "notes.txt")
