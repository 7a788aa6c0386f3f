"""The training loop: reproducible weights, resuming, calibration with a refit."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from soundmark.errors import OutputError, SettingsError
from soundmark.models import training_record
from soundmark.spectrograms import Mel
from soundmark.training import calibration
from soundmark.training.epochs import augmentation, engine, loop, network_calibration, onnx_export, optimizer
from soundmark.training.epochs.checkpoint import Checkpoint
from soundmark.training.epochs.engine import Engine, choose_engine
from soundmark.training.named_recipes import recipe_named
from soundmark.training.networks import resnet

pytestmark = pytest.mark.slow

RECIPE = replace(recipe_named("notebook-mel"), representation=Mel(size=(32, 32)), epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def data() -> loop.TrainingData:
    """Two separable classes, 40 training clips (so that the last batch is smaller) and 10 validation clips."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    features = rng.normal(0, 1, (50, 32, 32)).astype(np.float32) + labels[:, None, None].astype(np.float32)
    return loop.TrainingData(
        features=features,
        targets=np.eye(2, dtype=np.float32)[labels],
        train=np.arange(40),
        validation=np.arange(40, 50),
        sources=np.arange(50).astype(str),
    )


def weights(trained: loop.TrainedNetwork) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in trained.network.parameters()]).numpy()


@pytest.fixture(scope="module")
def uninterrupted(data) -> loop.TrainedNetwork:
    return loop.train_network(data, RECIPE)


def without_seconds(trained: loop.TrainedNetwork) -> list[training_record.Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in trained.history]


def test_the_same_seed_gives_the_same_weights(data, uninterrupted):
    again = loop.train_network(data, RECIPE)
    np.testing.assert_array_equal(weights(again), weights(uninterrupted))
    assert without_seconds(again) == without_seconds(uninterrupted)


def test_another_seed_gives_other_weights(data, uninterrupted):
    other = loop.train_network(data, replace(RECIPE, seed=1))
    assert not np.array_equal(weights(other), weights(uninterrupted))


class Interruption(Exception):
    """Simulates a kill."""


@pytest.mark.parametrize("batch", [1, 4, 5, 8])
def test_an_interrupted_run_resumes_to_the_same_weights(data, uninterrupted, tmp_path, batch):
    def interrupt(done: int, total: int) -> None:
        assert total == 9
        if done == batch:
            raise Interruption

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interruption):
        loop.train_network(data, RECIPE, checkpoint=checkpoint, on_batch=interrupt)
    batches = []
    resumed = loop.train_network(data, RECIPE, checkpoint=checkpoint, on_batch=lambda done, _: batches.append(done))
    np.testing.assert_array_equal(weights(resumed), weights(uninterrupted))
    assert without_seconds(resumed) == without_seconds(uninterrupted)
    finished = (batch - 1) // 3  # complete epochs before the interruption, which are not repeated
    assert batches == list(range(3 * finished + 1, 10))


