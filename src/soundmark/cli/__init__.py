"""The command line: one file per command in ``commands``.

    arguments ─ app, options ─▶ commands/<name> ─▶ the library ─▶ console, tables, live_view

    shell           start and end of every command: signals, standard output, exit status
    app             the typer application, and what all commands share
    options         options that several commands share, and how their values are parsed
In reading order:

    console         results on standard output, messages and progress on standard error
    tables          tables for people
    live_view       live classification drawn in a terminal
    live_output     events of live classification: lines, saved clips, webhook, live view
    synthetic_demo  the demo: a synthetic city, compared and classified
    commands        one file per command
"""

from __future__ import annotations


def main() -> None:
    """Run the command line, and exit."""
    from soundmark.cli import commands, shell

    shell.run(commands.app)
