"""Output folders: only own, unchanged files are replaced or deleted, also after a kill; links are not followed."""

import json
import os
from pathlib import Path

import pytest

from soundmark.errors import OutputError
from soundmark.runtime import atomic, output_folder
from soundmark.runtime.output_folder import MANIFEST

FOREIGN = "exists already and was not written by soundmark. Move it, or choose another folder with -o."


def write(folder: Path, name: str = "a.txt", text: str = "new", **options) -> None:
    with output_folder.opened(folder, **options):
        atomic.write_text(folder / name, text)


def test_an_own_file_is_replaced_and_deleted(tmp_path):
    for text in ("1", "2", "1", "3"):
        write(tmp_path, text=text)
        assert (tmp_path / "a.txt").read_text() == text
    with output_folder.opened(tmp_path) as output:
        assert output.remove("a.txt")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".txt"] == []


@pytest.mark.parametrize("name", ["a.txt", "inner/a.txt"])
def test_a_foreign_file_is_neither_replaced_nor_deleted(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    for _ in range(2):  # the attempt does not make it an own file
        with pytest.raises(OutputError, match=FOREIGN):
            write(tmp_path, name)
        with output_folder.opened(tmp_path) as output:
            assert not output.remove(name)
            with pytest.raises(OutputError, match=FOREIGN):
                output.check(name)
    assert (tmp_path / name).read_text() == "mine"


def test_a_foreign_file_with_the_same_content_becomes_an_own_one(tmp_path):
    (tmp_path / "a.txt").write_text("new")
    write(tmp_path)
    write(tmp_path, text="newer")
    assert (tmp_path / "a.txt").read_text() == "newer"


def test_a_changed_file_is_renamed_before_it_is_replaced_and_never_deleted(tmp_path, caplog):
    for number, kept in enumerate(["a.txt.changed", "a.txt.changed-2"]):
        write(tmp_path, text=f"{number}")
        (tmp_path / "a.txt").write_text("edited")
        with output_folder.opened(tmp_path) as output:
            assert not output.remove("a.txt")
        write(tmp_path, text=f"again {number}")
        assert (tmp_path / kept).read_text() == "edited"
        assert f'was changed after soundmark wrote it: it is kept as "{kept}"' in caplog.text


@pytest.mark.parametrize("link", ["inner", "inner/a.txt", MANIFEST, ".lock"])
def test_a_link_below_the_folder_is_not_followed(tmp_path, link):
    target = tmp_path / "elsewhere"
    (target / "inner").mkdir(parents=True)
    out = tmp_path / "out"
    (out / link).parent.mkdir(parents=True)
    (target / "file").write_text("")
    (out / link).symlink_to(target / "inner" if link == "inner" else target / "file")
    with pytest.raises(OutputError, match="(is a symbolic link: soundmark follows none|is not a lock of soundmark)"):
        write(out, "inner/a.txt")
    assert (target / "file").read_text() == ""
    assert list((target / "inner").iterdir()) == []


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(tmp_path / "out")
    write(tmp_path / "out", text="newer")
    assert (tmp_path / "disk" / "a.txt").read_text() == "newer"


@pytest.mark.parametrize("name", ["a.txt", MANIFEST])
def test_a_folder_in_the_way_is_named(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match="is a folder, but soundmark writes a file there. Move it"):
        write(tmp_path)


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "inner").write_text("mine")
    with pytest.raises(OutputError, match='inner" is a file, but soundmark needs a folder there. Move it'):
        write(tmp_path, "inner/a.txt")


