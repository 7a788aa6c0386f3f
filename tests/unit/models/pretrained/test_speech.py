"""Speech is found in real sounds; a message says what is missing without the weights."""

from pathlib import Path

import numpy as np
import pytest

from soundmark import audio
from soundmark.errors import WeightsError
from soundmark.models.pretrained.speech import SPEECH, SpeechDetector


@pytest.mark.slow
def test_speech_is_found_in_recordings_of_voices_and_not_in_those_of_machines(shared, mn04_weights):
    detector = SpeechDetector()
    clips = sorted((shared / "urbansound8k" / "flac").glob("fold*/*.flac"))

    def of_class(number: int, n: int) -> list[Path]:
        own = [path for path in clips if path.stem.split("-")[1] == str(number)]
        return own[:: len(own) // n][:n]

    voices, machines = of_class(2, 10), [*of_class(0, 5), *of_class(7, 5)]  # children playing; air conditioner, drill
    found = [detector.find(audio.read(path)) for path in voices]
    assert sum(label is not None for label in found) >= 8
    assert set(found) - {None} <= set(SPEECH)
    assert sum(detector.find(audio.read(path)) is not None for path in machines) <= 1


@pytest.mark.slow
def test_silence_is_no_speech(mn04_weights):
    assert SpeechDetector().find(audio.Sound(np.zeros(32_000, np.float32), 16_000)) is None


def test_without_the_weights_the_message_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("SOUNDMARK_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SOUNDMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="mn04"):
        SpeechDetector()
