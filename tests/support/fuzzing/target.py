"""What a fuzzing target is: seeds, a mutation, and a check that tells a valid result from a wrong one."""

from __future__ import annotations

import os
import shutil
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import ClassVar

import numpy as np

from soundmark import errors
from soundmark.errors import SoundmarkError

MESSAGE_CHARS = errors.MAX_CHARS

Beat = Callable[[str], None]
"""Called before each step of a check with its name: the limit on time is that of a step."""


class WrongAnswerError(AssertionError):
    """A result that is invalid, or differs from another one that must be equal."""


@dataclass(frozen=True)
class Case:
    """An input: the files by relative path, the one that is opened ("": the folder), and links and pipes."""

    files: Mapping[str, bytes]
    main: str
    links: Mapping[str, str] = field(default_factory=dict)  # the target of each link; "|" makes a pipe

    @property
    def data(self) -> bytes:
        return self.files[self.main]

    def with_data(self, data: bytes) -> Case:
        return replace(self, files={**self.files, self.main: data})

    def write(self, folder: Path) -> Path:
        """Write the files to an empty folder; return the path that is opened."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, goal in self.links.items():
            if goal == "|":
                os.mkfifo(folder / name)
            else:
                (folder / name).symlink_to(goal)
        return folder / self.main if self.main else folder


class Target(ABC):
    """One kind of input."""

    name: ClassVar[str]
    is_text: ClassVar[bool] = False  # whether deleted pieces of an input leave a similar input, so that it is minimised

    @abstractmethod
    def seeds(self) -> list[Case]:
        """Valid inputs."""

    @abstractmethod
    def mutated(self, seed: Case, rng: Random) -> Case:
        """A changed copy of a seed."""

    @abstractmethod
    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        """Open the input, use it, and check each result.

        Raises:
            SoundmarkError: the input was refused.
            WrongAnswerError: a result is invalid. Any other exception is a finding, too.
        """

    def names(self, path: Path) -> tuple[str, ...]:
        """The names of the input, one of which each message must contain."""
        return (path.name,)


def message_fault(error: SoundmarkError, names: tuple[str, ...]) -> str | None:
    """Describe why the message of a refusal is not one short printable line that names the input; None if it is."""
    message = str(error)
    if not message.strip():
        return "the message is empty"
    if len(message) > MESSAGE_CHARS:
        return "the message is too long"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in message):
        return "the message is not one printable line"
    if names and not any(name in message for name in names):
        return "the message does not name the input"
    return None


def expect(condition: bool, problem: str) -> None:
    """Raise ``WrongAnswerError`` unless a condition is met."""
    if not condition:
        raise WrongAnswerError(problem)


def expect_equal(first: np.ndarray, second: np.ndarray, what: str) -> None:
    """Raise ``WrongAnswerError`` unless two arrays are equal bit for bit."""
    expect(
        first.shape == second.shape and first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True),
        f"{what}: {first.shape} and {second.shape}",
    )
