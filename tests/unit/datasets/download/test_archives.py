"""Hostile archives: nothing is written outside the folder, and damage has one message."""

import gzip
import tarfile
import tracemalloc

import pytest

from soundmark.datasets.download.archives import Limits, unpack
from soundmark.errors import DatasetError
from support.hostile_downloads import contents, tar_gz, zipped

LIMITS = Limits(root="pets", max_files=20, max_bytes=1_000_000)
GOOD = {"pets/dog/rex.wav": b"woof" * 1000, "pets/cat/tom.wav": b"miaow"}
UNPACKED = {"dog/rex.wav": b"woof" * 1000, "cat/tom.wav": b"miaow"}


def unpacked(content, folder, suffix):
    archive = folder / f"pets{suffix}"
    archive.write_bytes(content)
    return unpack(archive, folder / "inner" / "new", LIMITS)


def check_nothing_outside(folder):
    assert {name.split("/")[0] for name in contents(folder)} <= {"inner", "pets.tar.gz", "pets.zip"}
    assert all(name.startswith("inner/new/") for name in contents(folder) if name.startswith("inner"))


@pytest.mark.parametrize(("pack", "suffix"), [(tar_gz, ".tar.gz"), (zipped, ".zip")])
def test_files_are_unpacked_and_again_after_a_stop(pack, suffix, tmp_path):
    digests = unpacked(pack({**GOOD, "pets/.DS_Store": b"x"}), tmp_path, suffix)
    assert contents(tmp_path / "inner" / "new") == UNPACKED
    (tmp_path / "inner/new/dog/rex.wav").write_bytes(b"woo")
    (tmp_path / "inner/new/dog/.rex.wav.123.part").write_bytes(b"woo")
    assert unpacked(pack(GOOD), tmp_path, suffix) == digests
    assert contents(tmp_path / "inner" / "new") == UNPACKED


NAMES = [
    "../evil", "/evil", "pets/../../evil", "other/evil", "pets/..\\evil", "C:/evil", "pets/C:evil", "pets/a\nb",
    "pets/a\u2028b", "pets/a\x85b", "pets/con.wav", "pets/end.", "pets/" + "x" * 250, "pets" + "/d" * 20,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("pack", "suffix"), [(tar_gz, ".tar.gz"), (zipped, ".zip")])
def test_unsafe_names_are_refused(pack, suffix, name, tmp_path):
    with pytest.raises(DatasetError, match="was not unpacked: .*Delete it and run the same command again"):
        unpacked(pack({**GOOD, name: b"evil"}), tmp_path, suffix)
    check_nothing_outside(tmp_path)


@pytest.mark.parametrize("name", ["pets/dog", "pets/dog/rex.wav/x", "pets/DOG/REX.wav/x", "pets/Cat"])
@pytest.mark.parametrize(("pack", "suffix"), [(tar_gz, ".tar.gz"), (zipped, ".zip")])
def test_a_name_of_a_file_and_a_folder_is_refused(pack, suffix, name, tmp_path):
    with pytest.raises(DatasetError, match="was not unpacked: .* has the name of a file and a folder"):
        unpacked(pack({**GOOD, name: b"x"}), tmp_path, suffix)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="is not a plain path"):
        unpacked(tar_gz({"pets/a\udcff": b"1"}), tmp_path, ".tar.gz")


def test_names_that_differ_only_in_the_form_of_an_accent_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="two members are called"):
        unpacked(tar_gz({"pets/\u00e9": b"1", "pets/e\u0301": b"2"}), tmp_path, ".tar.gz")


def special(kind, name="pets/evil", **values):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (special(tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (special(tarfile.LNKTYPE, linkname="pets/dog/rex.wav"), "is a link"),
        (special(tarfile.CHRTYPE), "not a regular file"),
        (special(tarfile.BLKTYPE), "not a regular file"),
        (special(tarfile.FIFOTYPE), "not a regular file"),
        (special(tarfile.REGTYPE, "pets/DOG/rex.wav"), "two members are called"),
        (special(tarfile.REGTYPE, size=2_000_000), "more than 1.0 MB"),
    ],
)
def test_links_devices_duplicates_and_large_files_in_a_tar_are_refused(member, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        unpacked(tar_gz(GOOD, member), tmp_path, ".tar.gz")
    check_nothing_outside(tmp_path)


def test_link_in_a_zip_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"pets/evil\" is a link"):
        unpacked(zipped(GOOD, links={"pets/evil": "/etc/passwd"}), tmp_path, ".zip")


@pytest.mark.parametrize(("pack", "suffix"), [(tar_gz, ".tar.gz"), (zipped, ".zip")])
def test_bombs_are_refused(pack, suffix, tmp_path):
    with pytest.raises(DatasetError, match=r"more than 1.0 MB|expands to more"):
        unpacked(pack({"pets/bomb": bytes(5_000_000)}), tmp_path, suffix)
    with pytest.raises(DatasetError, match="more than 20 files"):
        unpacked(pack({f"pets/{i}": b"" for i in range(21)}), tmp_path, suffix)
    with pytest.raises(DatasetError, match="more than 20 files|expands to more"):
        unpacked(pack({f"pets/.{i}": b"" for i in range(1000)}), tmp_path, suffix)


def test_tar_header_that_would_fill_the_memory_is_refused(tmp_path):
    header = special(tarfile.XHDTYPE, size=100_000_000).tobuf(tarfile.GNU_FORMAT)
    content = gzip.compress(header + bytes(100_000_000), 1)
    tracemalloc.start()
    with pytest.raises(DatasetError, match="a header is too large"):
        unpacked(content, tmp_path, ".tar.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize(("pack", "suffix"), [(tar_gz, ".tar.gz"), (zipped, ".zip")])
@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_damaged_archives_have_one_message_or_right_content(pack, suffix, place, tmp_path):
    content = pack({f"pets/{i}.txt": bytes(range(256)) * 9 for i in range(9)})
    cut = content[: int(place * len(content))]
    with pytest.raises(DatasetError, match="was not unpacked: "):
        unpacked(cut, tmp_path, suffix)


def test_link_in_the_folder_for_unpacking_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "inner" / "new").mkdir(parents=True)
    (tmp_path / "inner" / "new" / "dog").symlink_to(tmp_path / "outside")
    with pytest.raises(DatasetError, match="is a symbolic link"):
        unpacked(tar_gz(GOOD), tmp_path, ".tar.gz")
    assert not list((tmp_path / "outside").iterdir())
