"""A keyword set spoken by espeak-ng: twelve classes, two domains, and no voice in two splits.

The classes are those of Google Speech Commands (ten commands, "unknown", "silence"). A speaker is an accent,
a voice variant, a base rate and a base pitch; every take jitters rate and pitch. Whole families of voice
variants are held out, some for the validation split and others for the test split.

*clean* is a close microphone in a quiet room; *noisy* is the same task in the field: background noise,
reverberation, and a microphone behind a cover. A set is a pure function of its parameters and the seed,
whatever the number of workers, and is kept in the user's cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from odl.data import acoustics, cache, espeak
from odl.data.dataset import Dataset
from odl.data.mfcc import CLIP_SAMPLES, SAMPLE_RATE, mfcc
from odl.data.speech_commands import CLASSES, OTHER_WORDS, SILENCE, UNKNOWN
from odl.errors import InputError, MissingToolError

Progress = Callable[[int, int], None]
"""Called with (clips done, clips in all), always from the thread that asked for the set."""

ACCENTS = (
    "en-us", "en-us-nyc", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
    "en-029",
)  # fmt: skip

# espeak-ng's variants without whispers, robots and effects (croak, Demonic, zac, ...), without those whose
# first formant lies where no vocal tract puts it (kaukovalta, travis: half its frequency or less), and
# without those that sound bit for bit like another one (caleb and klatt6 like klatt, fast like Storm).
TRAIN_VARIANTS = (
    "adam", "Andrea", "anika", "antonio", "aunty", "belinda", "david", "Denis", "Diogo", "ed", "edward",
    "edward2", "f1", "gustave", "Henrique", "iven", "iven2", "iven3", "iven4", "john", "klatt", "klatt2",
    "klatt3", "klatt4", "klatt5", "linda", "m2", "m4", "m5", "Marco", "Mario", "max", "Michael", "michel",
    "Mike", "norbert", "pablo", "rob", "robert", "sandro", "steph", "steph2", "steph3",
)  # fmt: skip
VALIDATION_VARIANTS = (
    "Annie", "f3", "grandma", "Hugo", "Jacky", "m3", "m6", "m8", "marcelo", "miguel", "Nguyen", "pedro",
    "quincy", "shelby", "Storm", "victor",
)  # fmt: skip
"""The voices that the domains and the training settings were chosen on."""
# Drawn by a rule and not by ear, from voices that nothing had been chosen on: the families of TRAIN_VARIANTS and
# these, sorted, in the order of default_rng(0).permutation, each taken if it fits, until there are 16 voices.
TEST_VARIANTS = (
    "Alex", "Alicia", "Andy", "announcer", "benjamin", "boris", "f2", "f4", "f5", "Gene", "Gene2", "grandpa",
    "Lee", "m1", "m7", "paul",
)  # fmt: skip
"""The voices that only final figures are measured on."""
VARIANTS_OF_SPLIT: dict[str, tuple[str, ...]] = {
    "train": TRAIN_VARIANTS,
    "validation": VALIDATION_VARIANTS,
    "test": TEST_VARIANTS,
}
"""No voice variant is in two splits, nor are two members of one family."""


@dataclass(frozen=True)
class Domain:
    """How clips of one domain sound. Pairs are (lowest, highest) of a uniform distribution."""

    name: str
    signal_to_noise_db: tuple[float, float]
    reverberation_seconds: tuple[float, float] | None
    """Time in which the room's sound falls by 60 dB; None: no room."""
    reverberation_level: tuple[float, float]
    """Energy of the room's answer relative to the direct sound."""
    shift_seconds: float
    """The word is moved from the middle by up to this much, either way."""
    cover_hz: float | None
    """Corner of the low pass that a cover before the microphone makes (first order); None: no cover."""
    gain_db: tuple[float, float]
    """Level of the word's loudest sample below full scale."""


@dataclass(frozen=True)
class Split:
    """How many clips a split holds: speakers x classes x takes x renderings."""

    speakers: int
    takes: int
    """Rounds of each speaker: in a round every word is said once, at the round's own rate and pitch."""
    renderings: int
    """Times each take is played, each in another room with other noise."""

    @property
    def clips(self) -> int:
        """Clips in the split."""
        return self.speakers * len(CLASSES) * self.takes * self.renderings


