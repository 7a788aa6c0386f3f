"""Data sets fetched from a hostile server: resumed, verified, unpacked, and never in the way of other files."""

import os
import shutil
from contextlib import suppress

import pytest

import soundmark
from soundmark.datasets.download import download, sources
from soundmark.errors import DatasetError, OutputError
from soundmark.runtime import downloads
from soundmark.runtime.output_folder import MANIFEST
from support.foreign_files import KINDS, changes, snapshot
from support.hostile_downloads import (
    contents,
    esc50_files,
    esc50_source,
    hostile,
    tar_gz,
    urbansound8k_files,
    urbansound8k_source,
    zipped,
)

FILES = urbansound8k_files()
ARCHIVE = tar_gz(FILES)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(downloads.Attempts, "__init__", _fast_attempts)


def _fast_attempts(self):
    for name, value in {"tries": 3, "wait_s": 0.001, "timeout_s": 0.7, "least_bytes": 1000}.items():
        object.__setattr__(self, name, value)


def register(monkeypatch, server, **changes):
    source = urbansound8k_source(server.address, server.content, **changes)
    monkeypatch.setitem(sources.SOURCES, "urbansound8k", source)
    return source


def register_esc50(monkeypatch, server, **changes):
    monkeypatch.setitem(sources.SOURCES, "esc50", esc50_source(server.address, **changes))


def visible(files, root="UrbanSound8K"):
    return {name: content for name, content in files.items() if "/." not in name and name.startswith(root)}


def check_complete(folder):
    found = contents(folder)
    data = {name: content for name, content in found.items() if name.startswith("UrbanSound8K/")}
    assert data == visible(FILES)
    assert sorted(name for name in found if "/" not in name and not name.startswith(".")) == [
        "UrbanSound8K-LICENCE.txt",
        "UrbanSound8K.sha256",
    ]
    assert not [name for name in found if "part" in name or "unpacking" in name]


@pytest.mark.parametrize("fault", ["", "cut", "stall", "too long", "redirect", "no tag", "no length"])
def test_data_set_is_complete_after_each_fault(fault, tmp_path, monkeypatch):
    with hostile(ARCHIVE, fault, "") as server:
        register(monkeypatch, server)
        root = download("urbansound8k", tmp_path / "data", quiet=True)
    check_complete(tmp_path / "data")
    assert len(soundmark.Dataset.open(root)) == 12
    assert len(soundmark.Dataset.open(tmp_path / "data")) == 12


@pytest.mark.parametrize("fault", ["cut", "stall", "ignore ranges", "too short", "cut early"])
def test_next_call_resumes_after_each_fault(fault, tmp_path, monkeypatch):
    with hostile(ARCHIVE, fault, "503") as server:
        register(monkeypatch, server)
        if fault != "ignore ranges":
            with pytest.raises(DatasetError, match="UrbanSound8K cannot be downloaded: .*same command again to resume"):
                download("urbansound8k", tmp_path, quiet=True)
        server.faults[:] = ["ignore ranges"] if fault == "ignore ranges" else [""]
        download("urbansound8k", tmp_path, quiet=True)
    check_complete(tmp_path)


def test_flipped_byte_is_detected_and_the_next_call_starts_again(tmp_path, monkeypatch):
    with hostile(ARCHIVE, "flip", "") as server:
        register(monkeypatch, server)
        with pytest.raises(DatasetError, match="was damaged on the way: its MD5 is not .* It was deleted"):
            download("urbansound8k", tmp_path, quiet=True)
        assert not list(tmp_path.glob("*.part"))
        assert not (tmp_path / "UrbanSound8K").exists()
        download("urbansound8k", tmp_path, quiet=True)
    check_complete(tmp_path)


def test_second_call_verifies_without_the_server_and_finds_a_changed_file(tmp_path, monkeypatch):
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        root = download("urbansound8k", tmp_path, quiet=True)
    assert download("urbansound8k", tmp_path, quiet=True) == root
    clip = root / "audio" / "fold1" / "1000-3-0-0.wav"
    clip.write_bytes(clip.read_bytes()[:-1] + b"x")
    with pytest.raises(DatasetError, match=r"1000-3-0-0.wav\" differs from UrbanSound8K.sha256. Delete the folder"):
        download("urbansound8k", tmp_path, quiet=True)
    shutil.rmtree(root)
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        download("urbansound8k", tmp_path, quiet=True)
    check_complete(tmp_path)


