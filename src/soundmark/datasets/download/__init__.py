"""Fetch a published data set: download its archive, verify it, unpack it, and store its licence.

    address ─ runtime.downloads ─▶ archive ─ verified, unpacked ─▶ folder ─ verified ─▶ DIR/UrbanSound8K

In reading order:

    sources       address, size, checksum, licence and citation of each data set
    archives      unpack an archive from an untrusted source
    verification  check an unpacked data set against its metadata and a list of digests

``DIR`` has a manifest (``runtime.output_folder``): files that soundmark did not write are never replaced. Until all
checks have passed, the archive is ``<archive>.part`` and the unpacked files are in ``.<root>.unpacking``. A stopped or
killed download continues where it was. The SHA-256 of each file is stored in ``<root>.sha256``, the licence and the
citation in ``<root>-LICENCE.txt``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from soundmark.datasets.download import archives, verification
from soundmark.datasets.download.sources import DataSource, source_named
from soundmark.errors import DatasetError, OutputError
from soundmark.runtime import atomic, downloads, output_folder
from soundmark.runtime.checksums import file_checksum
from soundmark.runtime.output_folder import OutputFolder
from soundmark.runtime.progress import Progress

REMEDY = "Move it, or choose another folder."

MARGIN_BYTES = 10_000_000  # disk space for what soundmark writes itself


def download(
    name: str,
    folder: str | os.PathLike[str],
    *,
    digests: str | os.PathLike[str] | None = None,
    keep_archive: bool = False,
    quiet: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Download "urbansound8k" or "esc50" into ``folder``, verify and unpack it; return the folder of the data set.

    ``digests`` is a list of digests in the format of ``sha256sum`` with which the unpacked files are compared. An
    archive that is already in ``folder`` is used. Run again after a stop, it continues; after the end, it verifies.
    ``say`` is called with the licence and the citation before anything is downloaded.

    Raises:
        SettingsError: the name is unknown.
        DatasetError: the download fails, or the content is not as published.
        OutputError: ``folder`` cannot be written, has too little space, or contains other files with these names.

    >>> download("urban8k", folder)
    Traceback (most recent call last):
    soundmark.errors.SettingsError: there is no data set to download "urban8k". Did you mean "urbansound8k"? Known: ...
    """
    from soundmark.runtime.progress_bars import progress_bars

    source = source_named(name)
    expected = verification.read_digests(Path(digests)) if digests is not None else {}
    with (
        output_folder.opened(Path(folder), remedy=REMEDY) as output,
        progress_bars(quiet or progress is not None) as bars,
    ):
        say(f"{source.title}: licence {source.licence}.")
        say(f"Please cite {source.citation}.")
        return _Download(source, output, progress or bars).run(expected, keep_archive)