DOMAINS = {
    "clean": Domain("clean", (30.0, 50.0), None, (0.0, 0.0), 0.05, None, (-6.0, 0.0)),
    "noisy": Domain("noisy", (15.0, 35.0), (0.1, 0.3), (0.05, 0.2), 0.1, 600.0, (-12.0, 0.0)),
}
SPLITS = {
    ("clean", "train"): Split(speakers=240, takes=1, renderings=1),
    ("clean", "validation"): Split(speakers=80, takes=1, renderings=1),
    ("clean", "test"): Split(speakers=80, takes=1, renderings=1),
    ("noisy", "train"): Split(speakers=600, takes=1, renderings=1),
    ("noisy", "validation"): Split(speakers=80, takes=1, renderings=4),
    ("noisy", "test"): Split(speakers=80, takes=1, renderings=4),
}
_FORMAT = 1
"""Part of the cache's key: raise it when the same parameters come to mean other clips."""
_SILENCE_POWER = 0.2
"""Root mean square of a usual word of peak 1: against it the noise is set where nobody speaks."""


@dataclass(frozen=True)
class _Round:
    """One speaker saying every word once: the word for "unknown", the voice, the seed of the renderings."""

    other_word: str
    voice: espeak.Voice
    seed: tuple[int, ...]


def load(domain: str, split: str, seed: int = 0, *, progress: Progress | None = None) -> Dataset:
    """The keyword set of a domain ("clean", "noisy") and a split, made once, then cached.

    x is float32 [N, 1, 49, 10] (normalised MFCC), y int64 [N]; the order is shuffled; the origin of a clip is
    its voice variant. InputError for an unknown domain or split, MissingToolError when espeak-ng is missing or
    lacks a voice.
    """
    if (domain, split) not in SPLITS:
        known = ", ".join(f"{d} {s}" for d, s in SPLITS)
        raise InputError(f"the keyword set has no domain {domain!r} with split {split!r}; there are: {known}")
    return load_domain(DOMAINS[domain], split, SPLITS[domain, split], seed, progress=progress)


def load_domain(
    sound: Domain, split: str, size: Split, seed: int = 0, *, progress: Progress | None = None
) -> Dataset:
    """As :func:`load`, of a domain and a size of one's own."""
    domain = sound.name
    parameters = {
        "format": _FORMAT,
        "domain": asdict(sound),
        "split": [split, asdict(size)],
        "seed": seed,
        "accents": ACCENTS,
        "variants": VARIANTS_OF_SPLIT[split],
        "words": [CLASSES, OTHER_WORDS],
        "espeak-ng": espeak.version(),
    }
    path = cache.entry(f"keywords-{domain}-{split}", parameters)
    stored = cache.read(path)
    if stored is None:
        stored = generate(sound, split, size, seed, progress=progress)
        cache.write(path, *stored)
    return Dataset(f"keywords-{domain} {split}", *stored, CLASSES, _voices(sound, split, size, seed))


