"""A small synthetic data set: the ten classes of UrbanSound8K, synthesised with NumPy and stored in its layout.

``write`` creates the data set of ``soundmark demo``. As in the real data set, several clips are cut from each
recording and share its characteristics (the same dog, the same engine, the same street). A random split therefore has
data leakage and the folds do not. Each sound is a function of two random generators: ``voice`` draws the parameters
that all clips of a recording share, ``take`` those that differ from clip to clip.
"""

from __future__ import annotations

import csv
import io
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
from soundmark.runtime.checks import is_file, is_folder

Samples = NDArray[np.floating[Any]]  # float32 for long arrays


Row = tuple[object, ...]  # a row of the metadata table


Sound = Callable[[Generator, Generator, int], Samples]  # voice, take, length in samples


RATE_HZ = 22_050


FOLDS = 3


MAX_CLIP_S = 4.0


VERSION = 1  # of the synthesis; increase it when a sound changes


UNSEEN_RECORDING = 2**31  # recording number that ``write`` never uses


STAMP = "synthesis.json"


COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")


# --- Building blocks --------------------------------------------------------------------------------------------------


def partials(pitch_hz: Samples, strengths: ArrayLike) -> Samples:
    """Generate a harmonic tone with pitch ``pitch_hz`` [n] by wavetable synthesis; ``strengths[k - 1]``: partial k."""
    period = np.fft.irfft(np.append(0, strengths) * -1j, 4096) * 2048
    phase = np.cumsum(pitch_hz, dtype=np.float64) / RATE_HZ
    return period.astype(np.float32)[(phase % 1 * 4096).astype(np.int64)]


def noise(rng: Generator, n: int, db_per_octave: float = 0.0) -> Samples:
    """Generate coloured noise (white: 0 dB per octave, pink: −3, brown: −6) by drawing each bin of its spectrum."""
    size = fast_size(n)
    spectrum = rng.standard_normal(size + 2, np.float32).view(np.complex64) * tilt(spectrum_hz(size), db_per_octave)
    return np.fft.irfft(spectrum, size)[:n].astype(np.float32) * np.float32(np.sqrt(size / 2))


def formants(samples: Samples, *peaks: tuple[float, float, float], floor: float = 0.02) -> Samples:
    """Filter a sound with resonances, each (centre in Hz, half width in Hz, gain)."""
    size = fast_size(samples.size)
    hz = spectrum_hz(size)
    response = np.add.reduce([gain / (1 + ((hz - at) / width) ** 2) for at, width, gain in peaks]) + floor
    return np.fft.irfft(np.fft.rfft(samples, size) * response, size)[: samples.size].astype(np.float32)


def convolve(samples: Samples, impulse_response: Samples) -> Samples:
    """Convolve a sound with an impulse response; the result has the length of the sound."""
    size = fast_size(samples.size + impulse_response.size)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(impulse_response, size)
    return np.fft.irfft(spectrum, size)[: samples.size].astype(np.float32)


def tilt(hz: Samples, db_per_octave: float) -> Samples:
    """Return the gain at frequencies ``hz`` of a spectral tilt: 1 at 500 Hz, constant below 40 Hz."""
    return (np.maximum(hz, 40) / 500) ** (db_per_octave / 6.02)


def spectrum_hz(size: int) -> Samples:
    """Return the frequency of each bin of the real FFT of ``size`` samples."""
    return np.arange(size // 2 + 1, dtype=np.float32) * np.float32(RATE_HZ / size)


def fast_size(n: int) -> int:
    """Return an FFT length of at least ``n`` with many factors of two."""
    multiple = 256 if n < 8192 else 4096
    return -(-n // multiple) * multiple


def drift(rng: Generator, n: int, low: float, high: float, turns_hz: float) -> Samples:
    """Return a random curve between ``low`` and ``high`` with about ``turns_hz`` random points per second."""
    points = rng.uniform(low, high, max(2, int(n / RATE_HZ * turns_hz) + 2))
    return np.interp(np.linspace(0, points.size - 1, n), np.arange(points.size), points).astype(np.float32)


def tremolo(n: int, hz: float, depth: float, phase: float = 0.0) -> Samples:
    """Return a sinusoidal envelope between ``1 − depth`` and 1 with frequency ``hz``."""
    return (1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * (hz * seconds(n) + phase)))).astype(np.float32)


