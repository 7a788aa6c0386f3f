"""Random augmentation of a batch of log-mel spectrograms, in training only.

The values of ``logmel`` are logarithms of power. So a gain adds a constant, and the mixture of two sounds is the
logarithm of the sum of their powers. All random numbers are drawn from the generator that is passed in.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from soundmark.spectrograms.logmel import FLOOR, MIDDLE, SPREAD
from soundmark.training.recipe import Augmentation

SD_FLOOR = 1e-3  # added to a band's SD over time, so that a constant band is not amplified


PER_DB = math.log(10) / 10 / SPREAD  # the constant that a gain of 1 dB adds


def augment(x: Tensor, targets: Tensor, how: Augmentation, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Augment spectrograms ``[batch, 1, freq, time]`` and targets ``[batch, classes]`` according to ``how``.

    >>> x, targets = torch.zeros(4, 1, 64, 128), torch.eye(4)
    >>> y, mixed = augment(x, targets, Augmentation(gain_db=6.0, mixup=1.0), np.random.default_rng(0))
    >>> y.shape == x.shape, [round(total, 3) for total in mixed.sum(1).tolist()]
    (True, [1.0, 1.0, 1.0, 1.0])
    """
    if how.roll or how.stretch or how.shift_bands:
        x = warp(x, generator, roll=how.roll, stretch=how.stretch, shift_bands=how.shift_bands)
    if how.gain_db:
        x = apply_gain(x, torch.from_numpy(generator.uniform(-how.gain_db, how.gain_db, len(x)).astype(np.float32)))
    if how.mixstyle and generator.random() < how.mixstyle_probability:
        share = torch.from_numpy(generator.beta(how.mixstyle, how.mixstyle, len(x)).astype(np.float32))
        x = mixstyle(x, share, torch.from_numpy(generator.permutation(len(x))))
    if how.mixup and generator.random() < how.mixup_probability:
        share = torch.from_numpy(generator.beta(how.mixup, how.mixup, len(x)).astype(np.float32))
        x, targets = mixup(x, targets, share, torch.from_numpy(generator.permutation(len(x))))
    return x, targets


def warp(x: Tensor, generator: np.random.Generator, *, roll: bool, stretch: float, shift_bands: float) -> Tensor:
    """Rotate each spectrogram in time, stretch it in time, and shift it in frequency, by random amounts.

    The speed changes by a factor of up to exp(±``stretch``), the frequency by up to ±``shift_bands`` mel bands. Time is
    circular: the end is followed by the beginning, as in a repeated short clip. Values are sampled at the nearest
    point, without interpolation: interpolated noise would be smoother than real noise.

    >>> tone = torch.zeros(1, 1, 8, 6)
    >>> tone[:, :, 3] = 1.0
    >>> bool((warp(tone, np.random.default_rng(0), roll=True, stretch=0.0, shift_bands=0) == tone).all())
    True
    """
    n, _, height, width = x.shape
    start = generator.integers(0, width, n) if roll else np.zeros(n, np.int64)
    if not stretch and not shift_bands:
        return torch.stack([torch.roll(one, int(by), 2) for one, by in zip(x, start, strict=True)])
    speed = np.exp(generator.uniform(-stretch, stretch, n))
    bands = generator.uniform(-shift_bands, shift_bands, n)
    columns = (np.arange(width)[None, :] + 0.5) * speed[:, None] + start[:, None]
    across = np.mod(columns, width) * 2 / width - 1  # −1 and 1 are the outer edges, as grid_sample expects
    down = (np.arange(height)[None, :] + 0.5 + bands[:, None]) * 2 / height - 1
    grid = np.stack(
        np.broadcast_arrays(across[:, None, :], down[:, :, None]), axis=-1, dtype=np.float32, casting="same_kind"
    )
    return F.grid_sample(
        x, torch.from_numpy(grid).to(x.device), mode="nearest", padding_mode="border", align_corners=False
    )


def apply_gain(x: Tensor, gain_db: Tensor) -> Tensor:
    """Apply a gain of ``gain_db`` ``[batch]`` to spectrograms ``[batch, 1, freq, time]``; silence stays silence.

    >>> apply_gain(torch.full((1, 1, 1, 1), 0.1), torch.tensor([10.0])).item() * SPREAD - 0.5  # increases by ln 10
    2.3025...
    """
    return (x + gain_db.to(x.device)[:, None, None, None] * PER_DB).clamp_min(FLOOR)


def mixstyle(x: Tensor, share: Tensor, partner: Tensor) -> Tensor:
    """Freq-MixStyle: interpolate the mean and SD of each band over time between each sound and its partner.

    ``share`` ``[batch]`` is the weight of the sound's own statistics, 0 to 1; ``partner`` ``[batch]`` are indices into
    the batch. Microphone, room and distance mostly change these statistics; the events, and so the targets, stay the
    same.

    Source: K. Zhou et al., "Domain Generalization with MixStyle", ICLR 2021; by band: B. Kim et al., "Domain
    Generalization on Efficient Acoustic Scene Classification using Residual Normalization", DCASE 2021.

    >>> x = torch.tensor([[0.0, 2.0], [5.0, 5.0]])[:, None, None]  # two sounds of one band
    >>> mixstyle(x, torch.tensor([0.5, 1.0]), torch.tensor([1, 0]))[:, 0, 0].round(decimals=2).tolist()
    [[2.5, 3.5], [5.0, 5.0]]
    """
    own = share.to(x.device)[:, None, None, None]
    level, spread = x.mean(3, keepdim=True), x.std(3, correction=0, keepdim=True) + SD_FLOOR
    to_spread = own * spread + (1 - own) * spread[partner]
    to_level = own * level + (1 - own) * level[partner]
    return ((x - level) / spread * to_spread + to_level).clamp_min(FLOOR)


def mixup(x: Tensor, targets: Tensor, share: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Mix the power of each sound with that of its partner, and their targets with the same weights.

    ``share`` ``[batch]`` is the weight of the sound itself, 0 to 1; ``partner`` ``[batch]`` are indices into the batch.

    Source: H. Zhang et al., "mixup", ICLR 2018; Y. Tokozume et al., "Learning from Between-class Examples for Deep
    Sound Recognition", ICLR 2018, which mixes the sounds.

    >>> x, targets = torch.tensor([0.0, 1.0])[:, None, None, None], torch.eye(2)
    >>> y, mixed = mixup(x, targets, torch.tensor([1.0, 0.25]), torch.tensor([1, 0]))
    >>> y.flatten().tolist(), mixed.tolist()
    ([0.0, 0.726...], [[1.0, 0.0], [0.75, 0.25]])
    """
    own = share.to(x.device)[:, None, None, None]
    power = torch.exp(x * SPREAD + MIDDLE)
    mixture = own * power + (1 - own) * power[partner]
    x = (mixture.log() - MIDDLE) / SPREAD
    return x, own[:, 0, 0] * targets + (1 - own[:, 0, 0]) * targets[partner]
