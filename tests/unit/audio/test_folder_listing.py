"""``FolderListing``: existence and size of files from directory listings."""

from pathlib import Path

from soundmark.audio.folders import FolderListing
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
