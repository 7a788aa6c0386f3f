"""Results folders of versions up to 0.1, which had no manifest: which of their files soundmark wrote.

The journal has all results, from which every line of the results files can be written again. A file with any other line
is not one of soundmark, or was changed.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from soundmark.detection import output_formats
from soundmark.detection.file_result import FileResult
from soundmark.detection.journal import read_journal
from soundmark.runtime.checks import parse_json

MAX_PARAMETERS_BYTES = 100_000_000

ERRORS_HEADER = b"File,Reason\n"

FILES_HEADER = b"File,Duration (s),Start (UTC),Label,Confidence,Events,Note\n"


class EarlierFolder:
    """The results ``folder`` of an earlier version, with its ``journal``, which is read when it is first needed.

    >>> EarlierFolder(folder, folder / "journal.jsonl").is_of_soundmark(folder / "results.csv")
    False
    """

    def __init__(self, folder: Path, journal: Path) -> None:
        self.folder, self.journal = folder, journal
        self._lines: dict[str, set[bytes]] = {}

    @cached_property
    def _results(self) -> list[FileResult]:
        return list(read_journal(self.journal))

    def is_of_soundmark(self, path: Path) -> bool:
        """Whether soundmark wrote the file at ``path``."""
        name = path.relative_to(self.folder).as_posix()
        with suppress(OSError, ImportError):
            if name == "parameters.json":
                return is_parameters(path)
            if not self._results:
                return False
            if name in ("files.csv", "errors.csv"):
                return path.read_bytes().startswith(FILES_HEADER if name == "files.csv" else ERRORS_HEADER)
            suffixes = [form for form in output_formats.FORMATS.values() if name.endswith(form.suffix)]
            if suffixes and (name == f"results{suffixes[-1].suffix}" or name.startswith("files/")):
                return self._is_written(path, suffixes[-1])
        return False

    def _is_written(self, path: Path, form: output_formats.Format) -> bool:
        """Whether all lines of a results file are written from results in the journal."""
        if form.suffix not in self._lines:
            results = self._results
            all_lines = b"".join(form.write(results)).splitlines()
            each = [line for result in results for line in b"".join(form.write([result])).splitlines()]
            self._lines[form.suffix] = {*all_lines, *each, *(line.removesuffix(b",") for line in all_lines)}
        content = path.read_bytes()
        return set(content.splitlines()) <= self._lines[form.suffix]


def is_parameters(path: Path) -> bool:
    """Whether ``path`` is the parameters.json of a results folder.

    >>> (folder / "parameters.json").write_text("{}")
    2
    >>> is_parameters(folder / "parameters.json")
    False
    """
    try:
        if path.is_symlink() or path.stat().st_size > MAX_PARAMETERS_BYTES:
            return False
        values = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(values, dict) or not isinstance(values.get("parameters"), dict):
        return False
    return "model" in values["parameters"] and isinstance(values.get("classes"), list) and "schema" in values