def test_a_resumed_run_keeps_its_threads_and_precision(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    first_engine = Engine(device="cpu", precision="float32", threads=1)
    loop.train_network(data, RECIPE, checkpoint=checkpoint, engine=first_engine)
    resumed = loop.train_network(data, RECIPE, checkpoint=checkpoint)
    assert (resumed.engine.precision, resumed.engine.threads) == ("float32", 1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(choose_engine("cpu").threads)


def test_a_checkpoint_of_another_device_is_reported_and_not_used(data, uninterrupted, tmp_path, caplog):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train_network(data, RECIPE, checkpoint=checkpoint)
    cuda = replace(uninterrupted.engine, device="cuda")
    saved = Checkpoint.load(checkpoint, loop.fingerprint(data, RECIPE), "cpu")
    replace(saved, engine=cuda).save(checkpoint, loop.fingerprint(data, RECIPE))
    again = loop.train_network(data, RECIPE, checkpoint=checkpoint)
    message = f'the checkpoint "{checkpoint}" was written on cuda: training on cpu restarts from the first epoch'
    assert message in caplog.text
    np.testing.assert_array_equal(weights(again), weights(uninterrupted))


@pytest.mark.parametrize("position", [5, 3000, -5])
def test_a_damaged_checkpoint_is_not_used(data, uninterrupted, tmp_path, position):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train_network(data, RECIPE, checkpoint=checkpoint)
    content = bytearray(checkpoint.read_bytes())
    content[position] ^= 0x04
    checkpoint.write_bytes(content)
    again = loop.train_network(data, RECIPE, checkpoint=checkpoint)
    np.testing.assert_array_equal(weights(again), weights(uninterrupted))


@pytest.mark.parametrize(
    "change",
    [{"recipe": replace(RECIPE, learning_rate=2e-3)}, {"targets": 1}, {"checksum": "other"}, {"train": np.arange(39)}],
)
def test_a_checkpoint_of_another_run_is_rejected_and_kept(data, tmp_path, change):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train_network(data, RECIPE, checkpoint=checkpoint)
    recipe = change.pop("recipe", RECIPE)
    if "targets" in change:
        change["targets"] = 1 - data.targets
    kept = checkpoint.read_bytes()
    with pytest.raises(OutputError, match="contains an unfinished run with another recipe or other data.*--fresh"):
        loop.train_network(replace(data, **change), recipe, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == kept


def test_a_diverging_training_raises(data):
    extreme = replace(data, features=data.features * np.float32(1e30))
    with pytest.raises(SettingsError, match="diverged in epoch [12]: its loss is nan. Lower the learning rate"):
        loop.train_network(extreme, replace(RECIPE, learning_rate=1e6))


def test_history_csv_has_full_precision(uninterrupted, tmp_path):
    training_record.write(tmp_path / "history.csv", uninterrupted.history)
    with (tmp_path / "history.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds"]
    assert [
        training_record.Epoch(**dict(zip(header, [int(row[0]), *map(float, row[1:])], strict=True))) for row in rows
    ] == list(uninterrupted.history)


def test_the_values_of_test_clips_are_named_test(data):
    trained = loop.train_network(replace(data, watches_test=True), replace(RECIPE, epochs=1))
    watched = loop.train_network(data, replace(RECIPE, epochs=1)).history[0]
    (epoch,) = trained.history
    assert (epoch.validation_loss, epoch.validation_accuracy) == (None, None)
    assert (epoch.test_loss, epoch.test_accuracy) == (watched.validation_loss, watched.validation_accuracy)
    header = "epoch,train_loss,train_accuracy,test_loss,test_accuracy,seconds"
    assert training_record.to_csv(trained.history).splitlines()[0] == header
    assert training_record.TrainingRecord.from_json({"history": [epoch.to_json()]}).history == (epoch,)


def test_without_validation_clips_there_are_no_validation_figures(data):
    trained = loop.train_network(replace(data, validation=np.arange(0)), replace(RECIPE, epochs=1))
    assert trained.history[0].validation_loss is None
    assert ",,," in training_record.to_csv(trained.history).splitlines()[1]


def test_separable_classes_are_learnt(data):
    trained = loop.train_network(data, replace(RECIPE, epochs=12))
    assert trained.history[-1].validation_accuracy >= 0.9
    assert trained.history[-1].validation_loss < trained.history[0].validation_loss


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 3e-2)])
def test_the_validation_loss_is_that_of_the_weights_after_the_epoch(data, precision, tolerance):
    engine = Engine(device="cpu", precision=precision, threads=1)
    trained = loop.train_network(data, RECIPE, engine=engine)
    p = softmax(onnx_export.network_logits(trained.network, data.features[40:]), axis=1)
    labels = data.targets.argmax(1)
    loss = -np.log(p[np.arange(10), labels[40:]]).mean()
    assert trained.history[-1].validation_loss == pytest.approx(loss, rel=tolerance)
    if precision == "float32":
        assert trained.history[-1].validation_accuracy == (p.argmax(1) == labels[40:]).mean()


def test_an_unavailable_device_is_rejected():
    with pytest.raises(
        SettingsError, match='the device "tpu" is not available on this machine. Available: auto, .*cpu'
    ):
        choose_engine("tpu")


@pytest.mark.parametrize(
    ("flags", "machine", "native"),
    [
        ("flags : fpu avx512f avx512_bf16 amx_tile", "x86_64", True),
        ("flags : fpu amx_bf16", "x86_64", True),
        ("flags : fpu avx2 avx512f", "x86_64", False),
        ("Features : fp asimd bf16", "aarch64", True),
        ("flags : bf16", "x86_64", False),
    ],
)
def test_precision_follows_from_the_cpu_flags(monkeypatch, flags, machine, native):
    monkeypatch.setattr(engine.Path, "read_text", lambda *_, **__: flags)
    monkeypatch.setattr(engine.platform, "machine", lambda: machine)
    assert choose_engine("cpu").precision == ("bfloat16" if native else "float32")


# --- From scratch: schedule, average, augmentation --------------------------------------------------------------------

