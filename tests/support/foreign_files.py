"""Files, links and folders of someone else in the way of what soundmark writes, and what was changed by a command."""

from __future__ import annotations

import hashlib
from pathlib import Path


def put_file(path: Path, elsewhere: Path) -> None:
    path.write_text("mine")


def put_read_only_file(path: Path, elsewhere: Path) -> None:
    path.write_text("mine")
    path.chmod(0o400)


def put_link_to_file(path: Path, elsewhere: Path) -> None:
    (elsewhere / "file").write_text("mine")
    path.symlink_to(elsewhere / "file")


def put_dangling_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "none")


def put_link_to_folder(path: Path, elsewhere: Path) -> None:
    (elsewhere / "inner").mkdir()
    (elsewhere / "inner" / "thesis.txt").write_text("mine")
    path.symlink_to(elsewhere / "inner")


def put_folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("mine")


KINDS = (put_file, put_read_only_file, put_link_to_file, put_dangling_link, put_link_to_folder, put_folder)


def snapshot(folder: Path) -> dict[str, str]:
    """Every path below a folder, with the target of a link and a digest of a file's content."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path)] = f"link to {path.readlink()}"
        else:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [path for path, content in before.items() if after.get(path) != content]