@pytest.mark.parametrize("content", ["mine", "{}", "[1]", '{"pending": "a"}'])
def test_a_foreign_manifest_is_refused(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(OutputError, match=FOREIGN):
        write(tmp_path)
    assert (tmp_path / MANIFEST).read_text() == content


def test_a_foreign_lock_is_refused(tmp_path):
    (tmp_path / ".lock").write_text("mine")
    with pytest.raises(OutputError, match='lock" is not a lock of soundmark. Move it'):
        write(tmp_path)
    assert (tmp_path / ".lock").read_text() == "mine"


@pytest.mark.parametrize("kept_lines", range(5))
def test_after_a_kill_at_any_line_of_the_manifest_the_same_file_is_written(tmp_path, kept_lines):
    write(tmp_path, text="old")
    write(tmp_path, text="new")
    lines = (tmp_path / MANIFEST).read_bytes().splitlines(keepends=True)
    assert [next(iter(json.loads(line))) for line in lines] == [
        "soundmark_manifest",
        "pending",
        "path",
        "pending",
        "path",
    ]
    renamed = kept_lines == 4  # a kill after the line, before the new file has its name
    (tmp_path / MANIFEST).write_bytes(b"".join(lines[: kept_lines + 1]))
    if kept_lines < 2:
        (tmp_path / "a.txt").unlink()
    elif kept_lines < 4 or renamed:
        (tmp_path / "a.txt").write_text("old")
    (tmp_path / ".a.txt.4711.part").write_text("partial")
    (tmp_path / ".b.txt.4711.part").write_text("mine")
    write(tmp_path, text="newest")
    assert (tmp_path / "a.txt").read_text() == "newest"
    assert (tmp_path / ".b.txt.4711.part").read_text() == "mine"
    assert (tmp_path / ".a.txt.4711.part").exists() == (kept_lines in (0, 2, 4))  # not one that was being written


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_an_incomplete_last_line_is_ignored(tmp_path, cut):
    write(tmp_path, "a.txt")
    write(tmp_path, "b.txt")
    data = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(data[:-cut])
    write(tmp_path, "c.txt")
    with output_folder.opened(tmp_path) as output:
        assert [output.remove(f"{name}.txt") for name in "abc"] == [True, cut == 1, True]


def test_an_empty_file_that_a_power_failure_left_is_an_own_file(tmp_path, caplog):
    write(tmp_path)
    (tmp_path / "a.txt").write_text("")
    write(tmp_path)
    assert (tmp_path / "a.txt").read_text() == "new"
    assert not caplog.records


def test_a_manifest_cannot_name_files_outside_the_folder(tmp_path):
    out = tmp_path / "out"
    write(out)
    (tmp_path / ".b.txt.1.part").write_text("mine")
    with (out / MANIFEST).open("a") as manifest:
        manifest.write('{"pending": "../b.txt"}\n{"claimed": "../b.txt"}\n')
    write(out)
    assert (tmp_path / ".b.txt.1.part").read_text() == "mine"


def test_files_of_an_earlier_version_are_recognised_only_in_a_folder_without_manifest(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b.txt").write_text("old")
    write(tmp_path, "a.txt", recognised=lambda path: path.read_text() == "old")
    write(tmp_path, "b.txt", recognised=lambda path: path.read_text() == "old")  # killed before it came to b
    new = tmp_path / "new"
    write(new)
    (new / "b.txt").write_text("old")
    with pytest.raises(OutputError, match=FOREIGN):
        write(new, "b.txt", recognised=lambda path: True)


def test_files_of_other_processes_are_own_files_once_claimed(tmp_path):
    with output_folder.opened(tmp_path) as output:
        output.clear(["a.png", "b.png"])
        (tmp_path / "a.png").write_text("1")
        (tmp_path / "b.png").write_text("1")
        output.add("a.png")
    (tmp_path / "c.png").write_text("mine")  # then a kill, before b was added
    with output_folder.opened(tmp_path) as output:
        with pytest.raises(OutputError, match=FOREIGN):
            output.clear(["a.png", "b.png", "c.png"])
        output.clear(["a.png", "b.png"])
    assert not (tmp_path / "a.png").exists()
    assert not (tmp_path / "b.png").exists()


def test_the_manifest_does_not_grow_with_each_run(tmp_path):
    sizes = []
    for _ in range(4):
        with output_folder.opened(tmp_path):
            for number in range(300):
                atomic.write_text(tmp_path / f"{number % 100}.txt", f"{number}")
        sizes.append((tmp_path / MANIFEST).stat().st_size)
    assert max(sizes[1:]) <= sizes[0]
    assert len((tmp_path / MANIFEST).read_bytes().splitlines()) == 101


def test_names_that_are_not_text_are_kept(tmp_path):
    name = os.fsdecode(b"a\xe9\n.txt")
    write(tmp_path, name)
    write(tmp_path, name, text="newer")
    assert (tmp_path / name).read_text() == "newer"


def test_a_kill_between_the_manifest_and_the_renaming_leaves_no_partial_file(tmp_path, monkeypatch):
    with output_folder.opened(tmp_path / "out"):
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # nothing is cleaned up after a kill
        with pytest.raises(KeyboardInterrupt):
            atomic.write_text(tmp_path / "out" / "errors.csv", "File,Reason")
    monkeypatch.undo()
    assert [path.suffix for path in (tmp_path / "out").glob(".errors*")] == [".part"]
    with output_folder.opened(tmp_path / "out"):
        assert list((tmp_path / "out").glob(".errors*")) == []
