"""Paths that cannot be written."""

import os
import subprocess
import sys
from functools import partial

import pytest

from soundmark.errors import OutputError
from soundmark.runtime import atomic


@pytest.mark.parametrize("write", [lambda path: atomic.write_text(path, "text"), atomic.make_folder])
def test_a_path_with_a_nul_character_is_an_output_error(tmp_path, write):
    with pytest.raises(OutputError, match="the path contains a NUL character. Choose another path with -o"):
        write(tmp_path / "a\0b")


def test_partial_files_of_killed_processes_are_removed_with_the_next_file(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left, running, other = (
        tmp_path / f".why.png.{child.pid}.part",
        tmp_path / f".why.png.{os.getpid()}.part",
        tmp_path / f".a.png.{child.pid}.part",
    )
    for path in (left, running, other):
        path.write_text("partial")
    atomic.check_new_file(tmp_path / "why.png")
    assert {path.name for path in tmp_path.iterdir()} == {running.name, other.name}


@pytest.mark.skipif(os.name == "nt", reason="the test needs a named pipe")
@pytest.mark.parametrize("is_link", [False, True])
def test_a_pipe_or_device_is_never_replaced(tmp_path, is_link):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = tmp_path / "link" if is_link else pipe
    if is_link:
        path.symlink_to(pipe)
    for write in (partial(atomic.check_new_file, overwrite=True), partial(atomic.write_text, text="mine")):
        with pytest.raises(OutputError, match='" is a pipe or a device, not a file. Choose another path with -o.$'):
            write(path)
    assert pipe.is_fifo()
    assert {item.name for item in tmp_path.iterdir()} == {"pipe", path.name}