def test_licence_and_citation_are_shown_and_stored(tmp_path, monkeypatch):
    lines = []
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        download("urbansound8k", tmp_path, quiet=True, say=lines.append)
    assert lines == ["UrbanSound8K: licence CC BY-NC 3.0.", "Please cite Salamon et al.."]
    text = (tmp_path / "UrbanSound8K-LICENCE.txt").read_text()
    assert "Licence: CC BY-NC 3.0" in text
    assert "Please cite: Salamon et al." in text


@pytest.mark.parametrize(
    "name", ["UrbanSound8K", "UrbanSound8K.sha256", "UrbanSound8K-LICENCE.txt", "UrbanSound8K.tar.gz.part"]
)
def test_files_of_others_are_never_replaced(name, tmp_path, monkeypatch):
    mine = tmp_path / name / "mine.txt" if name == "UrbanSound8K" else tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        with pytest.raises(OutputError, match="exists already and was not"):
            download("urbansound8k", tmp_path, quiet=True)
        assert server.ranges == []
    assert mine.read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="the test needs symbolic links")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.removeprefix("put_"))
def test_nothing_foreign_is_changed(kind, tmp_path, monkeypatch):
    names = ["UrbanSound8K", "UrbanSound8K.sha256", "UrbanSound8K-LICENCE.txt", "UrbanSound8K.tar.gz"]
    names += ["UrbanSound8K.tar.gz.part", "UrbanSound8K.tar.gz.part.json", ".UrbanSound8K.unpacking"]
    names += [".UrbanSound8K.unpacking/audio", ".UrbanSound8K.unpacking/metadata/UrbanSound8K.csv", ".lock", MANIFEST]
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        for number, name in enumerate(names):
            place, elsewhere = tmp_path / f"{number}", tmp_path / f"{number}" / "elsewhere"
            elsewhere.mkdir(parents=True)
            (place / "out" / name).parent.mkdir(parents=True)
            kind(place / "out" / name, elsewhere)
            before = snapshot(place)
            with suppress(OutputError, DatasetError):
                download("urbansound8k", place / "out", quiet=True)
            after = snapshot(place)
            assert changes(before, after) == [], name
            assert [path for path in after if path not in before and str(elsewhere) in path] == [], name


def test_foreign_file_in_the_folder_for_unpacking_is_kept(tmp_path, monkeypatch):
    mine = tmp_path / ".UrbanSound8K.unpacking" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        with pytest.raises(DatasetError, match=r"mine.txt\" is not in the archive: move it"):
            download("urbansound8k", tmp_path, quiet=True)
    assert mine.read_text() == "mine"


def test_archive_in_the_folder_is_used_and_kept(tmp_path, monkeypatch):
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        (tmp_path / "UrbanSound8K.tar.gz").write_bytes(ARCHIVE)
        download("urbansound8k", tmp_path, quiet=True)
        assert server.ranges == []
    assert (tmp_path / "UrbanSound8K.tar.gz").read_bytes() == ARCHIVE


def test_damaged_archive_in_the_folder_is_named_and_kept(tmp_path, monkeypatch):
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        (tmp_path / "UrbanSound8K.tar.gz").write_bytes(ARCHIVE[:-1])
        with pytest.raises(DatasetError, match="is not the published archive of UrbanSound8K"):
            download("urbansound8k", tmp_path, quiet=True)
    assert (tmp_path / "UrbanSound8K.tar.gz").read_bytes() == ARCHIVE[:-1]


def test_archive_is_kept_on_request(tmp_path, monkeypatch):
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        download("urbansound8k", tmp_path, quiet=True, keep_archive=True)
        assert (tmp_path / "UrbanSound8K.tar.gz").read_bytes() == ARCHIVE


def test_disk_space_is_checked_before_the_download(tmp_path, monkeypatch):
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server, unpacked_bytes=10**18)
        with pytest.raises(
            OutputError, match=r"GB of free disk space, but UrbanSound8K needs 1000000000.0 GB \(0.0 GB to"
        ):
            download("urbansound8k", tmp_path, quiet=True)
        assert server.ranges == []


def test_progress_counts_bytes_and_files(tmp_path, monkeypatch):
    steps = []
    with hostile(ARCHIVE) as server:
        register(monkeypatch, server)
        download("urbansound8k", tmp_path, progress=lambda *step: steps.append(step))
    names = {step[0] for step in steps}
    assert {"downloading UrbanSound8K", "verifying UrbanSound8K.tar.gz", "unpacking UrbanSound8K"} <= names