def fade(n: int, attack_s: float, release_s: float) -> Samples:
    """Return an envelope that rises linearly in the first ``attack_s`` and falls in the last ``release_s`` seconds."""
    t = seconds(n)
    return np.clip(np.minimum(t / attack_s, t[::-1] / release_s), 0, 1)


def decay(n: int, fall_s: float) -> Samples:
    """Return an exponential envelope that falls from 1 to 1/e in ``fall_s`` seconds."""
    return np.exp(-seconds(n) / np.float32(fall_s))


def seconds(n: int) -> Samples:
    """Return the time of each sample in seconds."""
    return np.arange(n, dtype=np.float32) / np.float32(RATE_HZ)


def samples_in(duration_s: float) -> int:
    """Return the number of samples in ``duration_s`` seconds, at least 1."""
    return max(1, round(duration_s * RATE_HZ))


def mix_events(n: int, events: Iterable[tuple[float, Samples]]) -> Samples:
    """Mix sound events, each (onset in s, samples), into ``n`` samples; events are truncated at the end."""
    out = np.zeros(n, np.float32)
    for onset_s, sound in events:
        onset = round(onset_s * RATE_HZ)
        part = sound[: max(0, n - onset)]
        out[onset : onset + part.size] += part
    return out


def repeat_hit(n: int, times_s: Iterable[float], strengths: Iterable[float], hit: Samples) -> Samples:
    """Repeat the sound ``hit`` at the given times and strengths: an impulse train convolved with it."""
    impulses = ((at_s, np.array([strength], np.float32)) for at_s, strength in zip(times_s, strengths, strict=False))
    return convolve(mix_events(n, impulses), hit)


def at_level(samples: Samples, db: float = 0.0) -> Samples:
    """Scale a sound to the RMS level ``db`` (re 1), measured without its pauses."""
    active = np.abs(samples) > 0.1 * np.abs(samples).max()
    return samples * np.float32(10 ** (db / 20) / np.sqrt(np.mean(np.square(samples[active]))))


# --- The ten classes --------------------------------------------------------------------------------------------------


def air_conditioner(voice: Generator, take: Generator, n: int) -> Samples:
    """Filtered noise (air flow), mains hum of the motor, and the slow amplitude modulation of the fan."""
    air = formants(
        noise(take, n, -voice.uniform(2, 6)),
        (voice.uniform(80, 300), 90, 1.0),
        (voice.uniform(400, 1500), 500, voice.uniform(0.2, 0.9)),
        floor=0.1,
    )
    mains_hz = voice.choice([50.0, 60.0]) * voice.choice([1, 2])
    hum = partials(drift(take, n, mains_hz * 0.998, mains_hz * 1.002, 1), voice.uniform(0.2, 1, 6) / np.arange(1, 7))
    beat = tremolo(n, voice.uniform(0.5, 12), voice.uniform(0, 0.5), take.random())
    return at_level(air) * beat + voice.uniform(0.1, 1.2) * hum


def car_horn(voice: Generator, take: Generator, n: int) -> Samples:
    """Two harmonic tones a major third apart, switched on and off."""
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
    return mix_events(n, honks)


def children_playing(voice: Generator, take: Generator, n: int) -> Samples:
    """Shouts with gliding pitch and the formants of children's vowels, over babble noise."""
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
    return mix_events(n, ((max(0, at), s) for at, s in shouts)) + voice.uniform(0.1, 0.6) * at_level(babble) * 0.2


def dog_bark(voice: Generator, take: Generator, n: int) -> Samples:
    """Noisy harmonic bursts of 0.1 s to 0.26 s with rising and falling pitch, separated by silence."""
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
    return mix_events(n, barks)