def generate(
    domain: Domain,
    split: str,
    size: Split,
    seed: int,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Synthesise a set without the cache: x float32 [N, 1, 49, 10] and y int64 [N], see :func:`load`.

    `workers` is the number of threads (default: the CPUs); it does not change the result.
    """
    missing = sorted(set(VARIANTS_OF_SPLIT[split]) - espeak.installed_variants())
    if missing:
        raise MissingToolError(
            f"the installed espeak-ng {espeak.version()} lacks the voice variants {', '.join(missing)}; "
            "install version 1.51 or later with: sudo apt-get install espeak-ng espeak-ng-data"
        )
    rounds = _plan(domain, split, size, seed)

    def features(number: int) -> NDArray[np.float32]:
        return mfcc(np.stack(list(_render(rounds[number], domain, size.renderings))))

    parts: list[NDArray[np.float32]] = []
    # Threads suffice: espeak-ng is a process of its own, and NumPy releases the interpreter's lock.
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        try:
            for part in pool.map(features, range(len(rounds))):
                parts.append(part)
                if progress is not None:
                    progress(len(parts) * len(part), size.clips)
        finally:  # an error or Ctrl-C ends the work soon instead of after all rounds
            pool.shutdown(wait=False, cancel_futures=True)
    x = np.concatenate(parts)
    y = np.tile(np.repeat(np.arange(len(CLASSES)), size.renderings), len(rounds)).astype(np.int64)
    order = _order(domain, split, size, seed)
    return np.ascontiguousarray(x[order]), y[order]


def _order(domain: Domain, split: str, size: Split, seed: int) -> NDArray[np.int64]:
    """The shuffled order in which clips come, as indices [N] into the rounds' clips one after another."""
    return _generator(seed, domain, split, 1).permutation(size.clips)


def _voices(domain: Domain, split: str, size: Split, seed: int) -> NDArray[np.int64]:
    """For every clip [N] of a set, which variant of the split speaks it."""
    spoken = [VARIANTS_OF_SPLIT[split].index(each.voice.variant) for each in _plan(domain, split, size, seed)]
    clips = np.repeat(np.array(spoken, dtype=np.int64), size.clips // len(spoken))
    return clips[_order(domain, split, size, seed)]


def _generator(seed: int, domain: Domain, split: str, *more: int) -> np.random.Generator:
    """A random stream of its own for every (seed, domain, split, purpose ...)."""
    names = [int.from_bytes(text.encode(), "little") for text in (domain.name, split)]
    return np.random.default_rng([seed, *names, *more])


def _plan(domain: Domain, split: str, size: Split, seed: int) -> list[_Round]:
    """All rounds of all speakers; every voice variant speaks before one speaks twice."""
    rng = _generator(seed, domain, split, 0)
    variants = VARIANTS_OF_SPLIT[split]
    repeats = -(-size.speakers // len(variants))
    chosen = [variants[i] for _ in range(repeats) for i in rng.permutation(len(variants))]
    rounds: list[_Round] = []
    for variant in chosen[: size.speakers]:
        accent = ACCENTS[rng.integers(len(ACCENTS))]
        base_speed, base_pitch = rng.uniform(115.0, 200.0), rng.uniform(15.0, 85.0)
        for _ in range(size.takes):
            speed = round(base_speed * rng.uniform(0.9, 1.1))
            pitch = round(float(np.clip(base_pitch + rng.uniform(-8.0, 8.0), 0.0, 99.0)))
            other = OTHER_WORDS[rng.integers(len(OTHER_WORDS))]
            numbers = tuple(int(number) for number in rng.integers(2**32, size=4))
            rounds.append(_Round(other, espeak.Voice(accent, variant, speed, pitch), numbers))
    return rounds


def _render(spoken: _Round, domain: Domain, renderings: int) -> Iterator[NDArray[np.float64]]:
    """Clips [16000] of one round as the microphone hears them: class after class, all renderings of each."""
    rng = np.random.default_rng(spoken.seed)
    words = [spoken.other_word if name == UNKNOWN else name for name in CLASSES if name != SILENCE]
    speech = iter(espeak.synthesise(words, spoken.voice))
    for name in CLASSES:
        word = None if name == SILENCE else next(speech)
        for _ in range(renderings):
            yield _hear(word, domain, rng)


def _hear(word: NDArray[np.float64] | None, domain: Domain, rng: np.random.Generator) -> NDArray[np.float64]:
    """One clip [16000] of the word, or of nobody speaking: room, shift, noise, cover, level, full scale."""
    clip, power = np.zeros(CLIP_SAMPLES), _SILENCE_POWER
    if word is not None:
        power = acoustics.root_mean_square(word)
        start = (CLIP_SAMPLES - len(word)) // 2
        start += round(rng.uniform(-domain.shift_seconds, domain.shift_seconds) * SAMPLE_RATE)
        if domain.reverberation_seconds is not None:
            decay = rng.uniform(*domain.reverberation_seconds)
            level = rng.uniform(*domain.reverberation_level)
            word = acoustics.add_reverberation(word, decay, level, rng)
        clip = acoustics.place(word, start)
    noise_level = power * 10.0 ** (-rng.uniform(*domain.signal_to_noise_db) / 20.0)
    clip += noise_level * acoustics.coloured_noise(rng)
    if domain.cover_hz is not None:
        clip = acoustics.low_pass(clip, domain.cover_hz)
    gain = 10.0 ** (rng.uniform(*domain.gain_db) / 20.0)
    return np.asarray(np.clip(clip * gain, -1.0, 1.0))
