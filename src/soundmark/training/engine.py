"""What a training computes on: the examples, the device, its precision and the number of threads."""

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
    """Examples, and which of them to use: ``features`` float32 ``[n, freq, time]``, in memory or on the disk."""

    features: np.ndarray | Rows
    targets: np.ndarray  # float32 [n, classes]: 1 where a clip is of a class
    train: np.ndarray  # int64 indices
    validation: np.ndarray  # int64 indices, only watched; may be empty
    sources: np.ndarray  # str [n], the recording of each
    activation: str = "softmax"  # or "sigmoid": several classes at once, or none
    checksum: str = ""  # of the features, where they come from a store

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return int(self.targets.shape[1])

    def mean_and_spread(self) -> tuple[float, float]:
        """Mean and SD of all values of the training clips."""
        total = squares = count = 0.0
        for start in range(0, len(self.train), 256):
            x = self.features[self.train[start : start + 256]].astype(np.float64)
            total, squares, count = total + x.sum(), squares + np.square(x).sum(), count + x.size
        mean = total / count
        return mean, math.sqrt(max(squares / count - mean**2, 1e-12))


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What a run computes on: chosen by the processor's flags, never by timing; a resumed run keeps it."""

    device: str
    precision: str  # "bfloat16" or "float32"
    threads: int

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the training's forward passes are computed."""
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else nullcontext()

    def batch(self, data: TrainingData, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        """Spectrograms ``[batch, 1, freq, time]``, channels last, and targets ``[batch, classes]``, on the device."""
        x = torch.from_numpy(data.features[chosen])[:, None].to(self.device, memory_format=torch.channels_last)
        return x, torch.from_numpy(data.targets[chosen]).to(self.device)


def choose_engine(device: str = "auto") -> Engine:
    """The device (CUDA, MPS or the processor), precision and number of threads for this machine.

    bfloat16 where it is native: AVX512-BF16 or AMX on x86, bf16 on 64-bit ARM, CUDA where the card supports it.

    Raises:
        SettingsError: the device is unknown, or this machine does not have it.

    >>> choose_engine("cpu").device
    'cpu'
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(name for name, is_there in there.items() if is_there) if device == "auto" else device
    if not there.get(name):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise SettingsError(f'there is no device "{device}" on this machine. Known here: auto, {known}.')
    native = torch.cuda.is_bf16_supported() if name == "cuda" else name == "cpu" and _processor_has_bfloat16()
    return Engine(device=name, precision="bfloat16" if native else "float32", threads=parallel.available_cores())


def _processor_has_bfloat16() -> bool:
    """Whether the processor's flags name bfloat16 arithmetic. Only Linux lists them; elsewhere float32 is safe."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16"}) or (platform.machine() == "aarch64" and "bf16" in flags)