def drilling(voice: Generator, take: Generator, n: int) -> Samples:
    """A harmonic motor whine and band-pass noise, modulated by 26 to 60 blows per second."""
    load = drift(take, n, 0.9, 1.05, 2) * (1 - 0.5 * decay(n, 0.12) * (take.random() < 0.5))
    whine = partials(voice.uniform(180, 600) * load, voice.uniform(0.1, 1, 14) / np.arange(1, 15) ** 0.5)
    blows = (0.5 + 0.5 * partials(voice.uniform(26, 60) * load, [1.0])) ** 2
    grind = formants(noise(take, n), *((voice.uniform(2000, 7000), voice.uniform(300, 900), 1.0) for _ in range(3)))
    return voice.uniform(0.1, 0.8) * at_level(whine) + at_level(grind) * (0.35 + blows)


def engine_idling(voice: Generator, take: Generator, n: int) -> Samples:
    """A low harmonic sound of 18 to 45 irregular cylinder firings per second, with body resonances and noise."""
    fire_hz = voice.uniform(18, 45) * drift(take, n, 0.97, 1.03, 3)
    growl = partials(fire_hz / 2, voice.uniform(0.1, 1, 40) * np.where(np.arange(1, 41) % 2, 0.3, 1))
    body = formants(growl, (voice.uniform(50, 130), 40, 1), (voice.uniform(180, 500), 120, voice.uniform(0.1, 0.6)))
    hiss = noise(take, n, -voice.uniform(2, 6)) * (0.4 + 0.6 * np.square(partials(fire_hz / 2, [1.0])))
    return at_level(body) + voice.uniform(0.15, 1.0) * at_level(hiss)


def gun_shot(voice: Generator, take: Generator, n: int) -> Samples:
    """A short crack, a low boom and an echo; single shots or a burst."""
    size = samples_in(1.5)
    crack = noise(voice, size) * decay(size, voice.uniform(0.004, 0.02))
    boom = noise(voice, size, -6) * decay(size, voice.uniform(0.05, 0.25)) * voice.uniform(0.2, 0.8)
    echo = noise(voice, size, -4) * decay(size, voice.uniform(0.2, 0.7)) * voice.uniform(0.02, 0.12)
    if voice.random() < 0.6:
        times_s = take.uniform(0.02, 0.25) + np.cumsum(np.r_[0, voice.uniform(0.6, 2) * take.uniform(0.8, 1.5, 4)])
    else:
        times_s = take.uniform(0.02, 0.25) + np.arange(take.integers(2, 9)) / voice.uniform(6, 12)
    return repeat_hit(n, times_s[times_s < n / RATE_HZ], take.uniform(0.7, 1, 9), crack + boom + echo)


def jackhammer(voice: Generator, take: Generator, n: int) -> Samples:
    """9 to 18 ringing noise bursts per second, over the noise of a compressor."""
    size, rate_hz = samples_in(0.2), voice.uniform(9, 18)
    ring = sum(np.sin(2 * np.pi * voice.uniform(700, 3500) * seconds(size)) for _ in range(4))
    hit = (noise(voice, size) + voice.uniform(0.1, 0.6) * ring) * decay(size, voice.uniform(0.008, 0.03))
    hit = formants(
        hit.astype(np.float32), *((voice.uniform(500, 3500), voice.uniform(200, 900), 1.0) for _ in range(3))
    )
    blows = int(n / RATE_HZ * rate_hz) + 1
    times_s = (np.arange(blows) + take.uniform(0, 0.12, blows)) / rate_hz
    blow = repeat_hit(n, times_s[times_s < n / RATE_HZ], take.uniform(0.6, 1, blows), hit)
    compressor = noise(take, n, -5) * drift(take, n, 0.7, 1, 4)
    return at_level(blow) + voice.uniform(0.05, 0.4) * at_level(compressor)


