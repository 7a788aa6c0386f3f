"""A small city that never was: ten classes of sound, synthesised in UrbanSound8K's own layout.

``write`` makes the data set of ``soundmark demo``. It is built like the real one: clips come from recordings, and a
recording has a voice (this dog, this engine, this street) that all its clips share, so that a random split leaks and
the folds do not. A sound is therefore a function of two generators: ``voice`` repeats its draws in every clip of a
recording, ``take`` never does. The functions speak of partials, noise bands, envelopes and formants, in NumPy only.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import ArrayLike, NDArray

from soundmark import audio, errors
from soundmark.runtime import atomic

Samples = NDArray[np.floating[Any]]  # float32 wherever it is long


Row = tuple[object, ...]  # of the table


Sound = Callable[[Generator, Generator, int], Samples]  # voice, take, length in samples


RATE_HZ = 22_050


FOLDS = 3


LONGEST_S = 4.0


VERSION = 1  # to be raised when a sound changes: it tells an older synthesis from this one


NEVER_WRITTEN = 2**31  # the number of a recording that no data set reaches


STAMP = "synthesis.json"


COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")


# --- What sounds are made of ------------------------------------------------------------------------------------------


def partials(pitch_hz: Samples, strengths: ArrayLike) -> Samples:
    """A harmonic tone that follows ``pitch_hz``: partial k has ``strengths[k - 1]``. One period is read at its pace."""
    period = np.fft.irfft(np.append(0, strengths) * -1j, 4096) * 2048
    phase = np.cumsum(pitch_hz, dtype=np.float64) / RATE_HZ
    return period.astype(np.float32)[(phase % 1 * 4096).astype(np.int64)]


def noise(rng: Generator, n: int, db_per_octave: float = 0.0) -> Samples:
    """Noise: white at 0 dB per octave, pink at −3, a rumble at −6; drawn as a spectrum, each bin by itself."""
    size = fast_size(n)
    spectrum = rng.standard_normal(size + 2, np.float32).view(np.complex64) * tilt(spectrum_hz(size), db_per_octave)
    return np.fft.irfft(spectrum, size)[:n].astype(np.float32) * np.float32(np.sqrt(size / 2))


def formants(samples: Samples, *peaks: tuple[float, float, float], floor: float = 0.02) -> Samples:
    """The sound through resonances, each (centre in Hz, half width in Hz, gain): a throat, a pipe, a casing."""
    size = fast_size(samples.size)
    hz = spectrum_hz(size)
    response = np.add.reduce([gain / (1 + ((hz - at) / width) ** 2) for at, width, gain in peaks]) + floor
    return np.fft.irfft(np.fft.rfft(samples, size) * response, size)[: samples.size].astype(np.float32)


def convolved(samples: Samples, answer: Samples) -> Samples:
    """The sound with each of its samples answered by ``answer``; what runs over the end is cut."""
    size = fast_size(samples.size + answer.size)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(answer, size)
    return np.fft.irfft(spectrum, size)[: samples.size].astype(np.float32)


def tilt(hz: Samples, db_per_octave: float) -> Samples:
    """The gain of a filter that falls or rises evenly about 500 Hz, flat below 40 Hz."""
    return (np.maximum(hz, 40) / 500) ** (db_per_octave / 6.02)


def spectrum_hz(size: int) -> Samples:
    """The frequency of each bin of a real spectrum of ``size`` samples."""
    return np.arange(size // 2 + 1, dtype=np.float32) * np.float32(RATE_HZ / size)


def fast_size(n: int) -> int:
    """A length from ``n`` up that the Fourier transform likes: many twos."""
    grain = 256 if n < 8192 else 4096
    return -(-n // grain) * grain


def drift(rng: Generator, n: int, low: float, high: float, turns_hz: float) -> Samples:
    """A curve that wanders between ``low`` and ``high``, turning about ``turns_hz`` times a second."""
    points = rng.uniform(low, high, max(2, int(n / RATE_HZ * turns_hz) + 2))
    return np.interp(np.linspace(0, points.size - 1, n), np.arange(points.size), points).astype(np.float32)


def swing(n: int, hz: float, depth: float, phase: float = 0.0) -> Samples:
    """An envelope that swings between ``1 − depth`` and 1, ``hz`` times a second."""
    return (1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * (hz * seconds(n) + phase)))).astype(np.float32)


def fade(n: int, attack_s: float, release_s: float) -> Samples:
    """An envelope that rises within ``attack_s`` and falls in the last ``release_s``."""
    t = seconds(n)
    return np.clip(np.minimum(t / attack_s, t[::-1] / release_s), 0, 1)


def decay(n: int, fall_s: float) -> Samples:
    """An envelope that starts at once and falls to 1/e in ``fall_s``."""
    return np.exp(-seconds(n) / np.float32(fall_s))


def seconds(n: int) -> Samples:
    """The time of each sample."""
    return np.arange(n, dtype=np.float32) / np.float32(RATE_HZ)


def samples_in(duration_s: float) -> int:
    """How many samples last ``duration_s``."""
    return max(1, round(duration_s * RATE_HZ))


def placed(n: int, events: Iterable[tuple[float, Samples]]) -> Samples:
    """Silence of length ``n`` with each event, (start in s, sound), laid into it; what runs over the end is cut."""
    out = np.zeros(n, np.float32)
    for start_s, sound in events:
        begin = round(start_s * RATE_HZ)
        piece = sound[: max(0, n - begin)]
        out[begin : begin + piece.size] += piece
    return out


def struck(n: int, times_s: Iterable[float], strengths: Iterable[float], hit: Samples) -> Samples:
    """One ``hit`` at each of many times: a train of impulses convolved with it."""
    clicks = ((at_s, np.array([strength], np.float32)) for at_s, strength in zip(times_s, strengths, strict=False))
    return convolved(placed(n, clicks), hit)


def at_level(samples: Samples, db: float = 0.0) -> Samples:
    """The sound brought to ``db`` where it sounds: the pauses between barks do not count."""
    sounding = np.abs(samples) > 0.1 * np.abs(samples).max()
    return samples * np.float32(10 ** (db / 20) / np.sqrt(np.mean(np.square(samples[sounding]))))


# --- The ten classes --------------------------------------------------------------------------------------------------


def air_conditioner(voice: Generator, take: Generator, n: int) -> Samples:
    """Rushing air in a casing, the hum of the mains in its motor, the slow beat of the fan."""
    air = formants(
        noise(take, n, -voice.uniform(2, 6)),
        (voice.uniform(80, 300), 90, 1.0),
        (voice.uniform(400, 1500), 500, voice.uniform(0.2, 0.9)),
        floor=0.1,
    )
    mains_hz = voice.choice([50.0, 60.0]) * voice.choice([1, 2])
    hum = partials(drift(take, n, mains_hz * 0.998, mains_hz * 1.002, 1), voice.uniform(0.2, 1, 6) / np.arange(1, 7))
    beat = swing(n, voice.uniform(0.5, 12), voice.uniform(0, 0.5), take.random())
    return at_level(air) * beat + voice.uniform(0.1, 1.2) * hum


def car_horn(voice: Generator, take: Generator, n: int) -> Samples:
    """Two reeds a third apart, rich in partials, switched on and off."""
    low_hz = voice.uniform(300, 520)
    strengths = 1 / np.arange(1, 13) ** voice.uniform(0.2, 1.2) * voice.uniform(0.3, 1, 12)
    honks, at_s, longest_s = [], take.uniform(0, 0.3), voice.uniform(0.4, 2)
    while at_s < n / RATE_HZ:
        length_s = take.uniform(0.15, longest_s)
        size = samples_in(length_s)
        pitch = low_hz * (1 - 0.03 * decay(size, 0.03))
        chord = partials(pitch, strengths) + partials(pitch * 1.26, strengths)
        honks.append((at_s, chord * fade(size, 0.015, 0.04)))
        at_s += length_s + take.uniform(0.1, 1.2)
    return placed(n, honks)


def children_playing(voice: Generator, take: Generator, n: int) -> Samples:
    """Many small voices: shouts that glide, in vowels of short throats, over a babble of syllables."""
    babble = formants(noise(take, n), (1100, 500, 1.0), (2900, 700, 0.6)) * drift(take, n, 0.1, 1, 8)
    shouts, busy = [], voice.uniform(1.5, 5)
    pitches_hz = voice.uniform(260, 650, 4)
    for _ in range(max(1, round(busy * n / RATE_HZ))):
        size = samples_in(take.uniform(0.15, 0.8))
        arch = np.sin(np.pi * np.linspace(0, 1, size)) * take.uniform(-0.1, 0.4)
        pitch = take.choice(pitches_hz) * take.uniform(0.85, 1.2) * (1 + arch) * drift(take, size, 0.97, 1.03, 12)
        first_hz, second_hz = [(450, 3200), (1100, 1700), (650, 1200), (700, 2600)][take.integers(4)]
        throat = formants(partials(pitch, 1 / np.arange(1, 16) ** 0.7), (first_hz, 150, 1), (second_hz, 250, 0.7))
        shouts.append((take.uniform(-0.1, n / RATE_HZ), throat * fade(size, 0.05, 0.1) * take.uniform(0.2, 1)))
    return placed(n, ((max(0, at), s) for at, s in shouts)) + voice.uniform(0.1, 0.6) * at_level(babble) * 0.2


def dog_bark(voice: Generator, take: Generator, n: int) -> Samples:
    """Bursts of a tenth of a second to a quarter, up and down in pitch, hoarse, with silence between."""
    pitch_hz, size = voice.uniform(300, 800), samples_in(voice.uniform(0.1, 0.26))
    throat_hz, hoarse = pitch_hz * voice.uniform(1.5, 2.6), voice.uniform(0.2, 0.9)
    pause_s, barks, at_s = voice.uniform(0.15, 0.8), [], take.uniform(0, 0.3)
    while at_s < n / RATE_HZ:
        arch = np.sin(np.pi * np.linspace(0, 1, size)) ** 0.7
        pitch = pitch_hz * take.uniform(0.9, 1.1) * (0.7 + 0.5 * arch).astype(np.float32)
        bark = partials(pitch, 1 / np.arange(1, 13) ** 0.5) + hoarse * noise(take, size)
        bark = formants(bark, (throat_hz, 300, 1), (throat_hz * 2.2, 500, 0.4)) * arch * fade(size, 0.008, 0.05)
        barks.append((at_s, bark.astype(np.float32) * take.uniform(0.5, 1)))
        at_s += size / RATE_HZ + pause_s * take.uniform(0.7, 1.8)
    return placed(n, barks)


def drilling(voice: Generator, take: Generator, n: int) -> Samples:
    """A motor that whines, gears and a bit that grinds the wall at 30 to 60 blows a second."""
    load = drift(take, n, 0.9, 1.05, 2) * (1 - 0.5 * decay(n, 0.12) * (take.random() < 0.5))
    whine = partials(voice.uniform(180, 600) * load, voice.uniform(0.1, 1, 14) / np.arange(1, 15) ** 0.5)
    blows = (0.5 + 0.5 * partials(voice.uniform(26, 60) * load, [1.0])) ** 2
    grind = formants(noise(take, n), *((voice.uniform(2000, 7000), voice.uniform(300, 900), 1.0) for _ in range(3)))
    return voice.uniform(0.1, 0.8) * at_level(whine) + at_level(grind) * (0.35 + blows)


def engine_idling(voice: Generator, take: Generator, n: int) -> Samples:
    """A low harmonic growl: cylinders fire 18 to 45 times a second, unevenly, in a resonating body."""
    fire_hz = voice.uniform(18, 45) * drift(take, n, 0.97, 1.03, 3)
    growl = partials(fire_hz / 2, voice.uniform(0.1, 1, 40) * np.where(np.arange(1, 41) % 2, 0.3, 1))
    body = formants(growl, (voice.uniform(50, 130), 40, 1), (voice.uniform(180, 500), 120, voice.uniform(0.1, 0.6)))
    hiss = noise(take, n, -voice.uniform(2, 6)) * (0.4 + 0.6 * np.square(partials(fire_hz / 2, [1.0])))
    return at_level(body) + voice.uniform(0.15, 1.0) * at_level(hiss)


def gun_shot(voice: Generator, take: Generator, n: int) -> Samples:
    """A crack, a boom, and what the houses send back; one shot or a burst."""
    size = samples_in(1.5)
    crack = noise(voice, size) * decay(size, voice.uniform(0.004, 0.02))
    boom = noise(voice, size, -6) * decay(size, voice.uniform(0.05, 0.25)) * voice.uniform(0.2, 0.8)
    echo = noise(voice, size, -4) * decay(size, voice.uniform(0.2, 0.7)) * voice.uniform(0.02, 0.12)
    if voice.random() < 0.6:
        times_s = take.uniform(0.02, 0.25) + np.cumsum(np.r_[0, voice.uniform(0.6, 2) * take.uniform(0.8, 1.5, 4)])
    else:
        times_s = take.uniform(0.02, 0.25) + np.arange(take.integers(2, 9)) / voice.uniform(6, 12)
    return struck(n, times_s[times_s < n / RATE_HZ], take.uniform(0.7, 1, 9), crack + boom + echo)


def jackhammer(voice: Generator, take: Generator, n: int) -> Samples:
    """Ten to twenty blows a second of steel on concrete, each a burst of noise that rings, over a compressor."""
    size, rate_hz = samples_in(0.2), voice.uniform(9, 18)
    ring = sum(np.sin(2 * np.pi * voice.uniform(700, 3500) * seconds(size)) for _ in range(4))
    hit = (noise(voice, size) + voice.uniform(0.1, 0.6) * ring) * decay(size, voice.uniform(0.008, 0.03))
    hit = formants(
        hit.astype(np.float32), *((voice.uniform(500, 3500), voice.uniform(200, 900), 1.0) for _ in range(3))
    )
    blows = int(n / RATE_HZ * rate_hz) + 1
    times_s = (np.arange(blows) + take.uniform(0, 0.12, blows)) / rate_hz
    blow = struck(n, times_s[times_s < n / RATE_HZ], take.uniform(0.6, 1, blows), hit)
    compressor = noise(take, n, -5) * drift(take, n, 0.7, 1, 4)
    return at_level(blow) + voice.uniform(0.05, 0.4) * at_level(compressor)


def siren(voice: Generator, take: Generator, n: int) -> Samples:
    """A tone that wails (up and down in seconds), yelps (the same, fast) or steps between two notes, near and far."""
    low_hz, kind, t = voice.uniform(420, 750), voice.integers(3), seconds(n) + take.uniform(0, 5)
    high_hz = low_hz * (voice.uniform(1.25, 1.4) if kind == 2 else voice.uniform(1.7, 2.4))
    if kind == 2:
        height = (t * voice.uniform(0.7, 1.6) % 1 > 0.5).astype(np.float32)
    else:
        height = 0.5 - 0.5 * np.cos(2 * np.pi * t * (voice.uniform(0.2, 0.5) if kind == 0 else voice.uniform(2, 4.5)))
    pitch = low_hz * (high_hz / low_hz) ** height * drift(take, n, 0.985, 1.015, 0.5)
    return partials(pitch, voice.uniform(0.3, 1, 6) / np.arange(1, 7)) * drift(take, n, 0.4, 1, 0.5)


def street_music(voice: Generator, take: Generator, n: int) -> Samples:
    """A melody on five notes over a bass, plucked or sung, with a beat, in a murmuring crowd."""
    scale = [0, 2, 4, 7, 9, 12, 14, 16]  # semitones
    beat_s, root_hz = voice.uniform(0.22, 0.5), voice.uniform(160, 330)
    strengths = voice.uniform(0.1, 1, 10) / np.arange(1, 11)
    fall_s, drum = voice.uniform(0.1, 1.2), voice.uniform(0.2, 0.9)
    hit = noise(voice, samples_in(0.15), voice.uniform(-6, 0)) * decay(samples_in(0.15), 0.03)
    events = []
    for beat, at_s in enumerate(np.arange(take.uniform(0, beat_s), n / RATE_HZ, beat_s)):
        size = samples_in(beat_s * take.choice([1, 2, 3]))
        pitch = root_hz * 2 ** (take.choice(scale) / 12) * (1 + 0.006 * np.sin(35 * seconds(size)))
        events.append((at_s, partials(pitch, strengths) * decay(size, fall_s) * fade(size, 0.01, 0.03)))
        if beat % 4 == 0:
            bass = partials(np.full(4 * size, root_hz / 2, np.float32), strengths[:5])
            events.append((at_s, bass * decay(4 * size, 0.6) * fade(4 * size, 0.01, 0.05)))
        if beat % 2:
            events.append((at_s, drum * hit))
    crowd = formants(noise(take, n), (500, 300, 1.0), (1500, 600, 0.5)) * drift(take, n, 0.3, 1, 5)
    return placed(n, events) + voice.uniform(0.05, 0.4) * 0.3 * at_level(crowd)


SOUNDS: dict[str, Sound] = {
    sound.__name__: sound
    for sound in (
        air_conditioner, car_horn, children_playing, dog_bark, drilling,
        engine_idling, gun_shot, jackhammer, siren, street_music,
    )
}  # fmt: skip


CLASSES = tuple(SOUNDS)
"""The classes in UrbanSound8K's order: a class's place is its ``classID``."""


BRIEF = ("car_horn", "dog_bark", "gun_shot")  # often cut short in the real data, too


PEAK_DB = {"air_conditioner": -20, "engine_idling": -12, "children_playing": -8, "street_music": -8}  # others: -3


# --- A clip: the sound in its street ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Take:
    """One clip of one recording."""

    samples: NDArray[np.float32]  # [n] at RATE_HZ
    salience: int  # UrbanSound8K's: 1 where the sound stands in front, 2 where the street is nearly as loud


def recorded(label: str, recording: Sequence[int], number: int) -> Take:
    """Take ``number`` of a recording: the sound, something else going on, the street, and the walls around them all."""
    class_id = CLASSES.index(label)
    place, voice, neighbour = default_rng([class_id, *recording]).spawn(3)
    take = default_rng([class_id, *recording, number])
    brief = label in BRIEF and place.random() < 0.6
    n = samples_in(take.uniform(0.5, 2.0) if brief else LONGEST_S)
    other = SOUNDS[CLASSES[(class_id + place.integers(1, len(CLASSES))) % len(CLASSES)]]
    other_db, street_db = place.uniform(-50, -20), place.uniform(-56, -26) + take.uniform(-3, 3)
    sound, neighbours = SOUNDS[label](voice, take, n), other(neighbour, take, n)
    street = noise(take, n, -place.uniform(2, 6)) * drift(take, n, 0.5, 1, 1)
    mixed = at_level(sound) + at_level(neighbours, other_db) + at_level(street, street_db)
    heard = convolved(mixed, walls(place))
    peak_db = PEAK_DB.get(label, -3) + place.uniform(-6, 0) + take.uniform(-2, 2)
    loudest = np.float32(10 ** (peak_db / 20)) / np.abs(heard).max()
    return Take((heard * loudest).astype(np.float32), 2 if max(other_db, street_db) > -30 else 1)


def walls(place: Generator) -> Samples:
    """What a place answers to a click: the click itself, then what its walls send back."""
    size = samples_in(0.6)
    answer = noise(place, size, place.uniform(-5, 0)) * decay(size, place.uniform(0.03, 0.2)) * place.uniform(0, 0.05)
    answer[0] += 1.0
    return answer


def synthesise(label: str, *, seed: int = 0) -> NDArray[np.float32]:
    """One clip of a class, float32 [n] at ``RATE_HZ``, from a recording of its own that ``write`` never uses.

    Raises:
        SettingsError: ``label`` is not one of ``CLASSES``.

    >>> synthesise("siren", seed=1).shape
    (88200,)
    """
    if label not in CLASSES:
        raise errors.unknown_name("class", label, CLASSES)
    return recorded(label, (seed, NEVER_WRITTEN), 0).samples


def unseen(path: str | os.PathLike[str], label: str, *, seed: int = 0) -> Path:
    """Write ``synthesise(label, seed=seed)`` to the WAV file ``path`` and return it.

    Raises:
        SettingsError: ``label`` is not one of ``CLASSES``.
        OutputError: the place cannot be written.

    >>> unseen(Path(tempfile.mkdtemp()) / "new.wav", "dog_bark").name
    'new.wav'
    """
    samples = synthesise(label, seed=seed)
    audio.write(path, samples, RATE_HZ)
    return Path(path)


# --- The data set -----------------------------------------------------------------------------------------------------


def write(
    folder: str | os.PathLike[str], *, recordings_per_class: int = 9, clips_per_recording: int = 3, seed: int = 0
) -> Path:
    """Synthesise the data set into ``folder``, in UrbanSound8K's layout, and return it: a root for ``Dataset.open``.

    The recordings of a class are dealt to three folds, and the first in each fold has one clip more than the others:
    300 clips by default. The same arguments give the same bytes. The folder appears whole or not at all; where it holds
    this very synthesis already, nothing is done.

    Raises:
        SettingsError: fewer than three recordings per class (one a fold), or no clip.
        OutputError: ``folder`` holds something else, or cannot be written.

    >>> root = write(Path(tempfile.mkdtemp()) / "city", recordings_per_class=3, clips_per_recording=1)
    >>> sorted(path.name for path in root.iterdir())
    ['audio', 'metadata', 'synthesis.json']
    """
    folder = Path(folder)
    if recordings_per_class < FOLDS or clips_per_recording < 1:
        raise errors.SettingsError(
            f"recordings_per_class={recordings_per_class} and clips_per_recording={clips_per_recording} make no "
            f"{FOLDS} folds: give at least {FOLDS} recordings (one a fold) of at least 1 clip."
        )
    plan = {"synthesis": VERSION, "seed": seed, "recordings": recordings_per_class, "clips": clips_per_recording}
    if _holds(folder, plan):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            whole = Path(temporary, folder.name)
            _fill(whole, recordings_per_class, clips_per_recording, seed)
            (whole / STAMP).write_text(json.dumps(plan), encoding="utf-8")
            if folder.exists():
                folder.rmdir()  # it is empty, and Windows renames onto nothing that is there
            whole.replace(folder)
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error
    return folder


def _holds(folder: Path, plan: dict[str, int]) -> bool:
    """Whether the folder holds this synthesis; False where there is nothing, an error where there is something else."""
    if folder.is_file():
        raise atomic.cannot_write(folder, FileExistsError())  # before the seconds that a synthesis takes
    if not folder.exists() or not any(folder.iterdir()):
        return False
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == json.dumps(plan):
        return True
    raise errors.OutputError(
        f'"{folder}" holds {"another synthesis" if stamp.is_file() else "something else"}, and nothing of it is '
        "overwritten. Remove it, or choose another folder."
    )


def _fill(root: Path, recordings: int, clips: int, seed: int) -> None:
    """Write every recording, and the table of them all."""
    rows: list[Row] = []
    for recording in range(recordings):
        for label in CLASSES:
            rows += _recording(root, label, recording, clips + (recording < FOLDS), seed)
    (root / "metadata").mkdir()
    with (root / "metadata" / "UrbanSound8K.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _recording(root: Path, label: str, recording: int, clips: int, seed: int) -> list[Row]:
    """Write the clips of one recording; returns their rows of the table."""
    rows: list[Row] = []
    class_id, fold, start_s = CLASSES.index(label), 1 + recording % FOLDS, 0.0
    fs_id, folder = 1000 * (class_id + 1) + recording, root / "audio" / f"fold{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    for occurrence in range(clips):
        take = recorded(label, (seed, recording), occurrence)
        name = f"{fs_id}-{class_id}-{occurrence}-0.wav"
        audio.write(folder / name, take.samples, RATE_HZ)
        stop_s = start_s + take.samples.size / RATE_HZ
        rows.append((name, fs_id, f"{start_s:.6f}", f"{stop_s:.6f}", take.salience, fold, class_id, label))
        start_s = stop_s + 1.0
    return rows
