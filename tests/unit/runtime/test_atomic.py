"""Paths that cannot be written."""

import pytest

from soundmark.errors import OutputError
from soundmark.runtime import atomic


@pytest.mark.parametrize("write", [lambda path: atomic.write_text(path, "text"), atomic.make_folder])
def test_a_path_with_a_nul_character_is_an_output_error(tmp_path, write):
    with pytest.raises(OutputError, match="the path contains a NUL character. Choose another path with -o"):
        write(tmp_path / "a\0b")
