"""The held-out clips: FLAC files with word times, spoken once and shipped with the package."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from slm_lens.organism.corpus import (
    HELD_OUT_VOICE,
    TRAINING_VOICES,
    draw_voice,
    held_out_stories,
    speak_sentences,
)
from slm_lens.speech.alignment_files import write_alignment
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.speech.synthesis import EspeakSynthesizer, SpokenText

_VOICE_SEED = 5


def speak_held_out() -> Iterator[tuple[str, SpokenText]]:
    """Speak the held-out stories, every third in a voice that training never used.

    Yields:
        A name (number and voice) and the clip at 16 kHz.
    """
    synthesizer = EspeakSynthesizer()
    for number, story in enumerate(held_out_stories()):
        names = (HELD_OUT_VOICE,) if number % 3 == 2 else TRAINING_VOICES
        voice = draw_voice(np.random.default_rng([_VOICE_SEED, number]), names)
        clip = speak_sentences(synthesizer, story, voice, MfccKMeans.sample_rate_hz)
        yield f"{number:02d}-{voice.name.replace('+', '-')}", clip


def write_held_out(folder: Path) -> tuple[Path, ...]:
    """Write the held-out clips as sound files with word times.

    Args:
        folder: created if missing; gets ``NN-voice.flac`` and ``NN-voice.json`` (word times in
            slamkit's format) for each story.

    Returns:
        The sound files, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, clip in speak_held_out():
        path = folder / f"{name}.flac"
        soundfile.write(path, clip.waveform.numpy(), clip.sample_rate_hz, subtype="PCM_16")
        write_alignment(path.with_suffix(".json"), clip.alignment)
        paths.append(path)
    return tuple(paths)
