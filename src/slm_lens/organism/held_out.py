"""The held-out clips: FLAC files with word times, spoken once and shipped with the package."""

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
from slm_lens.speech.synthesis import EspeakSynthesizer

_VOICE_SEED = 5


def write_held_out(folder: Path) -> tuple[Path, ...]:
    """Speak the held-out stories, a third of them in a voice that training never used.

    Args:
        folder: created if missing; gets ``NN-voice.flac`` and ``NN-voice.json`` (word times in
            slamkit's format) for each story.

    Returns:
        The sound files, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    synthesizer = EspeakSynthesizer()
    paths = []
    for number, story in enumerate(held_out_stories()):
        generator = np.random.default_rng([_VOICE_SEED, number])
        names = (HELD_OUT_VOICE,) if number % 3 == 2 else TRAINING_VOICES
        voice = draw_voice(generator, names)
        clip = speak_sentences(synthesizer, story, voice, MfccKMeans.sample_rate_hz)
        path = folder / f"{number:02d}-{voice.name.replace('+', '-')}.flac"
        soundfile.write(path, clip.waveform.numpy(), clip.sample_rate_hz, subtype="PCM_16")
        write_alignment(path.with_suffix(".json"), clip.alignment)
        paths.append(path)
    return tuple(paths)
