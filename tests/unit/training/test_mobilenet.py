"""The pretrained network against what EfficientAT's own code said of 18 real clips, and its graph against itself."""

import numpy as np
import onnxruntime
import pytest
import soundfile
import soxr
import torch

from soundmark.models import weights
from soundmark.spectrograms import LogMel
from soundmark.spectrograms.logmel import FLOOR, MIDDLE, SPREAD
from soundmark.training import onnx_export
from soundmark.training.calibration import Familiarity
from soundmark.training.networks import mobilenet
from soundmark.training.networks.mobilenet import MobileNet, at_one_loudness, shifted

TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def oracle(shared):
    return np.load(shared / "oracles" / "efficientat_mn04.npz")


@pytest.fixture(scope="module")
def heard(shared, oracle) -> np.ndarray:
    """``logmel`` of the 18 clips, ``[18, 128, 400]``."""
    made = []
    for name in oracle["clips"]:
        samples, rate_hz = soundfile.read(shared / "urbansound8k" / "flac" / "fold1" / str(name), dtype="float32")
        made.append(LogMel()(soxr.resample(samples, rate_hz, 32000, quality="HQ"), 32000))
    return np.stack(made)


@pytest.fixture(scope="module")
def pretrained(shared):
    """A network of 10 classes on mn04 as it was released; its head is drawn at random."""
    path = shared / "weights" / weights.WEIGHTS["mn04"].file
    if not path.exists():
        pytest.skip("the weights of mn04 are not here: this test needs them in shared/weights beside the checkout")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOUNDMARK_WEIGHTS", str(path.parent))
        found = weights.find("mn04")
    torch.manual_seed(0)
    network = mobilenet.build("mn04", (128, 400), 10)
    network.backbone.load_state_dict(torch.load(found, map_location="cpu", weights_only=True))
    return network.eval()


@torch.no_grad()
def test_logits_and_embeddings_are_efficientats(pretrained, heard, oracle):
    x = torch.from_numpy(heard)[:, None]
    np.testing.assert_allclose(pretrained.backbone.embed(x).numpy(), oracle["embeddings"], atol=TOLERANCE)
    np.testing.assert_allclose(pretrained.backbone(x).numpy(), oracle["logits"], atol=TOLERANCE)


@pytest.mark.parametrize(("width", "parameters", "embedding"), [(0.4, 983_599, 384), (1.0, 4_876_831, 960)])
def test_has_as_many_parameters_as_was_published(width, parameters, embedding):
    network = MobileNet(width)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network.width_of_embedding == embedding


