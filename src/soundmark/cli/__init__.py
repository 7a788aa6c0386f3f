"""The command line: one file per command in ``commands``.

    arguments ─ app, options ─▶ commands/<name> ─▶ the library ─▶ console, tables, live_view

In reading order:

    shell           start and end of every command: signals, standard output, exit status
    help_page       the layout of --help
    app             the typer application, and what all commands share
    choices         names that options accept, with descriptions
    completion      shell completion of option values
    requirements    optional packages, checked before any work is done
    options         options that several commands share, and the parsing of their values
    console         results on standard output; messages, progress and the debug log on standard error
    table_layout    tables that fit the terminal
    tables          results, model cards and failures as text and tables
    live_view       live classification drawn in a terminal
    live_output     events of live classification: lines, saved clips, webhook, live view
    synthetic_demo  the demo: a synthetic data set, compared and classified
    commands        one file per command
"""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn


def main() -> None:
    """Run the command line and exit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_at_once)  # until the handlers of ``shell`` are loaded
    from soundmark.cli import shell

    shell.single_blas_thread()
    shell.run(_run_commands)


def _exit_at_once(number: int, _: object) -> NoReturn:
    os.write(2, b"soundmark: stopped. Finished work is kept: run the same command again to resume.\n")
    os._exit(128 + number)


def _run_commands(**settings: Any) -> Any:
    from soundmark.cli import commands

    return commands.app(**settings)
