"""The pretrained network compared with the outputs of EfficientAT's code for 18 real clips, and with its own graph."""

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
import torch

from soundmark.models.pretrained import weights
from soundmark.spectrograms import LogMel
from soundmark.spectrograms.logmel import FLOOR, MIDDLE, SPREAD
from soundmark.training import onnx_export
from soundmark.training.calibration import Familiarity
from soundmark.training.networks import mobilenet
from soundmark.training.networks.mobilenet import MobileNet, normalise_loudness, shift_bands

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def spectrograms(shared, efficientat) -> np.ndarray:
    """The ``logmel`` spectrograms of the 18 clips, ``[18, 128, 400]``."""
    computed = []
    for name in efficientat["clips"]:
        samples, rate_hz = soundfile.read(shared / "urbansound8k" / "flac" / "fold1" / str(name), dtype="float32")
        computed.append(LogMel()(soxr.resample(samples, rate_hz, 32000, quality="HQ"), 32000))
    return np.stack(computed)


@pytest.fixture(scope="module")
def pretrained(mn04_weights):
    """A network for 10 classes with the released weights of mn04 and a random head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_WEIGHTS", str(mn04_weights.parent))
        verified = weights.find("mn04")
    torch.manual_seed(0)
    network = mobilenet.build("mn04", (128, 400), 10)
    network.backbone.load_state_dict(torch.load(verified, map_location="cpu", weights_only=True))
    return network.eval()


@torch.no_grad()
def test_logits_and_embeddings_match_efficientat(pretrained, spectrograms, efficientat):
    x = torch.from_numpy(spectrograms)[:, None]
    np.testing.assert_allclose(pretrained.backbone.embed(x).numpy(), efficientat["embeddings"], atol=TOLERANCE)
    np.testing.assert_allclose(pretrained.backbone(x).numpy(), efficientat["logits"], atol=TOLERANCE)


@pytest.mark.parametrize(("width", "parameters", "embedding"), [(0.4, 983_599, 384), (1.0, 4_876_831, 960)])
def test_number_of_parameters_is_the_published_one(width, parameters, embedding):
    network = MobileNet(width)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.width_of_embedding == embedding


def test_mn10_has_the_parameter_names_and_shapes_of_the_release():
    """A sample of them, written out; the file itself is not available here."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in MobileNet(1.0).state_dict().items()}
    expected = {
        "features.0.0.weight": (16, 1, 3, 3),
        "features.0.1.running_var": (16,),
        "features.1.block.0.0.weight": (16, 1, 3, 3),
        "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.4.block.0.0.weight": (72, 24, 1, 1),
        "features.4.block.1.0.weight": (72, 1, 5, 5),
        "features.4.block.2.conc_se_layers.0.fc1.weight": (24, 72),
        "features.4.block.2.conc_se_layers.0.fc2.weight": (72, 24),
        "features.4.block.3.0.weight": (40, 72, 1, 1),
        "features.15.block.1.0.weight": (960, 1, 5, 5),
        "features.15.block.2.conc_se_layers.0.fc1.weight": (240, 960),
        "features.15.block.3.0.weight": (160, 960, 1, 1),
        "features.16.0.weight": (960, 160, 1, 1),
        "classifier.2.weight": (1280, 960),
        "classifier.5.weight": (527, 1280),
        "classifier.5.bias": (527,),
    }
    assert {name: shapes.get(name) for name in expected} == expected


