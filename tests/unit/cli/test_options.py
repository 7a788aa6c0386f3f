"""The parsing of option values, and alternative names of options."""

import pytest
from typer.main import get_command

from soundmark.cli import options
from soundmark.cli.commands import app
from soundmark.errors import SettingsError

GROUP = get_command(app)
COMMANDS = GROUP.commands


def names(command: str, parameter: str) -> list[str]:
    (option,) = (option for option in COMMANDS[command].params if option.name == parameter)
    return option.opts


@pytest.mark.parametrize("command", ["classify", "listen"])
def test_min_conf_is_an_alias_of_min_confidence(command):
    assert names(command, "min_confidence") == ["--min-confidence", "--min-conf"]


def test_threads_is_an_alias_of_jobs_in_every_command():
    with_jobs = [name for name, command in COMMANDS.items() if "jobs" in {option.name for option in command.params}]
    assert len(with_jobs) >= 7
    assert all(names(name, "jobs") == ["--jobs", "--threads"] for name in with_jobs)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_verbose_and_help(command):
    main = GROUP.make_context("soundmark", [command], resilient_parsing=True)
    context = COMMANDS[command].make_context(command, [], parent=main, resilient_parsing=True)
    all_names = {name for option in COMMANDS[command].get_params(context) for name in option.opts}
    assert {"-v", "--verbose", "-h", "--help"} <= all_names


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (options.integer, "ten", '"ten": expected a whole number.'),
        (options.positive_integer, "0", "0: expected a whole number of at least 1."),
        (options.positive_integer, "1.5", '"1.5": expected a whole number of at least 1.'),
        (options.number, "fast", '"fast": expected a number.'),
        (options.fraction, "50", "50: expected a number from 0 to 1."),
        (options.fraction, "nan", "nan: expected a number from 0 to 1."),
        (options.path, "", '"": expected a path. The current folder is ".".'),
    ],
)
def test_a_value_that_cannot_be_parsed_is_refused(parse, text, message):
    with pytest.raises(options.InvalidValue) as caught:
        parse(text)
    assert caught.value.message == message
    assert caught.value.format_message() == f"the value is {message}"


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(options.UnknownName) as caught:
        options.one_of("format", ("table", "json"))("jsn")
    assert caught.value.format_message() == 'there is no format "jsn". Did you mean "json"? Known: table, json.'


@pytest.mark.parametrize("text", ["1;2", "1,,2", "", "one"])
def test_fold_numbers_that_cannot_be_parsed_are_refused(text):
    with pytest.raises(SettingsError, match=f'--folds is "{text}": expected fold numbers separated by commas'):
        options.fold_numbers(text)


@pytest.mark.parametrize(
    ("name", "to_folder", "match"),
    [("table", True, "--format table is for the terminal only"), ("parquet", False, "--format parquet is a binary")],
)
def test_a_format_for_the_other_kind_of_output_is_refused(name, to_folder, match):
    with pytest.raises(SettingsError, match=match):
        options.result_format(name, to_folder=to_folder)


@pytest.mark.parametrize("command", ["main", *COMMANDS])
def test_debug_is_an_option_of_every_command_in_the_general_group(command):
    options_of = {option.name: option for option in (GROUP if command == "main" else COMMANDS[command]).params}
    assert options_of["debug"].opts == ["--debug"]
    assert options_of["debug"].rich_help_panel == "General"
    assert options_of["debug"].help == "Print the traceback of an error."
