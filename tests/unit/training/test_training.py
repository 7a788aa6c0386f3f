"""The loop: the same seed gives the same weights, and a run that was cut goes on to the same end."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from soundmark.errors import OutputError, SettingsError
from soundmark.models import training_record
from soundmark.models import weights as model_weights
from soundmark.spectrograms import Mel
from soundmark.training import augmentation, calibration, engine, linear_head, loop, networks, onnx_export, optimizer
from soundmark.training.checkpoint import Checkpoint
from soundmark.training.engine import Engine, choose_engine
from soundmark.training.named_recipes import recipe_named
from soundmark.training.networks import mobilenet, resnet

RECIPE = replace(recipe_named("notebook-mel"), representation=Mel(size=(32, 32)), epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def data() -> loop.TrainingData:
    """Two classes that can be told apart, 40 examples (so that the last batch is a partial one), 10 to watch."""
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
def whole(data) -> loop.TrainedNetwork:
    return loop.train_network(data, RECIPE)


def without_seconds(trained: loop.TrainedNetwork) -> list[training_record.Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in trained.history]


def test_the_same_seed_gives_the_same_weights(data, whole):
    again = loop.train_network(data, RECIPE)
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert without_seconds(again) == without_seconds(whole)


def test_another_seed_gives_others(data, whole):
    other = loop.train_network(data, replace(RECIPE, seed=1))
    assert not np.array_equal(weights(other), weights(whole))


class Cut(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("batch", [1, 4, 5, 8])
def test_a_run_that_was_cut_ends_as_the_whole_one(data, whole, tmp_path, batch):
    def cut(done: int, total: int) -> None:
        assert total == 9
        if done == batch:
            raise Cut

    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Cut):
        loop.train_network(data, RECIPE, checkpoint=checkpoint, on_batch=cut)
    seen = []
    again = loop.train_network(data, RECIPE, checkpoint=checkpoint, on_batch=lambda done, _: seen.append(done))
    np.testing.assert_array_equal(weights(again), weights(whole))
    assert without_seconds(again) == without_seconds(whole)
    finished = (batch - 1) // 3  # whole epochs before the cut: none of their batches is trained twice
    assert seen == list(range(3 * finished + 1, 10))


def test_goes_on_with_the_threads_and_precision_it_began_with(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    begun_with = Engine(device="cpu", precision="float32", threads=1)
    loop.train_network(data, RECIPE, checkpoint=checkpoint, engine=begun_with)
    again = loop.train_network(data, RECIPE, checkpoint=checkpoint)
    assert (again.engine.precision, again.engine.threads) == ("float32", 1)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(choose_engine("cpu").threads)


def test_a_checkpoint_of_another_device_is_named_and_not_gone_on_with(data, whole, tmp_path, caplog):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train_network(data, RECIPE, checkpoint=checkpoint)
    elsewhere = replace(whole.engine, device="cuda")
    saved = Checkpoint.load(checkpoint, loop.fingerprint(data, RECIPE), "cpu")
    replace(saved, engine=elsewhere).save(checkpoint, loop.fingerprint(data, RECIPE))
    again = loop.train_network(data, RECIPE, checkpoint=checkpoint)
    assert f'the checkpoint "{checkpoint}" is of a training on cuda: on cpu it starts over' in caplog.text
    np.testing.assert_array_equal(weights(again), weights(whole))


@pytest.mark.parametrize("place", [5, 3000, -5])
def test_a_damaged_checkpoint_is_not_believed(data, whole, tmp_path, place):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train_network(data, RECIPE, checkpoint=checkpoint)
    content = bytearray(checkpoint.read_bytes())
    content[place] ^= 0x04
    checkpoint.write_bytes(content)
    again = loop.train_network(data, RECIPE, checkpoint=checkpoint)
    np.testing.assert_array_equal(weights(again), weights(whole))


@pytest.mark.parametrize(
    "change",
    [{"recipe": replace(RECIPE, learning_rate=2e-3)}, {"targets": 1}, {"checksum": "other"}, {"train": np.arange(39)}],
)
def test_a_checkpoint_of_something_else_is_refused_and_kept(data, tmp_path, change):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train_network(data, RECIPE, checkpoint=checkpoint)
    recipe = change.pop("recipe", RECIPE)
    if "targets" in change:
        change["targets"] = 1 - data.targets
    kept = checkpoint.read_bytes()
    with pytest.raises(OutputError, match="holds an unfinished run of another recipe or other data.*--fresh"):
        loop.train_network(replace(data, **change), recipe, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == kept


def test_a_training_that_diverges_says_so(data):
    wild = replace(data, features=data.features * np.float32(1e30))
    with pytest.raises(SettingsError, match="diverged in epoch [12]: its loss is nan. Lower the learning rate"):
        loop.train_network(wild, replace(RECIPE, learning_rate=1e6))


def test_history_has_every_number_in_full(whole, tmp_path):
    training_record.write(tmp_path / "history.csv", whole.history)
    with (tmp_path / "history.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds"]
    assert [
        training_record.Epoch(**dict(zip(header, [int(row[0]), *map(float, row[1:])], strict=True))) for row in rows
    ] == list(whole.history)


def test_without_validation_there_is_no_figure_for_it(data):
    trained = loop.train_network(replace(data, validation=np.arange(0)), replace(RECIPE, epochs=1))
    assert trained.history[0].validation_loss is None
    assert ",,," in training_record.to_csv(trained.history).splitlines()[1]


def test_learns_what_can_be_learnt(data):
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


def test_refuses_a_device_that_is_not_there():
    with pytest.raises(SettingsError, match='there is no device "tpu" on this machine. Known here: auto, .*cpu'):
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
def test_precision_follows_from_the_processors_flags(monkeypatch, flags, machine, native):
    monkeypatch.setattr(engine.Path, "read_text", lambda *_, **__: flags)
    monkeypatch.setattr(engine.platform, "machine", lambda: machine)
    assert choose_engine("cpu").precision == ("bfloat16" if native else "float32")


# --- From scratch: schedule, averaging, augmentation ------------------------------------------------------------------

SCRATCH = replace(
    recipe_named("scratch"),
    representation=replace(recipe_named("scratch").representation, size=(16, 16)),
    epochs=3,
    min_batches=0,
    batch_size=16,
    ema_decay=0.9,
    validation_fraction=0.0,  # once; KEEPS_BACK trains twice
)
KEEPS_BACK = replace(SCRATCH, validation_fraction=0.2)


ALONE = Engine(device="cpu", precision="float32", threads=1)  # so small a network is quickest so


def train_alone(*about, **more) -> loop.TrainedNetwork:
    return loop.train_network(*about, engine=ALONE, **more)


@pytest.fixture
def narrow(monkeypatch):
    """A residual network of the same layers, quick to train."""
    monkeypatch.setattr(resnet, "WIDTHS", (8, 8, 8))


@pytest.fixture(scope="module")
def small(data) -> loop.TrainingData:
    return replace(data, features=np.ascontiguousarray(data.features[:, :16, :16]))


def gone_on_with(data, recipe, checkpoint, batch: int) -> tuple[loop.TrainedNetwork, list[int]]:
    """What was trained by a run that was cut at a batch and by a second that went on, and the second's batches."""

    def cut(done: int, total: int) -> None:
        if done == batch:
            raise Cut

    seen = []
    with pytest.raises(Cut):
        train_alone(data, recipe, checkpoint=checkpoint, on_batch=cut)
    return train_alone(data, recipe, checkpoint=checkpoint, on_batch=lambda done, _: seen.append(done)), seen


