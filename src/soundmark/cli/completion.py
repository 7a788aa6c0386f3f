"""Shell completion of option values: names with their descriptions, and model files.

Each function takes what is typed so far. Where it returns nothing, the shell completes file names.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

MODEL_SUFFIX = ".onnx"


MOST_FOLDERS = 500  # that are searched for models, so that completion stays fast in a home folder


DEEPEST = 4  # a comparison writes RUN/<recipe>/<protocol>/<fold>/model.onnx


def names(known: Mapping[str, str] | Iterable[str]) -> Callable[[str], list[tuple[str, str]]]:
    """Return a function that completes one of the ``known`` names.

    >>> names({"random": "one random split", "folds": "cross-validation"})("ra")
    [('random', 'one random split')]
    """
    described = dict(known) if isinstance(known, Mapping) else dict.fromkeys(known, "")

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [(name, text) for name, text in described.items() if name.startswith(incomplete)]

    return complete


def models(incomplete: str) -> list[str]:
    """Complete the path of a model: the .onnx files in the folder typed so far and in the folders below it.

    Returns nothing where a path contains characters that a shell treats specially: the shell's own completion of file
    names quotes them.
    """
    start = os.path.basename(incomplete)  # noqa: PTH119 - a Path would drop "./"
    found = sorted(_models_below(incomplete.removesuffix(start), start))
    return found if all(map(_is_plain, found)) else []


def _models_below(prefix: str, start: str) -> Iterator[str]:
    """Search breadth first, so that near models are found in a large tree; ``prefix`` is empty or ends in a slash."""
    waiting = deque([(prefix, 0)])
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        here, depth = waiting.popleft()
        for entry in _entries(here):
            if depth == 0 and not entry.name.startswith(start):
                continue
            if entry.is_dir():
                waiting += [(f"{here}{entry.name}/", depth + 1)] if depth < DEEPEST else []
            elif entry.name.lower().endswith(MODEL_SUFFIX):
                yield here + entry.name


def _entries(prefix: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(Path(prefix or ".").expanduser()) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return []


def _is_plain(path: str) -> bool:
    return not set(path) & set(" \t\n\"'\\$`&|;<>()[]{}*?!#:=")


def timezones(incomplete: str) -> list[str]:
    """Complete the name of a timezone.

    >>> timezones("Europe/Berl")
    ['Europe/Berlin']
    """
    from zoneinfo import available_timezones

    return sorted(name for name in available_timezones() if name.startswith(incomplete))