def test_the_wide_one_has_the_releases_shapes():
    """A few by the original's names, written out; nobody here has the file itself."""
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
def test_a_clip_does_not_depend_on_its_neighbours(pretrained, heard):
    x = torch.from_numpy(heard[:4])[:, None]
    together, others = pretrained(x), pretrained(torch.cat([x[:1], -x[1:]]))
    for i in range(4):
        torch.testing.assert_close(pretrained(x[i : i + 1]), together[i : i + 1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(others[0], together[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("frames", [400, 100])
def test_the_graph_says_what_torch_says(pretrained, heard, frames):
    spectrograms = np.ascontiguousarray(heard[:, :, :frames])
    known = pretrained.embed(torch.from_numpy(spectrograms)[:, None]).numpy()
    familiarity = Familiarity.of(known[:14], np.eye(3)[np.arange(14) % 3])
    familiarity = familiarity.told_by(familiarity.raw(known))
    exported = onnx_export.export_network(pretrained, (128, frames), familiarity)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "embedding", "familiarity"]
    logits, embedding, familiar = session.run(None, {"spectrogram": spectrograms[:, None]})
    np.testing.assert_allclose(logits, onnx_export.network_logits(pretrained, spectrograms), atol=TOLERANCE)
    np.testing.assert_allclose(embedding, known, atol=TOLERANCE)
    np.testing.assert_allclose(familiar, familiarity(known), atol=TOLERANCE)
    assert familiar.shape == (18,)
    assert np.ptp(familiar) > 0.1  # they are not all one


@torch.no_grad()
def test_the_embedding_is_the_mean_of_the_sound_and_of_it_at_one_loudness(pretrained, heard):
    x = torch.from_numpy(heard[:2])[:, None]
    views = pretrained.backbone.embed(x), pretrained.backbone.embed(at_one_loudness(x))
    torch.testing.assert_close(pretrained.embed(x), (views[0] + views[1]) / 2, atol=1e-5, rtol=1e-5)
    embedding = pretrained.embed(x)
    heard_by_head = torch.cat([embedding, pretrained.backbone.tags(embedding)], 1)
    torch.testing.assert_close(pretrained(x), pretrained.dense(heard_by_head))


@torch.no_grad()
def test_a_head_is_fitted_on_four_views_of_which_the_first_two_make_the_embedding(pretrained, heard):
    x = torch.from_numpy(heard[:2])[:, None]
    views = pretrained.embed_views(x)
    assert views.shape == (4, 2, 384)
    torch.testing.assert_close(views[:2].mean(0), pretrained.embed(x), atol=1e-5, rtol=1e-5)
    lower = torch.cat([x[:, :, 2:], x[:, :, 127:], x[:, :, 127:]], 2)
    higher = torch.cat([x[:, :, :1], x[:, :, :1], x[:, :, :126]], 2)
    for view, moved in zip(views[2:], (lower, higher), strict=True):
        torch.testing.assert_close(view, pretrained.backbone.embed(moved), atol=1e-4, rtol=1e-4)


def test_nothing_is_shifted_by_no_band():
    x = torch.randn(2, 1, 8, 3)
    assert torch.equal(shifted(x, 0), x)


def test_one_loudness_is_twelve_decibels_and_no_more_than_forty_are_added():
    rng = np.random.default_rng(0)
    power = rng.exponential(1.0, (3, 1, 128, 400)) * np.array([1e4, 1.0, 1e-3]).reshape(3, 1, 1, 1)
    x = torch.from_numpy(((np.log(power + 1e-5) - MIDDLE) / SPREAD).astype(np.float32))
    heard = torch.exp(at_one_loudness(x).double() * SPREAD + MIDDLE) - 1e-5
    loudness = 10 * np.log10(heard.mean((1, 2, 3)).numpy())
    # gain = L / (p + L / G): L·p / (p + L/G) with L = 10^1.2 and G = 10^4
    p = power.mean((1, 2, 3))
    np.testing.assert_allclose(loudness, 12 + 10 * np.log10(p / (p + 10**-2.8)), atol=0.01)
    silence = torch.full((1, 1, 128, 400), float(FLOOR))
    torch.testing.assert_close(at_one_loudness(silence), silence, atol=1e-4, rtol=0)


def test_batchnorm_keeps_what_audioset_taught_it_while_the_rest_is_trained(pretrained, heard):
    before = {name: value.clone() for name, value in pretrained.state_dict().items() if "running" in name}
    assert len(before) == 2 * 47 - 2  # mean and variance of each convolution's BatchNorm
    pretrained.train()
    pretrained(torch.from_numpy(heard[:2])[:, None]).sum().backward()
    pretrained.eval().zero_grad()
    after = pretrained.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_takes_a_head():
    network = mobilenet.build("mn04", (128, 400), 3).eval()
    rng = np.random.default_rng(0)
    head, bias = rng.normal(size=(911, 3)).astype(np.float32), np.array([1.0, 2.0, 3.0], np.float32)
    network.put_head(torch.from_numpy(head), torch.from_numpy(bias))
    embedding = torch.from_numpy(rng.normal(size=(5, 384)).astype(np.float32))
    with torch.no_grad():
        expected = network.head_features(embedding).numpy() @ head + bias
        np.testing.assert_allclose(network.head(embedding).numpy(), expected, atol=1e-3)


def test_each_layer_knows_how_far_it_is_from_the_logits():
    network = mobilenet.build("mn04", (128, 400), 3)
    depths = dict(zip([name for name, _ in network.named_parameters()], network.depths(), strict=True))
    assert depths["backbone.features.0.0.weight"] == 17
    assert depths["backbone.features.16.1.bias"] == 1
    assert depths["backbone.classifier.5.weight"] == depths["dense.weight"] == 0
