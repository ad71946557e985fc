"""Training stories, spoken one after the other, with the times of their words."""

from collections.abc import Iterable, Iterator

import numpy as np

from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import (
    TRAINING_VOICES,
    draw_voice,
    speak_sentences,
    training_story,
)
from slm_lens.organism.language import vocabulary
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.speech.synthesis import EspeakSynthesizer
from slm_lens.speech.units import Units

_VOICE_SEED = 8


def speak_stories(
    model: HookedSLM, numbers: Iterable[int]
) -> Iterator[tuple[str, Units, Alignment]]:
    """Speak training stories, 14 ms each.

    Args:
        model: an organism.
        numbers: of the stories; no story has a sentence of a held-out one.

    Yields:
        Name, units and words of each, as clips of a folder have them.

    Raises:
        ValueError: the model does not know the organism's words or units.
        ImportError: espeak-ng is not installed.
    """  # noqa: DOC502 (ImportError is raised by the synthesizer)
    known = model.tokenizer.get_vocab() if model.tokenizer is not None else {}
    unknown = [w for w in vocabulary() if f" {w}" not in known]
    tokenizer = model.unit_tokenizer if hasattr(model, "unit_tokenizer") else None
    if unknown or not isinstance(tokenizer, MfccKMeans):
        raise ValueError(
            f"speak_stories: {model.provenance.model_and_family} has no tokens for {unknown[:4]} "
            f"and the unit tokenizer {type(tokenizer).__name__}, expected an organism, with its "
            "words and MfccKMeans. Give other models a folder of clips."
        )
    synthesizer = EspeakSynthesizer()
    for number in numbers:
        voice = draw_voice(np.random.default_rng([_VOICE_SEED, number]), TRAINING_VOICES)
        story = training_story(number, spoken=True)
        clip = speak_sentences(synthesizer, story, voice, tokenizer.sample_rate_hz)
        yield f"story {number}", tokenizer.encode(clip.waveform), clip.alignment
