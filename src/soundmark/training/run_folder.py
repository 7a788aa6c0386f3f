"""The folder of a run: what is written where, cleared, locked, and sealed against changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soundmark.datasets.protocols import PROTOCOLS
from soundmark.datasets.splits import Split
from soundmark.models import legacy
from soundmark.runtime import atomic, checksums, locks
from soundmark.training.recipe import Recipe

CHECKPOINTS = ("checkpoint.safetensors", "refit.safetensors")


WRITTEN = (
    "model.onnx",
    "predictions.csv",
    "recipe.toml",
    "history.csv",
    *CHECKPOINTS,
    "metrics.json",
    "report.html",
)


# Below a run's folder stand a recipe, a protocol, a seed where there are several, and a fold.
UNIT_PATTERNS = tuple(
    f"*/{protocol}{seed}{fold}" for protocol in PROTOCOLS for seed in ("", "/seed-*") for fold in ("", "/fold-*")
)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished unit.

    >>> (folder / "checkpoint.safetensors").touch()
    >>> remove_checkpoints(folder)
    >>> list(folder.iterdir())
    []
    """
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def clear_run(folder: Path) -> None:
    """Remove what runs wrote into ``folder``, and nothing else.

    >>> atomic.write_text(folder / "notebook-mel" / "folds" / "fold-1" / "history.csv", "epoch")
    >>> atomic.write_text(folder / "notes.txt", "mine")
    >>> clear_run(folder)
    >>> [path.name for path in folder.rglob("*.*")]
    ['notes.txt']
    """
    for place in unit_folders(folder):
        for name in WRITTEN:
            (place / name).unlink(missing_ok=True)


def unit_folders(folder: Path) -> list[Path]:
    """Where a run writes: ``folder`` itself, first, and what is there below it.

    >>> atomic.write_text(folder / "notebook-mel" / "grouped" / "seed-1" / "fold-2" / "history.csv", "epoch")
    >>> [place.relative_to(folder).as_posix() for place in unit_folders(folder)]
    ['.', 'notebook-mel/grouped', 'notebook-mel/grouped/seed-1', 'notebook-mel/grouped/seed-1/fold-2']
    """
    return [folder, *(place for pattern in UNIT_PATTERNS for place in folder.glob(pattern))]


@contextmanager
def exclusive_run(folder: Path) -> Iterator[None]:
    """Hold ``folder`` as ``atomic.only_one`` does, and clear away what a killed run left half-written in it.

    Raises:
        OutputError: another process holds it, or it cannot be written.

    >>> with exclusive_run(folder / "run"):
    ...     (folder / "run").is_dir()
    True
    """
    with locks.exclusive(folder):
        for place in unit_folders(folder):
            atomic.remove_partial_files(place)
        yield


def with_figures_checksum(found: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison's ``metrics.json`` with a digest of it: ``is_intact`` tells by it whether a figure was changed.

    The digest leaves out the command and the seconds, so that two runs that found the same have the same.

    >>> a, b = (with_figures_checksum({"command": command, "results": []}) for command in "ab")
    >>> a["sha256"] == b["sha256"]
    True
    """
    return {**found, checksums.KEY: checksums.with_checksum(_figures(found))[checksums.KEY]}


def is_intact(found: Mapping[str, Any]) -> bool:
    """Whether what was read of a ``metrics.json`` is what ``sealed`` gave.

    >>> found = with_figures_checksum({"results": [{"accuracy": 0.7}]})
    >>> is_intact(found), is_intact({**found, "results": [{"accuracy": 0.9}]})
    (True, False)
    """
    try:
        checksums.verified(_figures(found))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """All but the command and the seconds."""
    results = [{key: value for key, value in result.items() if key != "seconds"} for result in found["results"]]
    return {**{key: value for key, value in found.items() if key != "command"}, "results": results}


def protocol_folder(folder: Path, recipe: Recipe, protocol: str, *, seeds: int = 1) -> Path:
    """Where in a run's folder a recipe stands under a protocol: of several seeds, each in a folder of its own.

    >>> protocol_folder(Path("run"), recipe, "random", seeds=3).as_posix()
    'run/notebook-mel/random/seed-0'
    """
    place = folder / _recipe_folder(folder, recipe.name) / protocol
    return place if seeds == 1 else place / f"seed-{recipe.seed}"


def unit_folder(folder: Path, recipe: Recipe, protocol: str, split: Split, *, seeds: int = 1) -> Path:
    """Where in a run's folder one training stands.

    >>> from soundmark.datasets import splits
    >>> unit_folder(Path("run"), recipe, "folds", splits.official_folds(city, only=[3])[0]).as_posix()
    'run/notebook-mel/folds/fold-3'
    """
    place = protocol_folder(folder, recipe, protocol, seeds=seeds)
    return place if split.fold is None else place / f"fold-{split.fold}"


def _recipe_folder(folder: Path, name: str) -> str:
    """The name of a recipe's folder in a run: the recipe's, or the old one that an earlier version wrote."""
    old = {new: old for old, new in legacy.RECIPES.items()}.get(name)
    return old if old and (folder / old).is_dir() and not (folder / name).is_dir() else name
