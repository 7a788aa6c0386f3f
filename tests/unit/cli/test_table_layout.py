"""Tables in terminals of different widths."""

import pytest
from rich.console import Console

from soundmark.cli import console, table_layout
from soundmark.cli.table_layout import Column, print_table

COLUMNS = (Column("file", "path"), Column("class"), Column("score", "number"), Column("", "bar"))
LONG = "recordings/2024-06-12/street_recording_0001.wav"


@pytest.fixture
def printed(monkeypatch, capsys):
    """Return a function that prints a table in a terminal of a given width and returns its lines."""

    def lines(width, *rows, columns=COLUMNS):
        monkeypatch.setattr(table_layout, "out", Console(width=width, highlight=False))
        print_table(columns, rows)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return lines


def test_everything_is_on_one_line_where_there_is_room(printed):
    assert printed(83, (LONG, "Reversing beeps", "0.912", 0.5), ("", "siren", "0.050", 0.05)) == [
        "file                                             class            score",
        f"{LONG}  Reversing beeps  0.912  █████",
        "                                                 siren            0.050",
    ]


def test_bars_are_left_out_where_they_would_be_too_short(printed):
    assert "█" in "".join(printed(78, (LONG, "Reversing beeps", "0.912", 1.0)))
    assert "█" not in "".join(printed(77, (LONG, "Reversing beeps", "0.912", 1.0)))


def test_paths_are_wrapped_after_a_slash_before_text_is_wrapped(printed):
    assert printed(60, (LONG, "Reversing beeps", "0.912", 0.5)) == [
        "file                       class            score",
        "recordings/2024-06-12/     Reversing beeps  0.912  ████",
        "street_recording_0001.wav",
    ]


def test_text_is_wrapped_between_words(printed):
    assert printed(44, (LONG, "Reversing beeps", "0.912", 0.5))[1:3] == [
        "recordings/2024-06-12/     Reversing   0.912",
        "street_recording_0001.wav  beeps",
    ]


def test_headings_of_numbers_are_wrapped_and_numbers_are_not(printed):
    columns = [Column("class"), Column("average precision %", "number"), Column("clips", "number")]
    assert printed(30, ("siren", "81.2", "1,000"), columns=columns)[-1].split() == ["siren", "81.2", "1,000"]


@pytest.mark.parametrize("width", [20, 40, 79, 80, 81])
def test_messages_in_a_terminal_are_wrapped_between_words(width, monkeypatch, capsys):
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, width=width, highlight=False))
    text = f'"{LONG}" is truncated: 11003 of the 22050 bytes declared in its header are present.\nSecond line'
    console.say(text)
    lines = capsys.readouterr().err.splitlines()
    assert [word for line in lines for word in line.split()] == text.split()
    assert all(len(line) <= max(width, len(LONG) + 2) for line in lines)
    assert lines[-1] in ("Second line", "line")


def test_messages_elsewhere_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(console, "err", Console(stderr=True, width=20, highlight=False))
    console.say(50 * "word ")
    assert capsys.readouterr().err.count("\n") == 1
