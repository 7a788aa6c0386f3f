"""The folder of a run: its layout, clearing, locking, and the checksum of its figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from soundmark.datasets.protocols import PROTOCOLS
from soundmark.datasets.splits import Split
from soundmark.errors import SoundmarkError
from soundmark.models import bundle, legacy, training_record
from soundmark.runtime import atomic, checksums, output_folder
from soundmark.runtime.checks import is_folder
from soundmark.runtime.output_folder import OutputFolder
from soundmark.training.recipe import Recipe

CHECKPOINTS = ("checkpoint.safetensors", "refit.safetensors")


UNIT_FILES = ("model.onnx", "predictions.csv", "recipe.toml", "history.csv", *CHECKPOINTS)


RUN_FILES = (*UNIT_FILES, "metrics.json", "report.html")


# Sub-folders of a run: recipe, protocol, seed (if there are several), fold.
UNIT_PATTERNS = tuple(
    f"*/{protocol}{seed}{fold}" for protocol in PROTOCOLS for seed in ("", "/seed-*") for fold in ("", "/fold-*")
)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished unit.

    >>> with exclusive_run(folder / "run"):
    ...     atomic.write_text(folder / "run" / "checkpoint.safetensors", "")
    ...     remove_checkpoints(folder / "run")
    ...     (folder / "run" / "checkpoint.safetensors").exists()
    False
    """
    for name in CHECKPOINTS:
        atomic.remove(folder / name)


def clear_run(output: OutputFolder) -> None:
    """Remove the files that a run wrote into its folder, and no others.

    >>> with exclusive_run(folder / "run") as output:
    ...     atomic.write_text(folder / "run" / "notebook-mel" / "folds" / "fold-1" / "history.csv", "epoch")
    ...     (folder / "run" / "notes.txt").write_text("mine") > 0
    ...     clear_run(output)
    ...     sorted(path.name for path in (folder / "run").rglob("*.*") if path.name[0] != ".")
    True
    ['notes.txt']
    """
    for unit in unit_folders(output.folder):
        for name in RUN_FILES:
            output.remove((unit / name).relative_to(output.folder).as_posix())


def check_units(output: OutputFolder, folders: Iterable[Path], names: Sequence[str] = UNIT_FILES) -> None:
    """Check that a run can write the files ``names`` into each of ``folders``, before hours of work.

    Raises:
        OutputError: a foreign file, a folder or a symbolic link is in the way.

    >>> with exclusive_run(folder / "run") as output:
    ...     check_units(output, [folder / "run" / "notebook-mel" / "random"])
    """
    output.check(*((unit / name).relative_to(output.folder).as_posix() for unit in folders for name in names))


def unit_folders(folder: Path) -> list[Path]:
    """Return the folders that a run writes to: ``folder`` itself, then its existing sub-folders.

    >>> atomic.write_text(folder / "notebook-mel" / "grouped" / "seed-1" / "fold-2" / "history.csv", "epoch")
    >>> [path.relative_to(folder).as_posix() for path in unit_folders(folder)]
    ['.', 'notebook-mel/grouped', 'notebook-mel/grouped/seed-1', 'notebook-mel/grouped/seed-1/fold-2']
    """
    found = [path for pattern in UNIT_PATTERNS for path in folder.glob(pattern)]
    return [folder, *(path for path in found if not _has_link(path, folder))]


def _has_link(path: Path, folder: Path) -> bool:
    return any(part.is_symlink() for part in (path, *path.parents) if part != folder and part.is_relative_to(folder))


def exclusive_run(folder: Path) -> AbstractContextManager[OutputFolder]:
    """Lock ``folder`` for this process, and guard the files in it that soundmark did not write.

    Raises:
        OutputError: another process uses the folder, or it cannot be written.

    >>> with exclusive_run(folder / "run"):
    ...     (folder / "run").is_dir()
    True
    """
    return output_folder.opened(folder, recognised=is_of_earlier_run)


def is_of_earlier_run(path: Path) -> bool:
    """Whether ``path`` is a file that a version up to 0.1 wrote, which had no manifest: it fits to the files beside it.

    >>> (folder / "history.csv").write_text("epoch,my notes") > 0
    True
    >>> is_of_earlier_run(folder / "history.csv")
    False
    """
    try:
        return _EARLIER[path.name](path) if path.name in _EARLIER else False
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SoundmarkError):
        return False


def _has_model_of_recipe(path: Path) -> bool:
    """Whether the folder has a model and the recipe that it was trained with."""
    recipe = Recipe.from_toml((path.parent / "recipe.toml").read_text(encoding="utf-8"))
    recorded = bundle.read_bundle(path.parent / "model.onnx").card.recipe
    return bool(recorded) and recipe == Recipe.from_settings(recorded)


def _is_checkpoint(path: Path) -> bool:
    """Whether a safetensors file has the metadata of a checkpoint."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        metadata = json.loads(file.read(min(size, 100_000_000)))["__metadata__"]
    return "engine" in json.loads(metadata["about"]) and "sha256" in metadata


def _is_history(path: Path) -> bool:
    checkpoints = [path.with_name(name) for name in CHECKPOINTS]
    headers = tuple(",".join(training_record.columns(name)).encode() for name in ("validation", "test"))
    begins = path.read_bytes().startswith(headers)
    return begins and (any(map(is_of_earlier_run, checkpoints)) or is_of_earlier_run(path.with_name("model.onnx")))


def _is_predictions(path: Path) -> bool:
    """Whether the table of a unit, of an evaluation, or of all folds fits to the files beside it."""
    with path.open("rb") as file:
        header = file.readline().decode().split(",")
    units = [path, *path.parent.glob("fold-*/predictions.csv")]
    fits = any(is_of_earlier_run(unit.with_name("model.onnx")) for unit in units)
    return header[:1] == ["path"] and "predicted" in header and (fits or _is_metrics(path.with_name("metrics.json")))


def _is_metrics(path: Path) -> bool:
    """Whether ``path`` has the numbers of a comparison or of an evaluation."""
    found = json.loads(path.read_bytes())
    return is_intact(found) or (isinstance(found.get("about"), dict) and "note" in found)


def _is_report(path: Path) -> bool:
    return b'content="soundmark ' in path.read_bytes()[:2000] and _is_metrics(path.with_name("metrics.json"))


_EARLIER: dict[str, Callable[[Path], bool]] = {
    "model.onnx": _has_model_of_recipe,
    "recipe.toml": _has_model_of_recipe,
    "history.csv": _is_history,
    "predictions.csv": _is_predictions,
    "metrics.json": _is_metrics,
    "report.html": _is_report,
    **dict.fromkeys(CHECKPOINTS, _is_checkpoint),
}


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
    return old if old and is_folder(folder / old) and not is_folder(folder / name) else name
