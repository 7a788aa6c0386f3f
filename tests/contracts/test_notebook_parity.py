"""The network, its loss and its optimizer, compared with the notebook's Keras ``Sequential``."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from soundmark.errors import SettingsError
from soundmark.training import networks
from soundmark.training.epochs import loop, onnx_export
from soundmark.training.epochs.engine import Engine
from soundmark.training.named_recipes import recipe_named
from soundmark.training.networks import notebook_cnn

N_CLASSES = 10
# Number of parameters of each layer, from the notebook's `model.summary()`.
COUNTS = [320, 9_248, 18_496, 36_928, 36_928, 36_928, 1_180_160, 5_130]


def notebook_model(*, dropout: bool = True, activation: str | None = "softmax"):
    """The code of the notebook's cell, with two added arguments."""
    from keras import Sequential
    from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D

    model = Sequential()
    model.add(Input((64, 64, 1)))
    model.add(Conv2D(32, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(32, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25 * dropout))
    model.add(Conv2D(64, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(64, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25 * dropout))
    model.add(Conv2D(64, (3, 3), padding="same"))
    model.add(Activation("relu"))
    model.add(Conv2D(64, (3, 3)))
    model.add(Activation("relu"))
    model.add(MaxPooling2D(pool_size=(2, 2)))
    model.add(Dropout(0.25 * dropout))
    model.add(Flatten())
    model.add(Dense(512))
    model.add(Activation("relu"))
    model.add(Dropout(0.5 * dropout))
    model.add(Dense(N_CLASSES, activation=activation))
    return model


def layers(network: notebook_cnn.NotebookCNN) -> list[torch.nn.Module]:
    """The layers that have weights, in the notebook's order."""
    convolutions = [layer for pair in zip(network.same, network.valid, strict=True) for layer in pair]
    return [*convolutions, network.dense, network.logits]


def copy_weights(model, network: notebook_cnn.NotebookCNN) -> None:
    """Copy weights from Keras: [rows, columns, in, out] to [out, in, rows, columns], [in, out] to [out, in]."""
    keras_layers = [layer for layer in model.layers if layer.get_weights()]
    for layer, keras_layer in zip(layers(network), keras_layers, strict=True):
        kernel, bias = keras_layer.get_weights()
        order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(kernel.transpose(order).copy()))
            layer.bias.copy_(torch.from_numpy(bias))


@pytest.fixture(autouse=True)
def seeded():
    """Seed Keras, so that every run has the same weights."""
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def float64(monkeypatch):
    """Use double precision in Keras and torch.

    With other backends than TensorFlow, Keras promotes float64 and any other type to float32, whatever its ``floatx``.
    The rounding errors of 1e-7 grow to 1e-3 within eight steps of Adam, at the kinks of ReLU and max-pooling.
    """
    import keras
    from keras.src.backend.common import dtypes

    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def test_number_of_parameters_is_the_notebooks():
    model = notebook_model()
    network = notebook_cnn.build("notebook_cnn", (64, 64), N_CLASSES)
    expected = [layer.count_params() for layer in model.layers if layer.get_weights()]
    counts = [sum(p.numel() for p in layer.parameters()) for layer in layers(network)]
    assert counts == expected == COUNTS
    assert sum(counts) == 1_324_138
    for layer, keras_layer in zip(layers(network), [x for x in model.layers if x.get_weights()], strict=True):
        assert sorted(layer.weight.shape) == sorted(keras_layer.get_weights()[0].shape)


def test_probabilities_match_keras_with_the_same_weights():
    model, network = notebook_model(), notebook_cnn.build("notebook_cnn", (64, 64), N_CLASSES)
    copy_weights(model, network)
    x = np.random.default_rng(1).normal(0, 1, (12, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(
        softmax(onnx_export.network_logits(network, x), axis=1),
        model.predict(x[..., None], verbose=0),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.long(100)) for seed in (5, 8))]
)  # float32 diverges with the last two
def test_losses_of_the_first_eight_adam_steps_match_keras(seed, float64, monkeypatch):
    import keras
    from keras.losses import CategoricalCrossentropy
    from keras.optimizers import Adam

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, (9, 64, 64)), rng.integers(0, N_CLASSES, 9)
    model, network = (
        notebook_model(dropout=False, activation=None),
        notebook_cnn.build("notebook_cnn", (64, 64), N_CLASSES),
    )
    copy_weights(model, network)

    model.compile(optimizer=Adam(), loss=CategoricalCrossentropy(from_logits=True))
    expected = []
    for _ in range(8):
        model.reset_metrics()
        expected.append(float(model.train_on_batch(x[..., None], np.eye(N_CLASSES)[y])))

    # soundmark's loop with one batch per epoch, so that its history contains the loss of every step.
    monkeypatch.setattr(networks, "build", lambda *_, **__: network)
    monkeypatch.setattr(notebook_cnn, "dropout", lambda x, *_: x)
    engine = Engine(device="cpu", precision="float32", threads=2)
    recipe = replace(recipe_named("notebook-mel"), epochs=8)
    data = loop.TrainingData(
        features=x,
        targets=np.eye(N_CLASSES, dtype=x.dtype)[y],
        train=np.arange(9),
        validation=np.arange(0),
        sources=np.arange(9).astype(str),
    )
    losses = [epoch.train_loss for epoch in loop.train_network(data, recipe, engine=engine).history]

    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)
    assert losses[-1] < losses[0] - 0.1  # the loss decreases, so the agreement is not trivial


