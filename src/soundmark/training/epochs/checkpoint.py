"""Checkpoints: the training state after an epoch, from which an interrupted run resumes. Stored without pickle."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from soundmark.errors import OutputError
from soundmark.models import legacy
from soundmark.models.training_record import Epoch
from soundmark.runtime import atomic
from soundmark.training.epochs.engine import Engine, TrainingData
from soundmark.training.epochs.optimizer import Adam
from soundmark.training.recipe import Recipe

SCHEMA = 2


log = logging.getLogger("soundmark")


@dataclass(frozen=True)
class Checkpoint:
    """The training state after an epoch.

    The file is in safetensors format, with the history and the engine in its metadata, and a checksum of everything.
    """

    tensors: dict[str, Tensor]
    history: tuple[Epoch, ...]
    engine: Engine

    @classmethod
    def of(
        cls, network: nn.Module, optimizer: Adam, history: list[Epoch], engine: Engine, average: nn.Module | None = None
    ) -> Checkpoint:
        """Return the current state of ``network``, ``optimizer`` and the running ``average`` of the weights."""
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"adam.{name}": value for name, value in optimizer.state_dict().items()}
        if average:
            tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
        return cls({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, tuple(history), engine)

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the checkpoint atomically, for the run with this ``fingerprint``."""
        from safetensors.torch import save

        content = {
            "schema": SCHEMA,
            "run": fingerprint,
            "engine": asdict(self.engine),
            "history": [asdict(epoch) for epoch in self.history],
        }
        text = json.dumps(content)
        atomic.write_bytes(path, save(self.tensors, {"about": text, "sha256": _digest(self.tensors, text)}))

    @classmethod
    def load(cls, path: Path, fingerprint: str, device: str) -> Checkpoint | None:
        """Read the checkpoint at ``path``; return None if it is missing, damaged, or was written on another device.

        The last two cases also log a warning.

        Raises:
            OutputError: the checkpoint belongs to another recipe or other data.
        """
        from safetensors import SafetensorError, safe_open

        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            if metadata["sha256"] != _digest(tensors, metadata["about"]):
                raise ValueError("its checksum does not match")
            content = json.loads(metadata["about"])
            if content["schema"] != SCHEMA:
                raise ValueError("it was written by another version of soundmark")
            engine, history = Engine(**content["engine"]), tuple(Epoch(**epoch) for epoch in content["history"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            log.warning('the checkpoint "%s" is damaged (%s): training restarts from the first epoch', path, error)
            return None
        if content["run"] != fingerprint:
            raise OutputError(
                f'"{path.parent}" contains an unfinished run with another recipe or other data. Choose another folder '
                "with -o, or discard that run with --fresh."
            )
        if device != engine.device:
            log.warning(
                'the checkpoint "%s" was written on %s: training on %s restarts from the first epoch',
                path,
                engine.device,
                device,
            )
            return None
        return cls(tensors, history, engine)

    def restore(self, network: nn.Module, optimizer: Adam, average: nn.Module | None = None) -> list[Epoch]:
        """Load the state into ``network``, ``optimizer`` and ``average``; return the history so far."""
        network.load_state_dict(self._part("network."))
        optimizer.load_state_dict(self._part("adam."))
        if average:
            average.load_state_dict(self._part("average."))
        return list(self.history)

    def _part(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def fingerprint(data: TrainingData, recipe: Recipe) -> str:
    """Return a SHA-256 of the recipe, the features, the labels and the split, which identifies a checkpoint's run.

    >>> data = TrainingData(
    ...     features=np.zeros((2, 4, 4), np.float32), targets=np.eye(2), train=np.arange(2), validation=np.arange(0),
    ...     sources=np.array(["a", "b"]),
    ... )
    >>> len(fingerprint(data, recipe))
    64
    """
    content = [legacy.original_settings(recipe.settings()), data.n_classes, list(data.features.shape), data.checksum]
    digest = hashlib.sha256(json.dumps(content).encode())
    digest.update(data.targets.astype(np.float32).tobytes())
    for array in (data.train, data.validation):
        digest.update(array.astype(np.int64).tobytes())
    return digest.hexdigest()