@torch.no_grad()
def test_a_clip_does_not_depend_on_the_other_clips_of_the_batch(pretrained, spectrograms):
    x = torch.from_numpy(spectrograms[:4])[:, None]
    together, others = pretrained(x), pretrained(torch.cat([x[:1], -x[1:]]))
    for i in range(4):
        torch.testing.assert_close(pretrained(x[i : i + 1]), together[i : i + 1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(others[0], together[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("frames", [400, 100])
def test_the_exported_graph_matches_torch(pretrained, spectrograms, frames):
    x = np.ascontiguousarray(spectrograms[:, :, :frames])
    expected = pretrained.embed(torch.from_numpy(x)[:, None]).numpy()
    familiarity = Familiarity.of(expected[:14], np.eye(3)[np.arange(14) % 3])
    familiarity = familiarity.with_scale_of(familiarity.raw(expected))
    exported = onnx_export.export_network(pretrained, (128, frames), familiarity)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "embedding", "familiarity"]
    logits, embedding, familiarities = session.run(None, {"spectrogram": x[:, None]})
    np.testing.assert_allclose(logits, onnx_export.network_logits(pretrained, x), atol=TOLERANCE)
    np.testing.assert_allclose(embedding, expected, atol=TOLERANCE)
    np.testing.assert_allclose(familiarities, familiarity(expected), atol=TOLERANCE)
    assert familiarities.shape == (18,)
    assert np.ptp(familiarities) > 0.1  # not all equal


@torch.no_grad()
def test_the_embedding_is_the_mean_of_the_original_and_the_normalised_view(pretrained, spectrograms):
    x = torch.from_numpy(spectrograms[:2])[:, None]
    views = pretrained.backbone.embed(x), pretrained.backbone.embed(normalise_loudness(x))
    torch.testing.assert_close(pretrained.embed(x), (views[0] + views[1]) / 2, atol=1e-5, rtol=1e-5)
    embedding = pretrained.embed(x)
    features = torch.cat([embedding, pretrained.backbone.tags(embedding)], 1)
    torch.testing.assert_close(pretrained(x), pretrained.dense(features))


@torch.no_grad()
def test_there_are_four_views_and_the_mean_of_the_first_two_is_the_embedding(pretrained, spectrograms):
    x = torch.from_numpy(spectrograms[:2])[:, None]
    views = pretrained.embed_views(x)
    assert views.shape == (4, 2, 384)
    torch.testing.assert_close(views[:2].mean(0), pretrained.embed(x), atol=1e-5, rtol=1e-5)
    lower = torch.cat([x[:, :, 2:], x[:, :, 127:], x[:, :, 127:]], 2)
    higher = torch.cat([x[:, :, :1], x[:, :, :1], x[:, :, :126]], 2)
    for view, moved in zip(views[2:], (lower, higher), strict=True):
        torch.testing.assert_close(view, pretrained.backbone.embed(moved), atol=1e-4, rtol=1e-4)


def test_a_shift_by_0_bands_changes_nothing():
    x = torch.randn(2, 1, 8, 3)
    assert torch.equal(shift_bands(x, 0), x)


def test_the_loudness_is_normalised_to_12_db_with_at_most_40_db_gain():
    rng = np.random.default_rng(0)
    power = rng.exponential(1.0, (3, 1, 128, 400)) * np.array([1e4, 1.0, 1e-3]).reshape(3, 1, 1, 1)
    x = torch.from_numpy(((np.log(power + 1e-5) - MIDDLE) / SPREAD).astype(np.float32))
    normalised = torch.exp(normalise_loudness(x).double() * SPREAD + MIDDLE) - 1e-5
    loudness = 10 * np.log10(normalised.mean((1, 2, 3)).numpy())
    # gain = L / (p + L / G): L·p / (p + L/G) with L = 10^1.2 and G = 10^4
    p = power.mean((1, 2, 3))
    np.testing.assert_allclose(loudness, 12 + 10 * np.log10(p / (p + 10**-2.8)), atol=0.01)
    silence = torch.full((1, 1, 128, 400), float(FLOOR))
    torch.testing.assert_close(normalise_loudness(silence), silence, atol=1e-4, rtol=0)


def test_training_does_not_change_the_batchnorm_statistics(pretrained, spectrograms):
    before = {name: value.clone() for name, value in pretrained.state_dict().items() if "running" in name}
    assert len(before) == 2 * 47 - 2  # mean and variance of each convolution's BatchNorm
    pretrained.train()
    pretrained(torch.from_numpy(spectrograms[:2])[:, None]).sum().backward()
    pretrained.eval().zero_grad()
    after = pretrained.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_set_head_replaces_weights_and_bias():
    network = mobilenet.build("mn04", (128, 400), 3).eval()
    rng = np.random.default_rng(0)
    head, bias = rng.normal(size=(911, 3)).astype(np.float32), np.array([1.0, 2.0, 3.0], np.float32)
    network.set_head(torch.from_numpy(head), torch.from_numpy(bias))
    embedding = torch.from_numpy(rng.normal(size=(5, 384)).astype(np.float32))
    with torch.no_grad():
        expected = network.head_features(embedding).numpy() @ head + bias
        np.testing.assert_allclose(network.head(embedding).numpy(), expected, atol=1e-3)


def test_depths_count_the_layers_to_the_logits():
    network = mobilenet.build("mn04", (128, 400), 3)
    depths = dict(zip([name for name, _ in network.named_parameters()], network.depths(), strict=True))
    assert depths["backbone.features.0.0.weight"] == 17
    assert depths["backbone.features.16.1.bias"] == 1
    assert depths["backbone.classifier.5.weight"] == depths["dense.weight"] == 0
