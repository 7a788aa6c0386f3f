"""A small audio transformer like CED, and its export by torch: waveform to tokens, averaged to an embedding."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import nn
from torch.nn import functional

WIDTH, HEADS, PATCH, MELS = 48, 3, 16, 64


class Block(nn.Module):
    """Attention and a perceptron, each after a layer normalisation, as in vision transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.proj(mixed)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """STFT, mel bands in decibels limited to 120 dB, BatchNorm, patches with their positions, and blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(512))
        self.register_buffer("bank", torch.rand(257, MELS) / 257)
        self.norm = nn.BatchNorm2d(MELS)
        self.patches = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.time = nn.Parameter(torch.randn(1, WIDTH, 1, 63) * 0.02)
        self.freq = nn.Parameter(torch.randn(1, WIDTH, MELS // PATCH, 1) * 0.02)
        self.blocks = nn.Sequential(Block(), Block())
        self.classes = nn.Linear(WIDTH, 527)

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spectrum = torch.stft(waveform, 512, 160, window=self.window, center=True, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        decibels = 10 * torch.log10(torch.clamp(power @ self.bank, min=1e-10))
        loudest = decibels.amax(dim=(1, 2), keepdim=True)
        mels = torch.maximum(decibels, loudest - 120).transpose(1, 2)
        x = self.norm(mels.unsqueeze(2)).transpose(1, 2)
        x = self.patches(x)
        x = x + self.time[:, :, :, : x.shape[3]] + self.freq
        x = self.blocks(x.flatten(2).transpose(1, 2))
        return torch.sigmoid(self.classes(x.mean(1))), x


def write_transformer(path: Path, *, opset: int = 18, any_length: bool = False) -> Transformer:
    """Export a transformer with random weights, for any number of waveforms of 2 s at 16 kHz, or of any length."""
    torch.manual_seed(0)
    network = Transformer().eval()
    sides = {0: torch.export.Dim("batch", min=1, max=4096)}
    if any_length:
        sides[1] = torch.export.Dim("samples", min=8000, max=160_000)
    torch.onnx.export(
        network,
        (torch.randn(2, 32_000) * 0.1,),
        path,
        input_names=["waveform"],
        output_names=["logits", "tokens"],
        opset_version=opset,
        dynamo=True,
        external_data=False,
        dynamic_shapes=(sides,),
        verbose=False,
    )
    proto = onnx.load(path)
    helper.set_model_props(proto, {"sample_rate": "16000", "embedding_outputs_key": "tokens"})
    onnx.save(proto, path)
    return network
