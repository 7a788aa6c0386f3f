"""The message of an exception is one printable line of bounded length, whatever it quotes from a file."""

import pickle

import pytest

from soundmark.errors import MAX_CHARS, AudioError, DatasetError, SettingsError, SoundmarkError, unknown_name


@pytest.mark.parametrize(
    ("quoted", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("a\r\tb", "a\\r\\tb"),
        ("\x1b[31mred\x00", "\ufffd[31mred\ufffd"),
        ("\u2028\u202edrow\udcff", "\ufffd\ufffddrow\ufffd"),
        ("dég 👨‍👩‍👧 犬", "dég 👨‍👩‍👧 犬"),
    ],
)
def test_a_message_is_one_printable_line(quoted, shown):
    assert str(DatasetError(f'label "{quoted}" is not a class.')) == f'label "{shown}" is not a class.'


def test_a_long_message_keeps_what_and_where_and_what_to_do():
    message = str(SettingsError(f'epochs of "mine.toml" is {"9" * 5000}: expected a whole number from 1 to 100.'))
    assert len(message) == MAX_CHARS
    assert message.startswith('epochs of "mine.toml" is 999')
    assert message.endswith("999: expected a whole number from 1 to 100.")
    assert "9 … 9" in message


def test_an_unknown_name_of_any_length_and_content_is_one_short_line():
    message = str(unknown_name("class", "x\n" * 50_000, ["dog"]))
    assert len(message) <= MAX_CHARS
    assert "\n" not in message


def test_exceptions_without_a_message_and_across_processes():
    assert str(SoundmarkError()) == ""
    again = pickle.loads(pickle.dumps(AudioError("a\nb")))  # noqa: S301 - as between the processes of a pool
    assert (type(again), str(again)) == (AudioError, "a\\nb")
