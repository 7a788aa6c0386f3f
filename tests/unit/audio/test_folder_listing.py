"""Directory listings: existence and size of files, and walks over regular files, each folder once."""

import os
import socket
from pathlib import Path

import pytest

from soundmark.audio.folders import FolderListing, walk
from support.layouts import write_placeholders


def test_only_files_are_listed(tmp_path: Path):
    write_placeholders(tmp_path, "a.wav", "folder/b.wav")
    (tmp_path / "broken-link.wav").symlink_to(tmp_path / "nowhere.wav")
    listing = FolderListing()
    assert listing.has(tmp_path / "a.wav")
    assert listing.size(tmp_path / "folder" / "b.wav") == len("folder/b.wav")
    assert not listing.has(tmp_path / "folder")
    assert not listing.has(tmp_path / "broken-link.wav")
    assert not listing.has(tmp_path / "a.wav" / "c.wav")
    assert listing.size(tmp_path / "none" / "c.wav") is None


needs_links = pytest.mark.skipif(os.name == "nt", reason="Windows has other links and pipes")


def files_of(folder: Path) -> list[str]:
    return sorted("/".join(found.parts) for found in walk(str(folder)) if not found.is_folder)


@needs_links
def test_a_walk_yields_regular_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "sounds"
    write_placeholders(folder, "a.wav")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(folder / "pipe.wav")
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for name, target in (("b", "../pipe"), ("c", "../socket"), ("d", "/dev/zero"), ("e", "a.wav"), ("f", "nowhere")):
        (folder / f"{name}.wav").symlink_to(target)
    assert files_of(folder) == ["a.wav", "e.wav", "f.wav"]  # a broken link has its own error message


@needs_links
def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path):
    names = [str(number) for number in range(7)]
    write_placeholders(tmp_path, *(f"{name}/a.wav" for name in names))
    for name in names:
        for other in names:
            (tmp_path / name / f"to{other}").symlink_to(tmp_path / other)
    assert files_of(tmp_path) == [f"{name}/a.wav" for name in names]


@needs_links
def test_the_folder_itself_is_walked_before_the_links_to_it(tmp_path: Path):
    write_placeholders(tmp_path, "root/z/a.wav", "elsewhere/b.wav")
    (tmp_path / "root" / "a").symlink_to("z")
    (tmp_path / "root" / "c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "z" / "up").symlink_to("..")
    assert files_of(tmp_path / "root") == ["b/b.wav", "z/a.wav"]
    repeated = {"/".join(found.parts): found.same_as for found in walk(str(tmp_path / "root")) if found.same_as}
    assert repeated == {"a": str(tmp_path / "root" / "z"), "c": str(tmp_path / "root" / "b")}
