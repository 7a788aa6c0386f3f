"""Shell completion: the functions, and bash with the script that the command prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from soundmark.cli import completion

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with models at several depths."""
    for name in ("top.onnx", "run/mel/folds/fold-1/model.onnx", "run/.hidden/model.onnx", "other/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("incomplete", "found"),
    [
        ("", ["run/mel/folds/fold-1/model.onnx", "top.onnx"]),
        ("t", ["top.onnx"]),
        ("./t", ["./top.onnx"]),
        ("run", ["run/mel/folds/fold-1/model.onnx"]),
        ("run/mel/", ["run/mel/folds/fold-1/model.onnx"]),
        ("run/mel/folds/fold-1/mod", ["run/mel/folds/fold-1/model.onnx"]),
        ("other/", []),
        ("nowhere/", []),
    ],
)
def test_models_in_and_below_a_folder(folder, incomplete, found):
    assert completion.models(incomplete) == found


def test_absolute_paths_of_models(folder):
    assert completion.models(f"{folder}/t") == [f"{folder}/top.onnx"]


def test_paths_that_need_quotes_are_left_to_the_shell(folder):
    (folder / "my model.onnx").touch()
    assert completion.models("my") == []


def test_a_large_folder_is_not_searched_to_its_end(folder, monkeypatch):
    monkeypatch.setattr(completion, "MOST_FOLDERS", 2)
    assert completion.models("") == ["top.onnx"]


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Return a function that completes a line in bash, after loading the completion script."""
    if os.name == "nt" or not shutil.which("bash"):
        pytest.skip("needs bash")
    programs = tmp_path_factory.mktemp("programs")
    command = programs / "soundmark"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m soundmark.cli "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def run(line: str) -> list[str]:
        words = line.split(" ")
        script = f"""
            eval "$(_SOUNDMARK_COMPLETE=source_bash soundmark)"
            complete -p soundmark > /dev/null || exit 3
            COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
            _soundmark_completion soundmark
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return run


def test_bash_completes_commands_options_and_names(complete):
    assert complete("soundmark cla") == ["classify"]
    assert complete("soundmark classify --min") == ["--min-confidence", "--min-conf"]
    assert complete("soundmark train pets --recipe notebook-i") == ["notebook-image", "notebook-image-22k"]
    assert complete("soundmark compare pets --protocol ") == ["random", "folds", "grouped"]
    assert complete("soundmark classify a.wav --format js") == ["jsonl", "json"]
    assert complete("soundmark summary out --timezone Europe/Berl") == ["Europe/Berlin"]


def test_bash_completes_models(complete, folder):
    assert complete("soundmark classify a.wav -m run") == ["run/mel/folds/fold-1/model.onnx"]
    assert complete("soundmark show t") == ["top.onnx"]


def test_bash_completes_other_files_itself(complete, folder):
    assert complete("soundmark classify oth") == []


def test_show_completion_prints_the_script_of_the_current_shell(complete):
    assert complete("soundmark --show-comp") == ["--show-completion"]
