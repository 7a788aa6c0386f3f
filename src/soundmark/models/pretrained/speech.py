"""Whether a sound contains speech, by the pretrained model ``audioset``: so that nobody's words are kept."""

from __future__ import annotations

from soundmark.audio import Sound
from soundmark.errors import WeightsError
from soundmark.models.pretrained import named_models

SPEECH = (
    "Speech",
    "Male speech, man speaking",
    "Female speech, woman speaking",
    "Child speech, kid speaking",
    "Conversation",
    "Narration, monologue",
    "Babbling",
    "Speech synthesizer",
    "Whispering",
    "Hubbub, speech noise, speech babble",
)
"""AudioSet's class "Speech" with those below it, and whispering and babble."""


class SpeechDetector:
    """Finds speech with the pretrained model ``audioset``, at the thresholds of ``classify``.

    Raises:
        WeightsError: the weights of the model are missing and cannot be downloaded.
    """

    def __init__(self) -> None:
        try:
            self._model = named_models.load(named_models.PRETRAINED[0], classes=SPEECH)
        except WeightsError as error:
            reason = str(error).partition(" A recipe that needs no weights")[0]
            raise WeightsError(f"speech is detected with the model audioset, and {reason}") from error

    def find(self, sound: Sound) -> str | None:
        """Return the class of speech with the highest probability in any window of a sound; None if none is detected.

        Raises:
            AudioError: the samples are not finite, or there are none.
        """
        found = self._model.scores(sound.samples, sound.rate_hz).probabilities.max(axis=0)
        best = int(found.argmax())
        thresholds = self._model.threshold()
        return self._model.classes[best] if found[best] >= thresholds[best] else None