def assert_same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    for (name, value), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def assert_same(ours: loop.TrainedNetwork, theirs: loop.TrainedNetwork) -> None:
    assert_same_weights(ours.network, theirs.network)
    assert without_seconds(ours) == without_seconds(theirs)


@pytest.mark.parametrize("batch", [2, 5, 8])
def test_a_cut_run_that_averages_and_augments_ends_as_the_whole_one(narrow, small, tmp_path, batch):
    again, _ = gone_on_with(small, SCRATCH, tmp_path / "checkpoint.safetensors", batch)
    assert_same(again, train_alone(small, SCRATCH))


@pytest.mark.parametrize(
    ("done", "share"),
    [(0.0, 0.0), (0.02, 0.2), (0.1, 1.0), (0.325, 0.8535534), (0.55, 0.5), (0.775, 0.1464466), (1.0, 0)],
)
def test_one_cycle_rises_in_the_first_tenth_and_falls_along_a_cosine(done, share):
    assert loop.learning_rate(SCRATCH, done) == pytest.approx(3e-3 * share, abs=1e-9)
    assert loop.learning_rate(RECIPE, done) == 1e-3


def test_every_batch_has_the_rate_of_its_place_in_the_whole_run(narrow, small, monkeypatch):
    seen = []
    step = optimizer.Adam.step
    monkeypatch.setattr(optimizer.Adam, "step", lambda self: (seen.append(self.learning_rate), step(self)))
    train_alone(small, replace(SCRATCH, epochs=4))  # 3 batches each
    assert seen == [loop.learning_rate(SCRATCH, batch / 12) for batch in range(1, 13)]


