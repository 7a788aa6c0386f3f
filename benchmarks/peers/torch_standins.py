"""Stand-ins for torchvision, torchaudio, lightning and wandb, where they are missing: OpenSoundscape imports them.

Classes that the measured path uses do what torchaudio's and torchvision's do; every other class is an empty module.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

import torch


class Standin(ModuleType):
    """A module of which every other class is an empty ``torch.nn.Module``."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {}) if name[0].isupper() else Standin(f"{self.__name__}.{name}")


class Spectrogram(torch.nn.Module):
    """A power spectrogram with a Hann window, as ``torchaudio.transforms.Spectrogram``."""

    def __init__(self, n_fft: int, win_length: int, hop_length: int, power: int, center: bool) -> None:
        super().__init__()
        self.n_fft, self.win_length, self.hop_length, self.power, self.center = (
            n_fft,
            win_length,
            hop_length,
            power,
            center,
        )
        self.register_buffer("window", torch.hann_window(win_length))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the power of each frequency and frame."""
        spectrum = torch.stft(
            samples,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window,
            center=self.center,
            return_complex=True,
        )
        return spectrum.abs() ** self.power


class Compose:
    """Transforms in a sequence, as ``torchvision.transforms.Compose``."""

    def __init__(self, transforms: list) -> None:
        self.transforms = transforms

    def __call__(self, data: torch.Tensor) -> torch.Tensor:
        """Apply the transforms."""
        for transform in self.transforms:
            data = transform(data)
        return data


class Normalize:
    """Subtract a mean and divide by a standard deviation, as ``torchvision.transforms.Normalize``."""

    def __init__(self, mean: float, std: float) -> None:
        self.mean, self.std = mean, std

    def __call__(self, data: torch.Tensor) -> torch.Tensor:
        """Scale the data."""
        return (data - self.mean) / self.std


MODULES = {
    "torchvision": ("transforms", "models"),
    "torchaudio": ("transforms",),
    "lightning": ("pytorch", "pytorch.callbacks"),
    "wandb": (),
}


def install() -> None:
    """Put the stand-ins in the place of the packages that are missing."""
    for package, parts in MODULES.items():
        if find_spec(package) is not None:
            continue
        for name in (package, *(f"{package}.{part}" for part in parts)):
            sys.modules[name] = Standin(name)
            sys.modules[name].__spec__ = ModuleSpec(name, None)
            before, _, last = name.rpartition(".")
            if before:
                setattr(sys.modules[before], last, sys.modules[name])
        if "transforms" in parts:
            for used in (Spectrogram, Compose, Normalize):
                setattr(sys.modules[f"{package}.transforms"], used.__name__, used)
