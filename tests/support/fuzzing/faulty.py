"""A target with known faults: each input has one of them, and the runner must report it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

import numpy as np

from soundmark.errors import AudioError, SoundmarkError
from support.fuzzing.target import Beat, Case, Target, WrongAnswerError


class RawError(SoundmarkError):
    """An error whose message is not made one printable line."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


FAULTS = ("none", "refused", "lines", "long", "nameless", "error", "answer", "crash", "hang", "memory", "exit")


class Faulty(Target):
    """The content of the file is the name of a fault."""

    name = "faulty"

    def seeds(self) -> list[Case]:
        return [Case({"in.txt": b""}, "in.txt")]

    def mutated(self, seed: Case, rng: Random) -> Case:
        return seed.with_data(rng.choice(FAULTS).encode())

    def check(self, path: Path, rng: Random, beat: Beat) -> None:
        match path.read_text():
            case "refused":
                raise AudioError("in.txt is refused.")
            case "lines":
                raise RawError("in.txt is\nrefused.")
            case "long":
                raise RawError("in.txt is refused." * 100)
            case "nameless":
                raise AudioError("it is refused.")
            case "error":
                raise KeyError("x")
            case "answer":
                raise WrongAnswerError("two and two are five")
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                beat("wait")
                stop_s = time.process_time() + 100
                while time.process_time() < stop_s:
                    pass
            case "memory":
                np.ones(80_000_000)
            case "exit":
                os._exit(3)