def test_the_result_is_the_running_mean_of_the_weights(narrow, small, monkeypatch):
    """Two steps: the mean keeps 1/10 of itself at the first, 2/11 at the second, 0.15 where that is the most."""
    passed, step = [], optimizer.Adam.step

    def watched(self) -> None:
        if not passed:
            passed.append([p.detach().clone() for p in self.parameters])
        step(self)
        passed.append([p.detach().clone() for p in self.parameters])

    monkeypatch.setattr(optimizer.Adam, "step", watched)
    for averaging, second in ((0.9, 2 / 11), (0.15, 0.15)):
        passed.clear()
        trained = train_alone(small, replace(SCRATCH, epochs=1, batch_size=20, ema_decay=averaging))
        for ours, w0, w1, w2 in zip(trained.network.parameters(), *passed, strict=True):
            expected = second * (0.1 * w0 + 0.9 * w1) + (1 - second) * w2
            torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


def test_blend_halfway_is_the_mean_of_where_it_began_and_what_it_became(narrow, small):
    torch.manual_seed(SCRATCH.seed)
    begun = networks.build("resnet", shape=(16, 16), n_classes=2).state_dict()
    network = train_alone(small, replace(SCRATCH, epochs=1)).network
    became = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer.interpolate_weights(network, begun, 0.5)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (begun[name] + became[name]) / 2, atol=1e-6, rtol=1e-5)
            assert name.endswith("bias") or not torch.equal(became[name], begun[name])


def test_a_network_that_began_at_random_is_not_blended_with_it():
    with pytest.raises(SettingsError, match="which was trained on nothing before: leave weight_interpolation at 1"):
        replace(SCRATCH, weight_interpolation=0.5)


def test_the_network_is_told_mean_and_spread_of_what_it_is_trained_on(narrow, small):
    features = small.features.copy()
    features[40:] += 100  # validation clips are not asked
    network = train_alone(replace(small, features=features), replace(SCRATCH, epochs=1)).network
    assert network.mean.item() == pytest.approx(features[:40].mean(), abs=1e-5)
    assert network.spread.item() == pytest.approx(features[:40].std(), rel=1e-5)


