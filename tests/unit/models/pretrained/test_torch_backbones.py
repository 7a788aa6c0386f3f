"""Transformers that torch exported are backbones: operators and computed shapes are allowed, the result is torch's."""

import warnings

import numpy as np
import pytest
import torch

from soundmark.models.pretrained.backbone_file import load_backbone_file, read_backbone_file
from soundmark.spectrograms import LogMel
from support.torch_backbones import write_transformer


@pytest.mark.slow
@pytest.mark.parametrize(("opset", "any_length"), [(18, False), (18, True), (23, True)])
def test_a_transformer_with_a_front_end_gives_torchs_embedding(tmp_path, opset, any_length):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter
        network = write_transformer(tmp_path / "transformer.onnx", opset=opset, any_length=any_length)
    found = read_backbone_file(str(tmp_path / "transformer.onnx"), LogMel())
    kind = found.representation.for_window(2.0)
    backbone = load_backbone_file(str(tmp_path / "transformer.onnx"), kind, found.output, found.sha256)
    assert found.fixed_window is not any_length
    sounds = np.random.default_rng(0).normal(0, 0.1, (3, 32_000)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(sounds))[1].mean(dim=1).numpy()
    np.testing.assert_allclose(backbone.features(sounds[:, None]), expected, atol=1e-5 * np.abs(expected).max())