def siren(voice: Generator, take: Generator, n: int) -> Samples:
    """A tone that wails (slow sweep), yelps (fast sweep) or alternates between two pitches, at a varying level."""
    low_hz, kind, t = voice.uniform(420, 750), voice.integers(3), seconds(n) + take.uniform(0, 5)
    high_hz = low_hz * (voice.uniform(1.25, 1.4) if kind == 2 else voice.uniform(1.7, 2.4))
    if kind == 2:
        height = (t * voice.uniform(0.7, 1.6) % 1 > 0.5).astype(np.float32)
    else:
        height = 0.5 - 0.5 * np.cos(2 * np.pi * t * (voice.uniform(0.2, 0.5) if kind == 0 else voice.uniform(2, 4.5)))
    pitch = low_hz * (high_hz / low_hz) ** height * drift(take, n, 0.985, 1.015, 0.5)
    return partials(pitch, voice.uniform(0.3, 1, 6) / np.arange(1, 7)) * drift(take, n, 0.4, 1, 0.5)


def street_music(voice: Generator, take: Generator, n: int) -> Samples:
    """A pentatonic melody with bass and drums, over the noise of a crowd."""
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
    return mix_events(n, events) + voice.uniform(0.05, 0.4) * 0.3 * at_level(crowd)


SOUNDS: dict[str, Sound] = {
    sound.__name__: sound
    for sound in (
        air_conditioner, car_horn, children_playing, dog_bark, drilling,
        engine_idling, gun_shot, jackhammer, siren, street_music,
    )
}  # fmt: skip


CLASSES = tuple(SOUNDS)
"""The classes in UrbanSound8K's order: the index of a class is its ``classID``."""


SHORT = ("car_horn", "dog_bark", "gun_shot")  # classes with clips shorter than 4 s, as in UrbanSound8K


PEAK_DB = {"air_conditioner": -20, "engine_idling": -12, "children_playing": -8, "street_music": -8}  # others: -3


# --- Clips ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Take:
    """One clip of one recording."""

    samples: NDArray[np.float32]  # [n] at RATE_HZ
    salience: int  # as in UrbanSound8K: 1 = foreground, 2 = background (the ambient sound is nearly as loud)


def synthesise_take(label: str, recording: Sequence[int], number: int) -> Take:
    """Synthesise clip ``number`` of a recording: the sound, another sound event, street noise and reverberation."""
    class_id = CLASSES.index(label)
    site, voice, other_voice = default_rng([class_id, *recording]).spawn(3)
    take = default_rng([class_id, *recording, number])
    short = label in SHORT and site.random() < 0.6
    n = samples_in(take.uniform(0.5, 2.0) if short else MAX_CLIP_S)
    other = SOUNDS[CLASSES[(class_id + site.integers(1, len(CLASSES))) % len(CLASSES)]]
    other_db, street_db = site.uniform(-50, -20), site.uniform(-56, -26) + take.uniform(-3, 3)
    sound, other_sound = SOUNDS[label](voice, take, n), other(other_voice, take, n)
    street = noise(take, n, -site.uniform(2, 6)) * drift(take, n, 0.5, 1, 1)
    mixed = at_level(sound) + at_level(other_sound, other_db) + at_level(street, street_db)
    reverberant = convolve(mixed, room_response(site))
    peak_db = PEAK_DB.get(label, -3) + site.uniform(-6, 0) + take.uniform(-2, 2)
    gain = np.float32(10 ** (peak_db / 20)) / np.abs(reverberant).max()
    return Take((reverberant * gain).astype(np.float32), 2 if max(other_db, street_db) > -30 else 1)


def room_response(site: Generator) -> Samples:
    """Return the impulse response of a recording site: the direct sound and its reverberation."""
    size = samples_in(0.6)
    response = noise(site, size, site.uniform(-5, 0)) * decay(size, site.uniform(0.03, 0.2)) * site.uniform(0, 0.05)
    response[0] += 1.0
    return response


def synthesise(label: str, *, seed: int = 0) -> NDArray[np.float32]:
    """Synthesise one clip of a class, float32 [n] at ``RATE_HZ``, from a recording that ``write`` never uses.

    Raises:
        SettingsError: ``label`` is not one of ``CLASSES``.

    >>> synthesise("siren", seed=1).shape
    (88200,)
    """
    if label not in CLASSES:
        raise errors.unknown_name("class", label, CLASSES)
    return synthesise_take(label, (seed, UNSEEN_RECORDING), 0).samples


