"""The folder of a run: its layout, clearing, locking, and the checksum of its figures."""

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


RUN_FILES = (
    "model.onnx",
    "predictions.csv",
    "recipe.toml",
    "history.csv",
    *CHECKPOINTS,
    "metrics.json",
    "report.html",
)


# Sub-folders of a run: recipe, protocol, seed (if there are several), fold.
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
    """Remove the files that a run wrote into ``folder``, and no others.

    >>> atomic.write_text(folder / "notebook-mel" / "folds" / "fold-1" / "history.csv", "epoch")
    >>> atomic.write_text(folder / "notes.txt", "mine")
    >>> clear_run(folder)
    >>> [path.name for path in folder.rglob("*.*")]
    ['notes.txt']
    """
    for unit in unit_folders(folder):
        for name in RUN_FILES:
            (unit / name).unlink(missing_ok=True)


def unit_folders(folder: Path) -> list[Path]:
    """Return the folders that a run writes to: ``folder`` itself, then its existing sub-folders.

    >>> atomic.write_text(folder / "notebook-mel" / "grouped" / "seed-1" / "fold-2" / "history.csv", "epoch")
    >>> [path.relative_to(folder).as_posix() for path in unit_folders(folder)]
    ['.', 'notebook-mel/grouped', 'notebook-mel/grouped/seed-1', 'notebook-mel/grouped/seed-1/fold-2']
    """
    return [folder, *(path for pattern in UNIT_PATTERNS for path in folder.glob(pattern))]


@contextmanager
def exclusive_run(folder: Path) -> Iterator[None]:
    """Lock ``folder`` for this process, and remove the partial files that a killed run left in it.

    Raises:
        OutputError: another process uses the folder, or it cannot be written.

    >>> with exclusive_run(folder / "run"):
    ...     (folder / "run").is_dir()
    True
    """
    with locks.exclusive(folder):
        for unit in unit_folders(folder):
            atomic.remove_partial_files(unit)
        yield


def with_figures_checksum(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a comparison's ``metrics.json`` with a checksum, which ``is_intact`` verifies.

    The checksum excludes the command and the seconds, so that two runs with the same results have the same checksum.

    >>> a, b = (with_figures_checksum({"command": command, "results": []}) for command in "ab")
    >>> a["sha256"] == b["sha256"]
    True
    """
    return {**found, checksums.KEY: checksums.with_checksum(_figures(found))[checksums.KEY]}


def is_intact(found: Mapping[str, Any]) -> bool:
    """Whether the content of a ``metrics.json`` matches its checksum from ``with_figures_checksum``.

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
    """Return the content without the command and the seconds."""
    results = [{key: value for key, value in result.items() if key != "seconds"} for result in found["results"]]
    return {**{key: value for key, value in found.items() if key != "command"}, "results": results}


def protocol_folder(folder: Path, recipe: Recipe, protocol: str, *, seeds: int = 1) -> Path:
    """Return the folder of a recipe under a protocol; if there are several seeds, the folder of the recipe's seed.

    >>> protocol_folder(Path("run"), recipe, "random", seeds=3).as_posix()
    'run/notebook-mel/random/seed-0'
    """
    path = folder / _recipe_folder(folder, recipe.name) / protocol
    return path if seeds == 1 else path / f"seed-{recipe.seed}"


def unit_folder(folder: Path, recipe: Recipe, protocol: str, split: Split, *, seeds: int = 1) -> Path:
    """Return the folder of one training.

    >>> from soundmark.datasets import splits
    >>> unit_folder(Path("run"), recipe, "folds", splits.official_folds(city, only=[3])[0]).as_posix()
    'run/notebook-mel/folds/fold-3'
    """
    path = protocol_folder(folder, recipe, protocol, seeds=seeds)
    return path if split.fold is None else path / f"fold-{split.fold}"


def _recipe_folder(folder: Path, name: str) -> str:
    """Return the name of a recipe's folder in a run: the recipe's name, or its old name if that folder exists."""
    old = {new: old for old, new in legacy.RECIPES.items()}.get(name)
    return old if old and (folder / old).is_dir() and not (folder / name).is_dir() else name
