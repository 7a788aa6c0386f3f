"""A flipped byte anywhere: it is noticed and named, or it changes nothing. It never changes a figure in silence.

Every byte of the small files, and of the large ones every byte that says what the rest means and some of the rest, each
by one bit and by another mask; the checks are those that the commands make, called without the command around them.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundmark.datasets import Dataset, features, synthetic
from soundmark.datasets.feature_store import Chunk, Store
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.evaluation import comparison
from soundmark.evaluation.plan import make_plan
from soundmark.models import bundle
from soundmark.models.training_record import Epoch
from soundmark.spectrograms import Mel
from soundmark.training.checkpoint import Checkpoint
from soundmark.training.engine import Engine
from soundmark.training.named_recipes import recipe_named
from soundmark.training.single_model import comparison_scores
from soundmark.training.unit import Unit, find_finished, usable_split

RECIPE = replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=1, batch_size=30)


def flips(content: bytes, places: range | np.ndarray) -> Iterator[bytes]:
    """``content`` with the byte at each of ``places`` changed, in one bit and in several, always the same ones."""
    rng = np.random.default_rng(0)
    for place in places:
        for mask in (1 << int(rng.integers(8)), int(rng.integers(1, 256))):
            yield flipped(content, int(place), mask)


def flipped(content: bytes, place: int, mask: int) -> bytes:
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def some(content: bytes, n: int, start: int = 0) -> np.ndarray:
    return np.random.default_rng(1).integers(start, len(content), n)


# --- The store --------------------------------------------------------------------------------------------------------


ROWS = np.random.default_rng(0).normal(0, 1, (70, 3, 5)).astype(np.float32)


def fill(store: Store) -> None:
    store.lay_out()
    finished = store.finished()
    for number in {0, 1, 2} - set(finished):
        store.note(Chunk(number, store.write(number, ROWS[number * 32 : (number + 1) * 32]), {}, [], 0.5))


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store(tmp_path, {"made": "from this", "sizes": [1, 2]}, ROWS.shape)
    fill(made)
    return made


@pytest.mark.parametrize("name", ["features.npy", "journal.jsonl", "key.json"])
def test_of_a_store_is_named_and_computed_again(store, caplog, name):
    files = {path: path.read_bytes() for path in store.folder.glob("*.*") if path.name != ".lock"}
    path = store.folder / name
    content = files[path]
    places = range(len(content)) if name != "features.npy" else np.r_[:128, some(content, 100, 128)]
    for damaged in flips(content, places):
        for other, kept in files.items():
            other.write_bytes(damaged if other == path else kept)
        caplog.clear()
        fill(store)
        # The last line end lost is as a line that a kill cut short: its chunk is computed again, and no word is needed.
        assert f'"{path}" is damaged' in caplog.text or (name == "journal.jsonl" and damaged[:-1] == content[:-1])
        np.testing.assert_array_equal(store.rows()[:], ROWS)
        assert [chunk.seconds for chunk in store.finished().values()] == [0.5] * 3


@pytest.mark.parametrize("name", ["features.npy", "journal.jsonl", "key.json"])
def test_a_store_that_a_power_cut_left_short_is_filled_again(store, name):
    content = (store.folder / name).read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 1):
        (store.folder / name).write_bytes(content[:size])
        fill(store)
        np.testing.assert_array_equal(store.rows()[:], ROWS)


# --- The checkpoint ---------------------------------------------------------------------------------------------------


def test_of_a_checkpoint_is_named_and_nothing_of_it_believed(tmp_path, caplog):
    path = tmp_path / "checkpoint.safetensors"
    epoch = Epoch(epoch=1, train_loss=2.5, train_accuracy=0.1, validation_loss=2.4, validation_accuracy=0.2, seconds=3)
    tensors = {"network.a": torch.arange(6.0).reshape(2, 3), "adam.b": torch.arange(4)}
    engine = Engine(device="cpu", precision="float32", threads=1)
    Checkpoint(tensors, (epoch,), engine).save(path, "this run")
    content, whole = path.read_bytes(), Checkpoint.load(path, "this run", "cpu")
    other_numbers = [
        content.replace(b"F32", b"I32"),
        content.replace(b"I64", b"F64"),
    ]  # one byte, no other number moves
    for damaged in (*flips(content, range(len(content))), *other_numbers):
        path.write_bytes(damaged)
        caplog.clear()
        found = Checkpoint.load(path, "this run", "cpu")
        if found is None:
            assert f'the checkpoint "{path}" is damaged' in caplog.text
        else:  # a blank of the header became another
            assert (found.history, found.engine) == (whole.history, whole.engine)
            assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)
            assert all(found.tensors[name].dtype == tensors[name].dtype for name in tensors)


# --- A finished unit, and the comparison ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished comparison of one unit: its plan, its folder, the unit, and the features."""
    place = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(place / "cache"))
        city = Dataset.open(synthetic.write(place / "city", recordings_per_class=3, clips_per_recording=1))
        plan = make_plan(city, [RECIPE], protocols=["random"])
        comparison.run_plan(plan, place / "run", jobs=1)
        store = features.build(city, RECIPE.representation, jobs=1)
    split = usable_split(plan.splits["random"][0], store.usable)
    folder = place / "run" / "notebook-mel" / "random"
    return plan, place / "run", Unit(recipe=RECIPE, protocol="random", split=split, folder=folder), store


