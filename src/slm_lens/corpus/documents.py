"""Clips as documents to fit a lens on: each one spoken, written, and in both."""

from pathlib import Path
from typing import Any

import numpy as np

from slm_lens.corpus.folder import encoded_clips
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.spans import select_spoken_words

MEAN_SPAN_WORDS, SPEECH_SHARE = 2.0, 0.5


def clip_documents(
    model: HookedSLM, name_or_folder: str | Path, *, seed: int = 0, **options: Any
) -> tuple[SpeechTextSequence, ...]:
    """All clips of a folder, in both modalities.

    Args:
        model: turns sound into units, and both into tokens.
        name_or_folder: see `slm_lens.clips_of`.
        seed: of the choice of words that are spoken where a document has both modalities: about
            half of them, in runs of 2 on average.
        **options: as in `slm_lens.read_utterances`: ``overlap`` and ``missing``.

    Returns:
        Three documents for each clip: spoken, written, interleaved; the first alone for a model
        without text tokens.
    """
    documents = []
    for number, (_, units, alignment) in enumerate(encoded_clips(model, name_or_folder, **options)):
        documents.append(model.sequence_from_units(units, alignment))
        if not len(model.vocab.text):
            continue
        documents.append(model.sequence_from_text(" ".join(w.word for w in alignment)))
        spoken = select_spoken_words(
            len(alignment),
            mean_span_words=MEAN_SPAN_WORDS,
            speech_share=SPEECH_SHARE,
            generator=np.random.default_rng([seed, number]),
        )
        documents.append(model.sequence_interleaved(units, alignment, spoken=spoken))
    return tuple(documents)