def test_each_member_hears_each_clip_changed_otherwise(narrow, small, monkeypatch):
    heard, change = [], augmentation.augment

    def spy(x, y, how, generator):
        heard.append((x, change(x, y, how, generator)[0]))
        return heard[-1][1], y

    monkeypatch.setattr(loop, "augment", spy)
    trained = train_alone(small, replace(SCRATCH, epochs=1))
    assert [len(before) for before, _ in heard] == [48, 48, 24]  # 40 clips, three times each
    for before, after in heard:
        first, second, third = before.chunk(3)
        assert torch.equal(first, second)
        assert torch.equal(second, third)
        assert not torch.equal(*after.chunk(3)[:2])
    assert 0 <= trained.history[0].train_accuracy <= 1


@pytest.mark.parametrize("part", ["average.members.0.dense.weight", "adam.mean.0"])
def test_a_checkpoint_holds_the_average_beside_the_weights(narrow, small, tmp_path, part):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_alone(small, replace(SCRATCH, epochs=1), checkpoint=checkpoint)
    saved = Checkpoint.load(checkpoint, loop.fingerprint(small, replace(SCRATCH, epochs=1)), "cpu")
    assert part in saved.tensors
    assert not torch.equal(
        saved.tensors["average.members.0.dense.weight"], saved.tensors["network.members.0.dense.weight"]
    )


# --- Trained with a part kept back, and then on everything ------------------------------------------------------------


@pytest.fixture(scope="module")
def roomy(small) -> loop.TrainingData:
    """The same clips, 30 to train on and 20 to calibrate on."""
    return replace(small, train=np.arange(30), validation=np.arange(30, 50))


def test_what_was_kept_back_is_trained_on_in_the_end(narrow, roomy):
    everything = replace(roomy, train=np.arange(50), validation=np.arange(0))
    assert_same_weights(train_alone(roomy, KEEPS_BACK).network, train_alone(everything, SCRATCH).network)


def test_but_what_is_settled_comes_from_a_network_that_never_heard_it(narrow, roomy):
    deaf = train_alone(roomy, SCRATCH)
    trained = train_alone(roomy, KEEPS_BACK)
    alone = linear_head.calibrate_network(deaf.network, roomy, KEEPS_BACK)
    settled = trained.calibration
    assert (settled.temperature, settled.unknown, settled.clips) == (alone.temperature, alone.unknown, 20)
    assert settled.familiarity.middle == alone.familiarity.middle
    assert settled.familiarity.spread == alone.familiarity.spread
    everything = np.arange(50)  # while what is familiar is what the network that is used makes of what it has heard
    heard = linear_head.embed(trained.network, roomy, everything)
    own = calibration.Familiarity.of(heard, roomy.targets[everything])
    np.testing.assert_array_equal(settled.familiarity.classes, own.classes)


def test_the_history_goes_on_through_both_and_is_watched_in_the_first(narrow, roomy):
    told, batches = [], []
    trained = train_alone(
        roomy, KEEPS_BACK, on_epoch=told.append, on_batch=lambda done, total: batches.append((done, total))
    )
    assert [epoch.epoch for epoch in trained.history] == [1, 2, 3, 4, 5, 6]
    assert [epoch.validation_loss is None for epoch in trained.history] == [False] * 3 + [True] * 3
    assert training_record.watched(trained.history) == trained.history[:3]
    assert told == [trained.history[:n] for n in range(1, 7)]
    assert batches == [(n, 18) for n in range(1, 19)]  # 3 epochs of 2 batches, then 3 of 4


