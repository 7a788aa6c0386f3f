"""The public names of soundmark, and that the command line and Python agree on options and defaults."""

import inspect
import subprocess
import sys

import pytest

import soundmark

COMMANDS = {"compare": soundmark.compare, "train": soundmark.train, "evaluate": soundmark.evaluate}
OTHER_NAMES = {"output": "folder"}  # of a command's option in Python
PLURALS = {"recipe": "recipes", "protocol": "protocols"}  # of options that may be repeated


@pytest.mark.parametrize("name", soundmark.__all__)
def test_a_public_name_is_an_attribute_with_a_docstring(name):
    assert getattr(soundmark, name).__doc__
    assert name in dir(soundmark)


def test_every_home_is_public():
    errors = {name for name in soundmark.__all__ if name.endswith("Error")}
    assert set(soundmark._HOMES) == set(soundmark.__all__) - errors
    assert soundmark.__all__ == sorted(soundmark.__all__)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_function_has_the_options_and_defaults_of_its_command(command):
    from soundmark.cli import commands
    from soundmark.cli.commands import compare, evaluate, train

    assert commands
    typed = inspect.signature(getattr({"compare": compare, "train": train, "evaluate": evaluate}[command], command))
    ours = inspect.signature(COMMANDS[command]).parameters
    renamed = OTHER_NAMES | (PLURALS if command == "compare" else {})
    assert {renamed.get(name, name) for name in typed.parameters} == set(ours)
    for name, parameter in typed.parameters.items():
        default = ours[renamed.get(name, name)].default
        if name not in (*PLURALS, "output"):
            assert parameter.default == default, name


def test_a_program_without_logging_sees_the_librarys_warnings_once(tmp_path):
    code = (
        "from soundmark.datasets import Dataset, Skipped\n"
        "from soundmark.training.single_model import warn_skipped\n"
        "from pathlib import Path\n"
        "data = Dataset(name='pets', root=Path('.'), classes=(), clips=())\n"
        "warn_skipped(data, [Skipped('a.wav', 'it holds no samples')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.count("left out: a.wav: it holds no samples") == 1
