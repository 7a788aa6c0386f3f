"""Damaged files: a flipped byte is detected and reported, or it has no effect. It never changes a result silently.

Every byte of the small files is tested; of the large files, every byte of their headers and a sample of the rest. Each
byte is changed in one bit and by a random mask. The tests call the checks of the commands directly.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundmark.datasets import features
from soundmark.datasets.feature_store import Chunk, Store
from soundmark.errors import BundleError, OutputError, SettingsError
from soundmark.evaluation import comparison
from soundmark.evaluation.plan import make_plan
from soundmark.models import bundle
from soundmark.models.training_record import Epoch
from soundmark.spectrograms import Mel
from soundmark.training.epochs.checkpoint import Checkpoint
from soundmark.training.epochs.engine import Engine
from soundmark.training.named_recipes import recipe_named
from soundmark.training.single_model import comparison_scores
from soundmark.training.unit import Unit, find_finished, usable_split
from support.kill_stages import metrics

RECIPE = replace(recipe_named("notebook-mel"), representation=Mel(size=(24, 24)), epochs=1, batch_size=30)


def damaged_copies(content: bytes, positions: range | np.ndarray) -> Iterator[bytes]:
    """Copies of ``content``, each with one byte changed: at each position, in one bit and by a mask, reproducibly."""
    rng = np.random.default_rng(0)
    for position in positions:
        for mask in (1 << int(rng.integers(8)), int(rng.integers(1, 256))):
            yield flipped(content, int(position), mask)


def flipped(content: bytes, position: int, mask: int) -> bytes:
    return content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :]


def random_positions(content: bytes, n: int, start: int = 0) -> np.ndarray:
    return np.random.default_rng(1).integers(start, len(content), n)


# --- The feature store ------------------------------------------------------------------------------------------------


ROWS = np.random.default_rng(0).normal(0, 1, (70, 3, 5)).astype(np.float32)


def fill(store: Store) -> None:
    store.prepare()
    finished = store.finished()
    for number in {0, 1, 2} - set(finished):
        store.record(Chunk(number, store.write(number, ROWS[number * 32 : (number + 1) * 32]), {}, [], 0.5))


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path, {"name": "test", "sizes": [1, 2]}, ROWS.shape)
    fill(store)
    return store


@pytest.mark.parametrize("name", ["features.npy", "journal.jsonl", "key.json"])
def test_a_damaged_store_is_reported_and_recomputed(store, caplog, name):
    originals = {path: path.read_bytes() for path in store.folder.glob("*.*") if path.name != ".lock"}
    path = store.folder / name
    content = originals[path]
    positions = range(len(content)) if name != "features.npy" else np.r_[:128, random_positions(content, 100, 128)]
    for damaged in damaged_copies(content, positions):
        for other, original in originals.items():
            other.write_bytes(damaged if other == path else original)
        caplog.clear()
        fill(store)
        # A journal without its last line break is what a kill leaves: the chunk is recomputed without a warning.
        assert f'"{path}" is damaged' in caplog.text or (name == "journal.jsonl" and damaged[:-1] == content[:-1])
        np.testing.assert_array_equal(store.rows()[:], ROWS)
        assert [chunk.seconds for chunk in store.finished().values()] == [0.5] * 3


@pytest.mark.parametrize("name", ["features.npy", "journal.jsonl", "key.json"])
def test_a_store_truncated_by_a_power_cut_is_recomputed(store, name):
    content = (store.folder / name).read_bytes()
    for size in (0, 1, len(content) // 2, len(content) - 1):
        (store.folder / name).write_bytes(content[:size])
        fill(store)
        np.testing.assert_array_equal(store.rows()[:], ROWS)


# --- The checkpoint ---------------------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_reported_and_ignored(tmp_path, caplog):
    path = tmp_path / "checkpoint.safetensors"
    epoch = Epoch(epoch=1, train_loss=2.5, train_accuracy=0.1, validation_loss=2.4, validation_accuracy=0.2, seconds=3)
    tensors = {"network.a": torch.arange(6.0).reshape(2, 3), "adam.b": torch.arange(4)}
    engine = Engine(device="cpu", precision="float32", threads=1)
    Checkpoint(tensors, (epoch,), engine).save(path, "this run")
    content, original = path.read_bytes(), Checkpoint.load(path, "this run", "cpu")
    other_types = [
        content.replace(b"F32", b"I32"),
        content.replace(b"I64", b"F64"),
    ]  # another type of the same size: no offset changes
    for damaged in (*damaged_copies(content, range(len(content))), *other_types):
        path.write_bytes(damaged)
        caplog.clear()
        loaded = Checkpoint.load(path, "this run", "cpu")
        if loaded is None:
            assert f'the checkpoint "{path}" is damaged' in caplog.text
        else:  # a space in the header was replaced by other white space
            assert (loaded.history, loaded.engine) == (original.history, original.engine)
            assert all(torch.equal(loaded.tensors[name], tensors[name]) for name in tensors)
            assert all(loaded.tensors[name].dtype == tensors[name].dtype for name in tensors)


# --- A finished unit, and the comparison ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(city, tmp_path_factory):
    """A finished comparison of one unit: its plan, its folder, the unit, and the features."""
    root = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_CACHE", str(root / "cache"))
        plan = make_plan(city, [RECIPE], protocols=["random"])
        comparison.run_plan(plan, root / "run", jobs=1)
        store = features.build(city, RECIPE.representation, jobs=1)
    split = usable_split(plan.splits["random"][0], store.usable)
    folder = root / "run" / "notebook-mel" / "random"
    return plan, root / "run", Unit(recipe=RECIPE, protocol="random", split=split, folder=folder), store


@pytest.mark.parametrize("name", ["predictions.csv", "history.csv", "recipe.toml"])
def test_a_damaged_table_is_reported_and_rewritten_from_the_model(finished, tmp_path, caplog, name):
    plan, _, unit, store = finished
    unit = replace(unit, folder=shutil.copytree(unit.folder, tmp_path / "unit"))
    original = find_finished(unit, plan.dataset, store)
    path = unit.folder / name
    content = path.read_bytes()
    for damaged in damaged_copies(content, random_positions(content, 60)):
        path.write_bytes(damaged)
        caplog.clear()
        outcome = find_finished(unit, plan.dataset, store)
        assert f'"{path}" was damaged or changed after it was written' in caplog.text
        assert path.read_bytes() == content
        assert outcome.history == original.history
        np.testing.assert_array_equal(outcome.probabilities, original.probabilities)
    path.unlink()
    find_finished(unit, plan.dataset, store)
    assert path.read_bytes() == content


def test_a_damaged_model_is_refused_and_trained_again(finished, tmp_path, caplog, capfd):
    plan, _, unit, store = finished
    unit = replace(unit, folder=shutil.copytree(unit.folder, tmp_path / "unit"))
    path = unit.folder / "model.onnx"
    content = path.read_bytes()
    for damaged in damaged_copies(
        content, np.r_[random_positions(content, 40), random_positions(content, 40, len(content) - 4000), :40]
    ):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match="model.onnx"):
            bundle.read_bundle(path)
        caplog.clear()
        assert find_finished(unit, plan.dataset, store) is None
        assert f'"{path}"' in caplog.text
        assert "is trained again" in caplog.text
    assert capfd.readouterr().out == ""


def test_damaged_metrics_are_reported_and_recomputed_or_refused(finished, tmp_path, caplog, monkeypatch):
    plan, run, _, _ = finished
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "metrics.json"
    content = path.read_bytes()
    original = metrics(folder)
    scores = comparison_scores(folder, RECIPE, plan.dataset)
    for damaged in damaged_copies(content, random_positions(content, 400)):
        path.write_bytes(damaged)
        caplog.clear()
        try:
            changed = metrics(folder) != original
        except (ValueError, KeyError, TypeError):
            changed = True
        if changed:
            comparison.check_same_data(folder, plan.dataset)
            assert f'"{path}" was damaged or changed after it was written: it is recomputed' in caplog.text
            with pytest.raises(SettingsError, match="metrics.json"):
                comparison_scores(folder, RECIPE, plan.dataset)
        else:  # a duration, a letter of the command or a space
            assert comparison_scores(folder, RECIPE, plan.dataset) == scores
    monkeypatch.setenv("SOUNDMARK_CACHE", str(run.parent / "cache"))
    path.write_bytes(content.replace(b'"accuracy": ', b'"accuracy": 1', 1))
    comparison.run_plan(plan, folder, jobs=1)
    assert metrics(folder) == original


def test_a_comparison_does_not_overwrite_an_evaluation(finished, tmp_path):
    plan, *_ = finished
    (tmp_path / "metrics.json").write_text('{"schema": 1, "note": "all clips", "accuracy": 0.7}')
    with pytest.raises(OutputError, match="contains the results of `soundmark evaluate`. Choose another folder"):
        comparison.run_plan(plan, tmp_path)
