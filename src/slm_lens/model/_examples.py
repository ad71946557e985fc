"""One short prompt of each kind that a model reads, to look at."""

from collections.abc import Callable

import torch

from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units

WORDS = ("it", "is")
UNITS_OF_A_WORD = 1
# Where a family does not say its rate. It places example words and nothing else.
ANY_RATE_HZ = 25.0


def example_prompts(model: HookedSLM) -> dict[str, Callable[[], SpeechTextSequence]]:
    """Prompts of two words, by kind, ready to be made; those that the model's vocabulary allows.

    Args:
        model: the model.

    Returns:
        Functions without arguments, under ``speech only``, ``text only``, ``interleaved``, and
        ``chat in speech``, ``chat in text`` for models that know turns.
    """
    speech, alignment = _spoken_words(model)
    made: dict[str, Callable[[], SpeechTextSequence]] = {
        "speech only": lambda: model.sequence_from_units(speech)
    }
    if model.vocab.text:
        made["text only"] = lambda: model.sequence_from_text(" ".join(WORDS))
        made["interleaved"] = lambda: model.sequence_interleaved(
            speech, alignment, spoken=(False, True)
        )
    if "speech" in model.prompt_format.chat:
        made["chat in speech"] = lambda: model.sequence_from_units(speech, chat=True)
    if "text" in model.prompt_format.chat:
        made["chat in text"] = lambda: model.sequence_from_text(" ".join(WORDS), chat=True)
    return made


def _spoken_words(model: HookedSLM) -> tuple[dict[str, Units], Alignment]:
    """Units 0, 1, ... of every stream for the example words, and when the words are spoken."""
    described = model.vocab_spec.streams if model.vocab_spec else {}
    rates_hz = {
        name: float((described[name].frame_rate_hz if name in described else None) or ANY_RATE_HZ)
        for name in model.vocab.streams
    }
    word_s = UNITS_OF_A_WORD / rates_hz["units"]
    speech = {}
    for name, rate_hz in rates_hz.items():
        n_frames = max(1, round(word_s * len(WORDS) * rate_hz))
        speech[name] = Units(
            ids=torch.arange(n_frames) % model.vocab.n_units(name),
            durations_frames=torch.ones(n_frames, dtype=torch.int64),
            frame_rate_hz=rate_hz,
        )
    late_s = 0.25 / rates_hz["units"]  # so that no unit ends exactly between the words
    words = (
        AlignedWord(w, i * word_s + late_s, (i + 1) * word_s + late_s) for i, w in enumerate(WORDS)
    )
    return speech, Alignment(tuple(words))
