"""Messages of workers, which have absolute paths, are those of this machine, in whatever folder it works."""

from pathlib import Path

import pytest

from soundmark.runtime.parallel import same_files


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('"{}b/a.wav" is empty: see /usr/share', "b/a.wav", '"b/a.wav" is empty: see /usr/share'),
        ('"{}b/a.wav" is empty', "./b/a.wav", '"b/a.wav" is empty'),
        ("{}b/a.wav: Input/output error.", "b/a.wav", "b/a.wav: Input/output error."),
        ('"{}b/a.wav" is empty', "/b/a.wav", '"{}b/a.wav" is empty'),
    ],
)
@pytest.mark.parametrize("folder", ["here", "/"])
def test_a_path_in_a_message_is_as_it_was_given(text, path, expected, folder, tmp_path: Path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / folder)  # "/" is the folder of many containers
    prefix = f"{Path.cwd()}".rstrip("/") + "/"
    assert same_files.as_given(text.format(prefix), path) == expected.format(prefix)