SCRATCH = replace(
    recipe_named("scratch"),
    representation=replace(recipe_named("scratch").representation, size=(16, 16)),
    epochs=3,
    min_batches=0,
    batch_size=16,
    ema_decay=0.9,
    validation_fraction=0.0,  # trains once; WITH_REFIT trains twice
)
WITH_REFIT = replace(SCRATCH, validation_fraction=0.2)


ONE_THREAD = Engine(device="cpu", precision="float32", threads=1)  # the fastest for a small network


def train(*args, **options) -> loop.TrainedNetwork:
    return loop.train_network(*args, engine=ONE_THREAD, **options)


@pytest.fixture
def narrow(monkeypatch):
    """A narrow residual network, which is fast to train."""
    monkeypatch.setattr(resnet, "WIDTHS", (8, 8, 8))


@pytest.fixture(scope="module")
def small(data) -> loop.TrainingData:
    return replace(data, features=np.ascontiguousarray(data.features[:, :16, :16]))


def interrupt_and_resume(data, recipe, checkpoint, batch: int) -> tuple[loop.TrainedNetwork, list[int]]:
    """Interrupt a training at ``batch`` and resume it; return the result and the batches of the resumed training."""

    def interrupt(done: int, total: int) -> None:
        if done == batch:
            raise Interruption

    batches = []
    with pytest.raises(Interruption):
        train(data, recipe, checkpoint=checkpoint, on_batch=interrupt)
    return train(data, recipe, checkpoint=checkpoint, on_batch=lambda done, _: batches.append(done)), batches


def assert_same_weights(first: torch.nn.Module, second: torch.nn.Module) -> None:
    for (name, value), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def assert_same(first: loop.TrainedNetwork, second: loop.TrainedNetwork) -> None:
    assert_same_weights(first.network, second.network)
    assert without_seconds(first) == without_seconds(second)


@pytest.mark.parametrize("batch", [2, 5, 8])
def test_an_interrupted_run_with_average_and_augmentation_resumes_to_the_same_weights(narrow, small, tmp_path, batch):
    resumed, _ = interrupt_and_resume(small, SCRATCH, tmp_path / "checkpoint.safetensors", batch)
    assert_same(resumed, train(small, SCRATCH))


@pytest.mark.parametrize(
    ("done", "share"),
    [(0.0, 0.0), (0.02, 0.2), (0.1, 1.0), (0.325, 0.8535534), (0.55, 0.5), (0.775, 0.1464466), (1.0, 0)],
)
def test_one_cycle_has_linear_warm_up_and_cosine_decay(done, share):
    assert loop.learning_rate(SCRATCH, done) == pytest.approx(3e-3 * share, abs=1e-9)
    assert loop.learning_rate(RECIPE, done) == 1e-3


def test_the_schedule_covers_all_batches_of_the_run(narrow, small, monkeypatch):
    rates, step = [], optimizer.Adam.step
    monkeypatch.setattr(optimizer.Adam, "step", lambda self: (rates.append(self.learning_rate), step(self)))
    train(small, replace(SCRATCH, epochs=4))  # 3 batches each
    assert rates == [loop.learning_rate(SCRATCH, batch / 12) for batch in range(1, 13)]


def test_the_result_is_the_moving_average_of_the_weights(narrow, small, monkeypatch):
    """Two steps: the decay is 1/10 at the first and 2/11 at the second, but at most ``ema_decay``."""
    states, step = [], optimizer.Adam.step

    def recorded_step(self) -> None:
        if not states:
            states.append([p.detach().clone() for p in self.parameters])
        step(self)
        states.append([p.detach().clone() for p in self.parameters])

    monkeypatch.setattr(optimizer.Adam, "step", recorded_step)
    for ema_decay, second in ((0.9, 2 / 11), (0.15, 0.15)):
        states.clear()
        trained = train(small, replace(SCRATCH, epochs=1, batch_size=20, ema_decay=ema_decay))
        for average, w0, w1, w2 in zip(trained.network.parameters(), *states, strict=True):
            expected = second * (0.1 * w0 + 0.9 * w1) + (1 - second) * w2
            torch.testing.assert_close(average, expected, atol=1e-6, rtol=1e-5)


def test_the_network_is_normalised_by_mean_and_sd_of_the_training_clips(narrow, small):
    features = small.features.copy()
    features[40:] += 100  # validation clips are not used
    network = train(replace(small, features=features), replace(SCRATCH, epochs=1)).network
    assert network.mean.item() == pytest.approx(features[:40].mean(), abs=1e-5)
    assert network.spread.item() == pytest.approx(features[:40].std(), rel=1e-5)