class _Download:
    """One data set on its way into an open output folder."""

    def __init__(self, source: DataSource, output: OutputFolder, progress: Progress) -> None:
        self.source, self.output, self.progress = source, output, progress
        self.root = output.folder / source.root
        self.unpacking = output.folder / f".{source.root}.unpacking"
        self.part = output.folder / f"{source.archive}.part"
        self.list_name, self.licence_name = f"{source.root}.sha256", f"{source.root}-LICENCE.txt"

    def run(self, expected: dict[str, str], keep_archive: bool) -> Path:
        """Fetch what is missing; return the folder of the data set."""
        self.output.check(self.list_name, self.licence_name, f"{self.part.name}.json")
        if os.path.lexists(self.root):
            self._verify_existing(expected)
        else:
            self._check_space()
            self._unpack(self._archive(), expected)
        self._finish_archive(keep_archive)
        return self.root

    def _verify_existing(self, expected: dict[str, str]) -> None:
        """Check a data set that an earlier call completed."""
        if self.root.is_symlink() or self.list_name not in self.output.names():
            raise OutputError(
                f'"{self.root}" exists already and was not downloaded by soundmark. Use it as it is, or choose another '
                "folder."
            )
        for name, digests in (
            (self.list_name, verification.read_digests(self.output.folder / self.list_name)),
            ("the list of digests", expected),
        ):
            verification.verify_digests(self.root, digests, self.progress, list_name=name)

    def _check_space(self) -> None:
        source, folder = self.source, self.output.folder
        present = next((path.stat().st_size for path in (folder / source.archive, self.part) if path.is_file()), 0)
        to_download = max(0, (source.size or source.max_bytes) - present)
        if (folder / source.archive).is_file():
            to_download = 0
        unpacked = sum(path.stat().st_size for path in self.unpacking.rglob("*") if path.is_file())  # of a killed run
        to_unpack = max(0, source.unpacked_bytes - unpacked)
        free, needed = shutil.disk_usage(folder).free, to_download + to_unpack + MARGIN_BYTES
        if free < needed:
            parts = f"{to_download / 1e9:.1f} GB to download, {to_unpack / 1e9:.1f} GB unpacked"
            raise OutputError(
                f'"{folder}" has {free / 1e9:.1f} GB of free disk space, but {source.title} needs '
                f"{needed / 1e9:.1f} GB ({parts}). Free some disk space, or choose another folder."
            )

    def _archive(self) -> Path:
        """Return the verified archive: the one in the folder, or a downloaded one."""
        source, given = self.source, self.output.folder / self.source.archive
        if given.is_file():
            if not self._has_checksum(given):
                raise DatasetError(
                    f'"{given}" is not the published archive of {source.title}: its size or its MD5 differs. Move it, '
                    "then run the same command again to download it."
                )
            return given
        self.output.growing(self.part.name, lambda path: False, head=b"")
        downloads.fetch(
            source.url,
            self.part,
            size=source.size,
            max_bytes=source.max_bytes,
            is_verified=bool(source.md5),
            label=source.title,
            remedy=f"Run the same command again to resume, or download {source.homepage} in another way and copy "
            f'{source.archive} to "{self.output.folder}".',
            progress=self.progress,
            error=DatasetError,
        )
        if not self._has_checksum(self.part):
            self._remove_part()
            raise DatasetError(
                f"the download of {source.title} was damaged on the way: its MD5 is not {source.md5}. It was deleted; "
                "run the same command again."
            )
        return self.part

    def _has_checksum(self, path: Path) -> bool:
        if self.source.size not in (None, path.stat().st_size):
            return False
        return not self.source.md5 or self.source.md5 == file_checksum(
            path, "md5", label=path.name.removesuffix(".part"), progress=self.progress
        )

    def _unpack(self, archive: Path, expected: dict[str, str]) -> None:
        source = self.source
        limits = archives.Limits(root=source.root, max_files=source.max_files, max_bytes=source.unpacked_bytes)
        self.output.check_folder(self.unpacking.name)
        try:
            digests = archives.unpack(archive, self.unpacking, limits, self.progress)
            verification.verify_content(source, self.unpacking)
            verification.verify_digests(self.unpacking, expected, self.progress)
        except DatasetError:
            if not source.md5:  # the archive may be damaged: the next call downloads it again
                self._remove_part()
            raise
        lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
        atomic.write_text(self.output.folder / self.licence_name, self._licence_text(archive))
        atomic.write_text(self.output.folder / self.list_name, "".join(lines))
        try:
            self.unpacking.rename(self.root)
        except OSError as error:
            raise atomic.cannot_write(self.root, error, REMEDY) from error

    def _licence_text(self, archive: Path) -> str:
        source = self.source
        return (
            f"{source.title}\n\nSource: {source.homepage}\nArchive: {source.archive}, {archive.stat().st_size} bytes"
            f"{f', MD5 {source.md5}' if source.md5 else ''}\nDownloaded by soundmark {version('soundmark')}.\n\n"
            f"Licence: {source.licence}\n\nPlease cite: {source.citation}.\n\n"
            f"{self.list_name} lists the SHA-256 of each file; to compare: "
            f"cd {source.root} && sha256sum -c ../{self.list_name}\n"
        )

    def _finish_archive(self, keep: bool) -> None:
        """Delete the downloaded archive, or give it its name."""
        kept = self.output.folder / self.source.archive
        if keep and self.part.is_file() and not os.path.lexists(kept):
            self.part.rename(kept)
        self._remove_part()

    def _remove_part(self) -> None:
        if self.part.is_file():
            self.output.remove(self.part.name)
        self.output.remove(f"{self.part.name}.json")