@pytest.mark.parametrize("name", ["predictions.csv", "history.csv", "recipe.toml"])
def test_of_a_units_table_is_named_and_mended_from_its_model(made, tmp_path, caplog, name):
    plan, _, unit, store = made
    unit = replace(unit, folder=shutil.copytree(unit.folder, tmp_path / "unit"))
    whole = find_finished(unit, plan.dataset, store)
    path = unit.folder / name
    content = path.read_bytes()
    for damaged in flips(content, some(content, 60)):
        path.write_bytes(damaged)
        caplog.clear()
        found = find_finished(unit, plan.dataset, store)
        assert f'"{path}" was damaged or changed after it was written' in caplog.text
        assert path.read_bytes() == content
        assert found.history == whole.history
        np.testing.assert_array_equal(found.probabilities, whole.probabilities)
    path.unlink()
    find_finished(unit, plan.dataset, store)
    assert path.read_bytes() == content


def test_of_a_model_is_named_and_refused(made, tmp_path, caplog, capfd):
    plan, _, unit, store = made
    unit = replace(unit, folder=shutil.copytree(unit.folder, tmp_path / "unit"))
    path = unit.folder / "model.onnx"
    content = path.read_bytes()
    for damaged in flips(content, np.r_[some(content, 40), some(content, 40, len(content) - 4000), :40]):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match="model.onnx"):
            bundle.read_bundle(path)
        caplog.clear()
        assert find_finished(unit, plan.dataset, store) is None
        assert f'"{path}"' in caplog.text
        assert "is trained again" in caplog.text
    assert capfd.readouterr().out == ""


def test_of_a_comparisons_figures_is_named_and_they_are_found_anew_or_refused(made, tmp_path, caplog, monkeypatch):
    plan, run, _, _ = made
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "metrics.json"
    content = path.read_bytes()
    whole = figures(content)
    scores = comparison_scores(folder, RECIPE, plan.dataset)
    for damaged in flips(content, some(content, 400)):
        path.write_bytes(damaged)
        caplog.clear()
        try:
            changed = figures(damaged) != whole
        except (ValueError, KeyError, TypeError):
            changed = True
        if changed:
            comparison._check_same_data(folder, plan.dataset)
            assert f'"{path}" was damaged or changed after it was written: it is written again' in caplog.text
            with pytest.raises(SettingsError, match="metrics.json"):
                comparison_scores(folder, RECIPE, plan.dataset)
        else:  # a second, a letter of the command, a blank
            assert comparison_scores(folder, RECIPE, plan.dataset) == scores
    monkeypatch.setenv("SOUNDMARK_CACHE", str(run.parent / "cache"))
    path.write_bytes(content.replace(b'"accuracy": ', b'"accuracy": 1', 1))
    comparison.run_plan(plan, folder, jobs=1)
    assert figures(path.read_bytes()) == whole


def figures(text: bytes) -> dict:
    found = json.loads(text)
    del found["command"]
    for result in found["results"]:
        del result["seconds"]
    return found


def test_a_comparison_does_not_write_over_an_evaluation(made, tmp_path):
    plan, *_ = made
    (tmp_path / "metrics.json").write_text('{"schema": 1, "note": "all clips", "accuracy": 0.7}')
    with pytest.raises(OutputError, match="holds what `soundmark evaluate` found. Choose another folder"):
        comparison.run_plan(plan, tmp_path)