def test_initial_weights_have_the_distribution_of_keras():
    torch.manual_seed(0)
    network = notebook_cnn.build("notebook_cnn", (64, 64), N_CLASSES)
    for layer in layers(network):
        inside, out = torch.nn.init._calculate_fan_in_and_fan_out(layer.weight)
        limit = (6 / (inside + out)) ** 0.5
        assert layer.weight.abs().max() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.15)
        assert not layer.bias.any()


@pytest.mark.parametrize(("shape", "ok"), [((22, 22), True), ((21, 64), False), ((64, 21), False)])
def test_too_small_spectrograms_are_rejected(shape, ok):
    if ok:
        assert notebook_cnn.build("notebook_cnn", shape, 3)(torch.zeros(1, 1, *shape)).shape == (1, 3)
    else:
        with pytest.raises(SettingsError, match="at least 22 × 22 values"):
            notebook_cnn.build("notebook_cnn", shape, 3)


@pytest.mark.parametrize("share", [0.25, 0.5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_dropout_is_equivalent_to_torchs(share, layout, precision):
    torch.manual_seed(0)
    x = (1 + torch.rand(50, 16, 31, 31)).to(precision).contiguous(memory_format=layout).requires_grad_()
    result = notebook_cnn.dropout(x, share, training=True)
    kept = result != 0
    scale = torch.nn.functional.dropout(torch.ones(100, dtype=precision), share).max()
    torch.testing.assert_close(result[kept], (x * scale)[kept])
    result.sum().backward()
    torch.testing.assert_close(x.grad, kept.to(precision) * scale)
    sd = (share * (1 - share) / x.numel()) ** 0.5
    assert abs((~kept).double().mean().item() - share) < 4 * sd
    # Every position, channel and clip is dropped equally often; neighbours in memory are uncorrelated.
    for axes in ((1, 2, 3), (0, 2, 3), (0, 1)):
        shares = (~kept).double().mean(axes)
        n = x.numel() / shares.numel()
        assert (shares - share).abs().max() < 6 * (share * (1 - share) / n) ** 0.5
    line = kept.as_strided((x.numel(),), (1,)).double() if layout == torch.contiguous_format else None
    if line is not None:
        for lag in (1, 7, 8, 16):
            assert abs(torch.corrcoef(torch.stack([line[:-lag], line[lag:]]))[0, 1]) < 5 / x.numel() ** 0.5


def test_dropout_does_nothing_in_evaluation():
    x = torch.rand(3, 5)
    assert notebook_cnn.dropout(x, 0.5, training=False) is x