def unseen(path: str | os.PathLike[str], label: str, *, seed: int = 0) -> Path:
    """Write ``synthesise(label, seed=seed)`` to the WAV file ``path`` and return it.

    Raises:
        SettingsError: ``label`` is not one of ``CLASSES``.
        OutputError: the file cannot be written.

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
    """Synthesise the data set into ``folder`` in UrbanSound8K's layout; return ``folder``, for ``Dataset.open``.

    The recordings of a class are distributed over three folds, and the first recording in each fold has one clip more
    than the others: 300 clips by default. The same arguments give identical files. The folder is created completely or
    not at all; if it already contains this data set, nothing is done.

    Raises:
        SettingsError: fewer than three recordings per class (one per fold), or no clips.
        OutputError: ``folder`` contains other files or cannot be written.

    >>> root = write(Path(tempfile.mkdtemp()) / "city", recordings_per_class=3, clips_per_recording=1)
    >>> sorted(path.name for path in root.iterdir())
    ['audio', 'metadata', 'synthesis.json']
    """
    folder = Path(folder)
    if recordings_per_class < FOLDS or clips_per_recording < 1:
        raise errors.SettingsError(
            f"recordings_per_class={recordings_per_class} and clips_per_recording={clips_per_recording} are too few "
            f"for {FOLDS} folds: expected at least {FOLDS} recordings per class (one per fold) and 1 clip each."
        )
    settings = {"synthesis": VERSION, "seed": seed, "recordings": recordings_per_class, "clips": clips_per_recording}
    if _contains(folder, settings):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            complete = Path(temporary, folder.name)
            _write_all(complete, recordings_per_class, clips_per_recording, seed)
            atomic.write_text(complete / STAMP, json.dumps(settings))
            if folder.exists():
                folder.rmdir()  # it is empty; Windows cannot rename to an existing folder
            complete.replace(folder)
    except OSError as error:
        raise atomic.cannot_write(folder, error) from error
    return folder


def _contains(folder: Path, settings: dict[str, int]) -> bool:
    """Return whether the folder contains this data set; False if it is empty, an error if it has other files."""
    if is_file(folder):
        raise atomic.cannot_write(folder, FileExistsError())  # fail before the synthesis, which takes seconds
    if not is_folder(folder) or not any(folder.iterdir()):
        return False
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == json.dumps(settings):
        return True
    content = "a synthetic data set with other settings" if stamp.is_file() else "other files"
    raise errors.OutputError(
        f'"{folder}" contains {content}, which soundmark does not overwrite. Remove it, or choose another folder.'
    )


def _write_all(root: Path, recordings: int, clips: int, seed: int) -> None:
    """Write the clips of all recordings and the metadata table."""
    rows: list[Row] = []
    for recording in range(recordings):
        for label in CLASSES:
            rows += _write_recording(root, label, recording, clips + (recording < FOLDS), seed)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([COLUMNS, *rows])
    atomic.write_text(root / "metadata" / "UrbanSound8K.csv", table.getvalue())


def _write_recording(root: Path, label: str, recording: int, clips: int, seed: int) -> list[Row]:
    """Write the clips of one recording; return their rows of the metadata table."""
    rows: list[Row] = []
    class_id, fold, start_s = CLASSES.index(label), 1 + recording % FOLDS, 0.0
    fs_id, folder = 1000 * (class_id + 1) + recording, root / "audio" / f"fold{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    for occurrence in range(clips):
        take = synthesise_take(label, (seed, recording), occurrence)
        name = f"{fs_id}-{class_id}-{occurrence}-0.wav"
        audio.write(folder / name, take.samples, RATE_HZ)
        stop_s = start_s + take.samples.size / RATE_HZ
        rows.append((name, fs_id, f"{start_s:.6f}", f"{stop_s:.6f}", take.salience, fold, class_id, label))
        start_s = stop_s + 1.0
    return rows