@pytest.mark.parametrize("batch", [3, 6, 7, 11, 18])
def test_cut_in_either_training_it_ends_as_the_whole_one(narrow, roomy, tmp_path, batch):
    whole = train_alone(roomy, KEEPS_BACK)
    again, seen = gone_on_with(roomy, KEEPS_BACK, tmp_path / "checkpoint.safetensors", batch)
    assert_same(again, whole)
    assert again.calibration.temperature == whole.calibration.temperature
    assert again.calibration.unknown == whole.calibration.unknown
    finished = 2 * ((batch - 1) // 2) if batch <= 6 else 6 + 4 * ((batch - 7) // 4)
    assert seen == list(range(finished + 1, 19))


def test_where_nothing_could_be_kept_back_it_trains_once(narrow, roomy):
    nothing = replace(roomy, train=np.arange(50), validation=np.arange(0))
    trained = train_alone(nothing, KEEPS_BACK)
    assert len(trained.history) == 3
    assert trained.calibration.clips == 0


def test_of_one_recording_a_head_is_not_calibrated():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    embeddings = rng.normal(size=(60, 5)) + labels[:, None]
    targets = np.eye(2, dtype=np.float32)[labels]
    for sources, clips in ((np.full(60, "r"), 0), (np.arange(60).astype(str), 60)):
        data = loop.TrainingData(
            features=np.zeros((60, 1, 1), np.float32),
            targets=targets,
            train=np.arange(60),
            validation=np.arange(0),
            sources=sources,
        )
        start = linear_head.FittedHead(linear_head.fit_head(embeddings, targets, sources), embeddings)
        found = linear_head.calibrate_fitted_head(start, data, recipe_named("transfer"))
        assert (found.clips, found.unknown is None) == (clips, clips == 0)


# --- All layers of a pretrained network -------------------------------------------------------------------------------

GENTLY = replace(
    recipe_named("transfer-finetune"),
    representation=replace(recipe_named("transfer-finetune").representation, size=(32, 32)),
    epochs=2,
    batch_size=16,
    learning_rate=1e-3,
    validation_fraction=0.0,
)


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    """Weights drawn at random stand for AudioSet's; BatchNorm has seen the clips, so that something comes through."""
    path = tmp_path_factory.mktemp("weights") / "mn04.pt"
    torch.manual_seed(0)
    network = mobilenet.MobileNet(0.4).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network(torch.from_numpy(data.features)[:, None])
    torch.save(network.state_dict(), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_weights, "find", lambda *_: path)
        patch.setattr(linear_head, "SHRINKAGES", (0.8, 0.9))  # (of all of them and in fifths, a head takes a second)
        patch.setattr(linear_head, "FOLDS", 2)
        yield


def test_in_the_end_a_head_is_fitted_on_what_the_layers_became(pretrained, data):
    trained = train_alone(data, GENTLY).network
    without = train_alone(data, replace(GENTLY, refit_head=False)).network
    assert_same_weights(trained.backbone, without.backbone)
    assert not torch.equal(trained.dense.weight, without.dense.weight)
    with torch.no_grad():
        views = trained.embed_views(torch.from_numpy(data.features[:40])[:, None])
        heard, *each = (trained.head_features(one).numpy() for one in (views[:2].mean(0), *views))
    head = linear_head.fit_head(heard, data.targets[:40], data.sources[:40], views=np.stack(each))
    np.testing.assert_allclose(
        trained.dense.weight.detach().numpy().T, head.weights / head.temperature, rtol=0.01, atol=1e-3
    )


def test_what_was_kept_back_is_not_heard_by_the_head_that_it_calibrates(pretrained, data):
    """What is settled is the same whatever the kept back clips would have taught the head that is used in the end."""
    roomy = replace(data, train=np.arange(30), validation=np.arange(30, 50))
    deaf = train_alone(roomy, GENTLY).network
    trained = train_alone(roomy, replace(GENTLY, validation_fraction=0.2))
    alone = linear_head.calibrate_network(deaf, roomy, GENTLY)
    assert (trained.calibration.temperature, trained.calibration.unknown) == (alone.temperature, alone.unknown)
    everything = replace(roomy, train=np.arange(50), validation=np.arange(0))
    assert_same_weights(trained.network, train_alone(everything, GENTLY).network)


@pytest.mark.parametrize("batch", [2, 4, 6])
def test_a_pretrained_network_whose_training_was_cut_ends_as_the_whole_one(pretrained, data, tmp_path, batch):
    again, _ = gone_on_with(data, GENTLY, tmp_path / "checkpoint.safetensors", batch)
    assert_same(again, train_alone(data, GENTLY))
