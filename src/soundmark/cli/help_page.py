"""The layout of ``--help``: options in named groups, one column for names and one for descriptions, then examples.

Typer's own layout draws a box with up to six columns per group, which leaves 20 characters for the descriptions in a
terminal of 80 columns.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from soundmark.cli import shell
from soundmark.runtime.text import aligned

OPTION_GROUPS = ("Input", "Training", "Evaluation", "Detection", "Network", "Limits", "Output", "General")
"""The groups of options in the order of the page. An option names its group as ``rich_help_panel``."""


NAME_COLUMNS = 24  # the description of a longer name starts on the next line


NO_BREAK_SPACE = "\xa0"


Rows = Sequence[tuple[str, str]]


def page_end(examples: Iterable[str], **choices: Mapping[str, str]) -> str:
    """Return the end of a help page: the names that options accept, by title, and examples.

    >>> print(page_end(["soundmark show model.onnx"], Formats={"table": "a table", "json": "JSON"}))
    Formats:
      table  a table
      json   JSON
    <BLANKLINE>
    Examples:
      soundmark show model.onnx
    """
    lists = [(f"{title}:", aligned([*names.items()], left=2)) for title, names in choices.items()]
    lists.append(("Examples:", list(examples)))
    return "\n\n".join("\n  ".join([title, *lines]) for title, lines in lists)


class Command(TyperCommand):
    """A command with the options ``--verbose`` and ``--debug`` and this layout of its help."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.params += [_verbose_option(), _debug_option()]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        _write_page(self, ctx, formatter)


class CommandGroups(TyperGroup):
    """All commands; the help page lists them in ``groups``, by title."""

    groups: Mapping[str, Sequence[str]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params += [_verbose_option(), _debug_option()]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        texts = {name: self.commands[name].get_short_help_str(limit=80) for name in self.list_commands(ctx)}
        lists = {title: [(name, texts[name]) for name in names] for title, names in self.groups.items()}
        _write_page(self, ctx, formatter, lists)


def _write_page(
    command: Command | CommandGroups, ctx: Any, formatter: Any, lists: Mapping[str, Rows] | None = None
) -> None:
    """Write usage, description, ``lists``, options in groups, and the end of the page, which keeps its line breaks."""
    command.format_usage(ctx, formatter)
    command.format_help_text(ctx, formatter)
    _write_lists(formatter, lists or {})
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in OPTION_GROUPS}
    for parameter in sorted(command.get_params(ctx), key=_is_option):
        if record := parameter.get_help_record(ctx):
            name, text = record[0], record[1].replace("\\[", "[")  # typer 0.15 escapes it, for rich
            if not _is_option(parameter):
                text = text.removesuffix("[required]").rstrip()  # the usage shows it
            groups[getattr(parameter, "rich_help_panel", None) or "General"].append((name, text))
    _write_lists(formatter, groups)
    if command.epilog:
        formatter.write("\n" + "\n".join(map(_heading, command.epilog.splitlines())) + "\n")


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _write_lists(formatter: Any, lists: Mapping[str, Rows]) -> None:
    """Write lists of names and descriptions; the descriptions of all lists start in the same column."""
    width = max((len(name) for rows in lists.values() for name, _ in rows if len(name) <= NAME_COLUMNS), default=0)
    for title, rows in lists.items():
        if rows:
            formatter.write(f"\n{_heading(f'{title}:')}\n")
        for name, text in rows:
            lines = _wrapped(text, formatter.width - width - 4)
            if len(name) > width:
                lines.insert(0, "")
            for left, line in zip_longest([name], lines, fillvalue=""):
                formatter.write(f"  {left:{width}}  {line}".rstrip() + "\n")


def _wrapped(text: str, width: int) -> list[str]:
    """The lines of a description; neither a word with hyphens nor "[default: …]" is broken."""
    text = re.sub(r"\[default: \((.*)\)\]", r"[default: \1]", text)  # click puts a description in parentheses
    text = re.sub(r"\[.*\]$", lambda match: match[0].replace(" ", NO_BREAK_SPACE), text)
    lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    return [line.replace(NO_BREAK_SPACE, " ") for line in lines] or [""]


def _heading(line: str) -> str:
    """The line, in bold if it is a heading and standard output is a terminal."""
    is_heading = line.endswith(":") and not line.startswith(" ")
    return f"\x1b[1m{line}\x1b[0m" if is_heading and sys.stdout and sys.stdout.isatty() else line


def _verbose_option() -> TyperOption:
    def show_debug_log(ctx: Any, _: object, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            from soundmark.cli import console  # loads rich: only where it is needed

            console.show_debug_log()

    return TyperOption(
        param_decls=["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        callback=show_debug_log,
        help="Print a debug log on standard error.",
        rich_help_panel="General",
    )


def _debug_option() -> TyperOption:
    def show_tracebacks(ctx: Any, _: object, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            shell.show_tracebacks()

    return TyperOption(
        param_decls=["--debug"],
        is_flag=True,
        is_eager=True,  # before the other options are parsed: it concerns their errors as well
        expose_value=False,
        callback=show_tracebacks,
        help="Print the traceback of an error.",
        rich_help_panel="General",
    )
