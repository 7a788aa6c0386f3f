"""Optional packages: checked before any work is done, and named with the smallest extra that installs them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from soundmark.errors import SettingsError
from soundmark.runtime.text import listed
from soundmark.training import NETWORK_PACKAGES

if TYPE_CHECKING:
    from soundmark.training.recipe import Recipe

EXTRAS = {
    "plot": ("matplotlib",),
    "live": ("sounddevice",),
    "codecs": ("av",),
    "table": ("pandas", "pyarrow"),
    "serve": ("starlette", "uvicorn", "websockets", "python-multipart", "prometheus-client"),
    "cluster": ("distributed",),
    "hub": ("huggingface-hub",),
    "remote": ("fsspec", "s3fs", "gcsfs"),
    "train": ("torch", "safetensors", "matplotlib"),
}
"""The extras of pyproject.toml and their packages, the smallest download first."""


FIGURES = ("matplotlib",)


def require(purpose: str, packages: Iterable[str]) -> None:
    """Refuse to start where a package is not installed; packages are searched for, not loaded.

    Raises:
        SettingsError: a package is missing.

    >>> require("training", ["numpy"])
    >>> require("training", ["no_such_package"])
    Traceback (most recent call last):
    soundmark.errors.SettingsError: training needs the package no_such_package, which is not installed.
    """
    missing = [name for name in packages if not _is_installed(name)]
    if missing:
        raise SettingsError(_message(purpose, missing))


def require_for_recipes(recipes: Iterable[Recipe]) -> None:
    """Refuse to start where a recipe needs torch, which is not installed; recipes with a backbone do not.

    Raises:
        SettingsError: a package is missing.

    >>> from soundmark.training.named_recipes import recipe_named
    >>> require_for_recipes([recipe_named("transfer")])
    """
    networks = [recipe.name for recipe in recipes if recipe.backbone is None]
    if networks:
        require(f"training {listed(networks)}", NETWORK_PACKAGES)


def missing_package(error: ImportError) -> str | None:
    """Return the message for an import that failed for want of an optional package; None for any other import.

    >>> missing_package(ImportError(name="torch.nn"))
    'this command needs the package torch, which is not installed: pip install "soundmark[train]".'
    >>> missing_package(ImportError(name="soundmark.nothing"))
    """
    name = (error.name or "").split(".")[0].replace("_", "-")
    optional = any(name in packages for packages in EXTRAS.values())
    return _message("this command", [name]) if optional else None


def _message(purpose: str, missing: list[str]) -> str:
    package, verb = ("package", "is") if len(missing) == 1 else ("packages", "are")
    extras = smallest_extras(missing)
    remedy = f': pip install "soundmark[{",".join(extras)}]"' if extras else ""
    return f"{purpose} needs the {package} {listed(missing)}, which {verb} not installed{remedy}."


def smallest_extras(missing: Iterable[str]) -> list[str]:
    """Return the smallest extra that installs all ``missing`` packages, or else the smallest one for each.

    >>> smallest_extras(["matplotlib"]), smallest_extras(["matplotlib", "torch"]), smallest_extras(["av", "pyarrow"])
    (['plot'], ['train'], ['codecs', 'table'])
    """
    missing = list(missing)
    for extra, packages in EXTRAS.items():
        if set(missing) <= set(packages):
            return [extra]
    found = [next((extra for extra, packages in EXTRAS.items() if name in packages), None) for name in missing]
    return list(dict.fromkeys(extra for extra in found if extra))


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package.replace("-", "_")) is not None
    except (ImportError, ValueError):  # ValueError: loaded without a specification
        return False
