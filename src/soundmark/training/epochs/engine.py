"""Training data, and the engine that a training runs on: device, precision and number of threads."""

from __future__ import annotations

import math
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soundmark.datasets.feature_store import Rows
from soundmark.errors import SettingsError
from soundmark.runtime import parallel


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Features and targets of all clips, and the indices of the training and validation clips.

    ``features`` are float32 ``[n, freq, time]``, in memory or on disk.
    """

    features: np.ndarray | Rows
    targets: np.ndarray  # float32 [n, classes]: 1 if a clip belongs to a class
    train: np.ndarray  # int64 indices
    validation: np.ndarray  # int64 indices, may be empty; no weight is trained on them
    sources: np.ndarray  # str [n], the recording that each clip was cut from
    activation: str = "softmax"  # or "sigmoid", for multi-label data
    checksum: str = ""  # of the features, if they come from the feature store
    watches_test: bool = False  # whether ``validation`` are the test clips, as in the notebook

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.targets.shape[1])

    def mean_and_spread(self) -> tuple[float, float]:
        """Return the mean and SD of all feature values of the training clips."""
        total = squares = count = 0.0
        for start in range(0, len(self.train), 256):
            x = self.features[self.train[start : start + 256]].astype(np.float64)
            total, squares, count = total + x.sum(), squares + np.square(x).sum(), count + x.size
        mean = total / count
        return mean, math.sqrt(max(squares / count - mean**2, 1e-12))


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Device, precision and threads of a run, chosen by hardware features, not by timing; a resumed run keeps them."""

    device: str
    precision: str  # "bfloat16" or "float32"
    threads: int

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context manager for forward passes in training."""
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()

    def batch(self, data: TrainingData, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return spectrograms ``[batch, 1, freq, time]`` and targets ``[batch, classes]`` of the ``chosen`` clips.

        Both are on the device; the spectrograms are in channels-last memory format.
        """
        x = torch.from_numpy(data.features[chosen])[:, None].to(self.device, memory_format=torch.channels_last)
        return x, torch.from_numpy(data.targets[chosen]).to(self.device)


def choose_engine(device: str = "auto") -> Engine:
    """Choose the device (CUDA, MPS or CPU), precision and number of threads for this machine.

    The precision is bfloat16 where the hardware supports it: AVX512-BF16 or AMX on x86, bf16 on 64-bit ARM, or a CUDA
    card with bfloat16.

    Raises:
        SettingsError: the device is unknown, or not available on this machine.

    >>> choose_engine("cpu").device
    'cpu'
    """
    devices = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name, is_available in devices.items() if is_available]
    name = available[0] if device == "auto" else device
    if name not in available:
        raise SettingsError(
            f'the device "{device}" is not available on this machine. Available: {", ".join(["auto", *available])}.'
        )
    native = torch.cuda.is_bf16_supported() if name == "cuda" else name == "cpu" and _processor_has_bfloat16()
    return Engine(device=name, precision="bfloat16" if native else "float32", threads=parallel.available_cores())


def _processor_has_bfloat16() -> bool:
    """Whether the CPU flags include bfloat16 arithmetic. Only Linux lists them; elsewhere, assume that they do not."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"}) or (platform.machine() == "aarch64" and "bf16" in flags)