# --- ESC-50: no checksum of the archive is published ------------------------------------------------------------------


def test_esc50_is_downloaded_and_opened(tmp_path, monkeypatch):
    with hostile(zipped(esc50_files()), "no length") as server:
        register_esc50(monkeypatch, server)
        root = download("esc50", tmp_path, quiet=True)
    assert len(soundmark.Dataset.open(root)) == 4
    assert not (root / ".github").exists()


def damaged(change):
    files = esc50_files()
    clip = "ESC-50-master/audio/2-101-A-1.wav"
    if change == "missing":
        del files[clip]
    if change == "short":
        files[clip] = files[clip][:-2]
    if change == "extra":
        files["ESC-50-master/audio/9-9-A-0.wav"] = files[clip]
    if change == "not a WAV":
        files[clip] = b"x" * len(files[clip])
    if change == "no metadata":
        del files["ESC-50-master/meta/esc50.csv"]
    return zipped(files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "contains 3 of the 4 clips of ESC-50, for example .*2-101-A-1.wav"),
        ("short", r"2-101-A-1.wav\" is not a WAV file of 5 s at 4410 Hz"),
        ("extra", r"9-9-A-0.wav\" is not in the metadata"),
        ("not a WAV", r"2-101-A-1.wav\" is not a WAV file of 5 s at 4410 Hz"),
        ("no metadata", "does not contain ESC-50"),
    ],
)
def test_content_that_differs_from_what_is_known_is_refused(change, message, tmp_path, monkeypatch):
    with hostile(damaged(change)) as server:
        register_esc50(monkeypatch, server)
        with pytest.raises(DatasetError, match=message):
            download("esc50", tmp_path, quiet=True)
        assert not (tmp_path / "ESC-50-master").exists()
        shutil.rmtree(tmp_path / ".ESC-50-master.unpacking")
        server.content, server.tag = zipped(esc50_files()), '"v2"'
        download("esc50", tmp_path, quiet=True)  # the wrong archive is not used again


def test_flipped_byte_in_a_zip_is_found_by_its_checksums(tmp_path, monkeypatch):
    content = bytearray(zipped(esc50_files()))
    content[len(content) // 2] ^= 1
    with hostile(bytes(content)) as server:
        register_esc50(monkeypatch, server)
        with pytest.raises(DatasetError, match="was not unpacked: .*(CRC|invalid|damaged|decompress)"):
            download("esc50", tmp_path, quiet=True)


def test_cut_zip_without_length_is_downloaded_again_by_the_next_call(tmp_path, monkeypatch):
    content = zipped(esc50_files())
    with hostile(content[: len(content) // 2], "no length") as server:
        register_esc50(monkeypatch, server)
        with pytest.raises(DatasetError, match="was not unpacked: it is not a complete zip file"):
            download("esc50", tmp_path, quiet=True)
        server.content = content
        download("esc50", tmp_path, quiet=True)


def test_list_of_digests_is_compared(tmp_path, monkeypatch):
    with hostile(zipped(esc50_files())) as server:
        register_esc50(monkeypatch, server)
        download("esc50", tmp_path / "a", quiet=True)
        digests = tmp_path / "a" / "ESC-50-master.sha256"
        download("esc50", tmp_path / "b", digests=digests, quiet=True)
        text = digests.read_text()
        wrong = tmp_path / "wrong.sha256"
        wrong.write_text(text.replace(text[:64], "0" * 64))
        with pytest.raises(DatasetError, match="differs from the list of digests"):
            download("esc50", tmp_path / "c", digests=wrong, quiet=True)
        assert not (tmp_path / "c" / "ESC-50-master").exists()
        wrong.write_text("not a digest")
        with pytest.raises(DatasetError, match="line 1: expected a SHA-256 or MD5"):
            download("esc50", tmp_path / "d", digests=wrong, quiet=True)


def test_sources_name_what_is_published():
    us8k, esc50 = sources.SOURCES["urbansound8k"], sources.SOURCES["esc50"]
    assert us8k.md5 == "9aa69802bbf37fb986f71ec1483a196e"
    assert us8k.url.startswith("https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz")
    assert esc50.url.startswith("https://github.com/karolpiczak/ESC-50/")
    assert esc50.wav_frames == 5 * esc50.wav_rate_hz
