"""The public names of soundmark; the command line and the Python API have the same options and defaults."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import soundmark

COMMANDS = {
    "compare": soundmark.compare,
    "train": soundmark.train,
    "evaluate": soundmark.evaluate,
    "curve": soundmark.learning_curve,
}
OTHER_NAMES = {
    "output": "folder",
    "min_confidence": "threshold",
    "merge_gap": "merge_gap_s",
    "window": "window_s",
    "backbone_rate": "backbone_rate_hz",
}  # command: Python keyword
PLURALS = {"recipe": "recipes", "protocol": "protocols"}  # options that may be repeated: Python keyword


@pytest.mark.parametrize("name", soundmark.__all__)
def test_public_name_is_an_attribute_with_a_docstring(name):
    assert getattr(soundmark, name).__doc__
    assert name in dir(soundmark)


def test_every_lazily_imported_name_is_public():
    errors = {name for name in soundmark.__all__ if name.endswith("Error")}
    assert set(soundmark._MODULES) == set(soundmark.__all__) - errors
    assert soundmark.__all__ == sorted(soundmark.__all__)


def test_version_is_that_of_the_installed_package():
    assert soundmark.__version__ == version("soundmark")


@pytest.mark.parametrize("command", COMMANDS)
def test_function_has_the_options_and_defaults_of_its_command(command):
    from soundmark.cli import commands
    from soundmark.cli.commands import compare, curve, evaluate, train

    assert commands
    command_line = inspect.signature(
        getattr({"compare": compare, "train": train, "evaluate": evaluate, "curve": curve}[command], command)
    )
    function = inspect.signature(COMMANDS[command]).parameters
    renamed = OTHER_NAMES | (PLURALS if command == "compare" else {})
    assert {renamed.get(name, name) for name in command_line.parameters} == set(function)
    for name, parameter in command_line.parameters.items():
        default = function[renamed.get(name, name)].default
        if name not in (*PLURALS, "output"):
            assert parameter.default == default, name


def test_warnings_are_printed_once_without_logging_configuration(tmp_path):
    code = (
        "from soundmark.datasets import Dataset, Skipped\n"
        "from soundmark.training.single_model import warn_skipped\n"
        "from pathlib import Path\n"
        "data = Dataset(name='pets', root=Path('.'), classes=(), clips=())\n"
        "warn_skipped(data, [Skipped('a.wav', 'it contains no samples')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr.count("skipped: a.wav: it contains no samples") == 1