def test_each_member_gets_its_own_augmentation_of_each_clip(narrow, small, monkeypatch):
    batches, augment = [], augmentation.augment

    def recorded_augment(x, y, how, generator):
        batches.append((x, augment(x, y, how, generator)[0]))
        return batches[-1][1], y

    monkeypatch.setattr(loop, "augment", recorded_augment)
    trained = train(small, replace(SCRATCH, epochs=1))
    assert [len(before) for before, _ in batches] == [48, 48, 24]  # 40 clips, three times each
    for before, after in batches:
        first, second, third = before.chunk(3)
        assert torch.equal(first, second)
        assert torch.equal(second, third)
        assert not torch.equal(*after.chunk(3)[:2])
    assert 0 <= trained.history[0].train_accuracy <= 1


@pytest.mark.parametrize("part", ["average.members.0.dense.weight", "adam.mean.0"])
def test_a_checkpoint_contains_average_and_weights(narrow, small, tmp_path, part):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train(small, replace(SCRATCH, epochs=1), checkpoint=checkpoint)
    saved = Checkpoint.load(checkpoint, loop.fingerprint(small, replace(SCRATCH, epochs=1)), "cpu")
    assert part in saved.tensors
    assert not torch.equal(
        saved.tensors["average.members.0.dense.weight"], saved.tensors["network.members.0.dense.weight"]
    )


# --- With validation clips for calibration, and a refit on all clips --------------------------------------------------


@pytest.fixture(scope="module")
def with_validation(small) -> loop.TrainingData:
    """The same clips, 30 of them for training and 20 for calibration."""
    return replace(small, train=np.arange(30), validation=np.arange(30, 50))


def test_the_refit_trains_on_all_clips(narrow, with_validation):
    all_clips = replace(with_validation, train=np.arange(50), validation=np.arange(0))
    assert_same_weights(train(with_validation, WITH_REFIT).network, train(all_clips, SCRATCH).network)


def test_the_calibration_comes_from_a_network_trained_without_the_validation_clips(narrow, with_validation):
    """Only the class means of the familiarity are computed with the refit network, on all clips."""
    first = train(with_validation, SCRATCH)
    refit = train(with_validation, WITH_REFIT)
    expected = network_calibration.calibrate_network(first.network, with_validation, WITH_REFIT)
    found = refit.calibration
    assert (found.temperature, found.unknown, found.clips) == (expected.temperature, expected.unknown, 20)
    assert found.familiarity.middle == expected.familiarity.middle
    assert found.familiarity.spread == expected.familiarity.spread
    embeddings = network_calibration.embed(refit.network, with_validation, np.arange(50))
    familiarity = calibration.Familiarity.of(embeddings, with_validation.targets)
    np.testing.assert_array_equal(found.familiarity.classes, familiarity.classes)


def test_the_history_contains_both_trainings_with_validation_in_the_first(narrow, with_validation):
    reported, batches = [], []
    trained = train(
        with_validation,
        WITH_REFIT,
        on_epoch=reported.append,
        on_batch=lambda done, total: batches.append((done, total)),
    )
    assert [epoch.epoch for epoch in trained.history] == [1, 2, 3, 4, 5, 6]
    assert [epoch.validation_loss is None for epoch in trained.history] == [False] * 3 + [True] * 3
    assert training_record.epochs_with_validation(trained.history) == trained.history[:3]
    assert reported == [trained.history[:n] for n in range(1, 7)]
    assert batches == [(n, 18) for n in range(1, 19)]  # 3 epochs of 2 batches, then 3 of 4


@pytest.mark.parametrize("batch", [3, 6, 7, 11, 18])
def test_a_run_interrupted_in_either_training_resumes_to_the_same_result(narrow, with_validation, tmp_path, batch):
    expected = train(with_validation, WITH_REFIT)
    resumed, batches = interrupt_and_resume(with_validation, WITH_REFIT, tmp_path / "checkpoint.safetensors", batch)
    assert_same(resumed, expected)
    assert resumed.calibration.temperature == expected.calibration.temperature
    assert resumed.calibration.unknown == expected.calibration.unknown
    finished = 2 * ((batch - 1) // 2) if batch <= 6 else 6 + 4 * ((batch - 7) // 4)
    assert batches == list(range(finished + 1, 19))


def test_without_validation_clips_there_is_no_refit(narrow, with_validation):
    all_clips = replace(with_validation, train=np.arange(50), validation=np.arange(0))
    trained = train(all_clips, WITH_REFIT)
    assert len(trained.history) == 3
    assert trained.calibration.clips == 0
