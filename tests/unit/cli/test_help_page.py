"""The help of every command, and the names that it lists."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from soundmark.audio.capture.pcm import FORMATS as SAMPLE_FORMATS
from soundmark.cli import choices, help_page, requirements
from soundmark.cli.commands import app
from soundmark.datasets.download.sources import SOURCES
from soundmark.datasets.protocols import PROTOCOLS
from soundmark.detection import output_formats
from soundmark.models.pretrained.backbone import DESCRIPTIONS
from soundmark.training.named_recipes import RECIPES

GROUP = get_command(app)
COMMANDS = tuple(GROUP.commands)
IDIOM = re.compile(r"\b(heard|hears?|told|stands?|begun|what is there|goes on where)\b")


def page(*command: str) -> str:
    done = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "main")
def test_a_page_fits_80_columns_and_has_examples(command):
    lines = page(*command).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    examples = lines[lines.index("Examples:") + 1 :]
    assert examples
    assert all(f"soundmark {' '.join(command)}".rstrip() in line for line in examples)
    assert not IDIOM.findall("\n".join(lines))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_group_a_short_metavar_and_a_help_text(command):
    for option in GROUP.commands[command].params:
        assert option.rich_help_panel in help_page.OPTION_GROUPS, option.name
        assert len(option.metavar or "") <= 10, option.name
        assert option.help, option.name
        assert option.help[0].isupper(), option.name


@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_is_broken(command):
    text = " ".join(page(command).split())
    for option in GROUP.commands[command].params:
        assert " ".join(option.help.split()) in text, option.name


def test_the_main_page_describes_each_command_in_one_line():
    lines = page().splitlines()
    assert sorted(name for names in type(GROUP).groups.values() for name in names) == sorted(COMMANDS)
    for name in COMMANDS:
        (line,) = (line for line in lines if line.startswith(f"  {name} "))
        summary = GROUP.commands[name].help.split(".\n")[0].rstrip(".")
        assert " ".join(summary.split()) in line


@pytest.mark.parametrize(
    ("described", "registered"),
    [
        (choices.RECIPES, RECIPES),
        (choices.BACKBONES, DESCRIPTIONS),
        (choices.DOWNLOADS, SOURCES),
        (choices.PROTOCOLS, PROTOCOLS),
        (choices.RESULT_FORMATS, ("table", *output_formats.FORMATS)),
        (choices.SAMPLE_FORMATS, SAMPLE_FORMATS),
    ],
)
def test_described_names_are_the_registered_names(described, registered):
    assert list(described) == list(registered)


def test_default_values_and_descriptions_are_shown_alike():
    text = " ".join(page("compare").split())
    assert "[default: transfer, notebook-mel]" in text
    assert "[default: all cores]" in text
    assert "[default: 1]" in text
    assert "[default: train on all clips]" in " ".join(page("train").split())


def test_a_usage_without_a_command_prints_the_help():
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "Examples:" in done.output


def test_extras_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        extra: {re.match(r"[\w-]+", package)[0] for package in packages}
        for extra, packages in project["optional-dependencies"].items()
    }
    for extra, packages in requirements.EXTRAS.items():
        assert set(packages) == extras[extra]
