"""From what was heard to what a model reads: an utterance, or a prompt that it is to continue."""

from typing import Literal

import torch

from slm_lens.app.hearing import Heard
from slm_lens.errors import AlignmentError
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.utterance import Utterance
from slm_lens.speech.units import SpeechUnits

Announced = Literal["nothing", "text", "speech"]
"""The modality that a prompt announces behind its last word, if any."""


def units_of(model: HookedSLM, heard: Heard) -> SpeechUnits:
    """The clip in the model's units.

    Args:
        model: its unit tokenizer is used.
        heard: a clip at any rate.

    Returns:
        Its units.
    """
    tokenizer = model.unit_tokenizer
    return tokenizer.encode(heard.at(tokenizer.sample_rate_hz).waveform)


def utterance_of(model: HookedSLM, heard: Heard) -> Utterance:
    """The whole clip as the model reads it.

    Args:
        model: the model.
        heard: a clip.

    Returns:
        The utterance, named as the clip.
    """
    return Utterance(heard.name, model.sequence_from_units(units_of(model, heard), heard.alignment))


def prompt_of(
    model: HookedSLM, heard: Heard, *, announce: Announced, n_words: int | None = None
) -> Utterance:
    """The beginning of a clip as a prompt.

    The clip is encoded whole and then cut behind the last unit of a word, so that the prompt does
    not sound like the end of a sentence where it is none. Pauses behind the last word are cut, too.

    Args:
        model: the model.
        heard: a clip.
        announce: modality whose marker stands at the end, as the model's family writes it.
        n_words: how many words to keep; None for all.

    Returns:
        The prompt.

    Raises:
        AlignmentError: words are to be kept, and the clip has none or fewer.
    """
    sequence = model.sequence_from_units(
        units_of(model, heard),
        heard.alignment,
        continue_in=None if announce == "nothing" else announce,
    )
    if n_words is not None and not 1 <= n_words <= len(sequence.words):
        raise AlignmentError(
            f"got a prompt of {n_words} words, expected 1 to {len(sequence.words)}, the words "
            "that are known of this clip."
        )
    kept = len(sequence.words) if n_words is None else n_words
    return Utterance(heard.name, _cut(sequence, kept) if kept else sequence)


def _cut(sequence: SpeechTextSequence, n_words: int) -> SpeechTextSequence:
    """The sequence up to the end of a word; markers at the very end stay."""
    end = sequence.words[n_words - 1].end
    tail = max(i for i, kind in enumerate(sequence.kinds) if kind == "speech") + 1
    kept = [*range(end), *range(max(end, tail), len(sequence))]
    return SpeechTextSequence(
        sequence.tokens[kept], tuple(sequence.kinds[i] for i in kept), sequence.words[:n_words]
    )


@torch.no_grad()
def likeliest(model: HookedSLM, sequence: SpeechTextSequence, *, text_only: bool) -> int:
    """The likeliest next token.

    Args:
        model: the model.
        sequence: what it has read.
        text_only: leave out everything that is not text.

    Returns:
        The token id.
    """
    logits = model(sequence.tokens[None].to(model.cfg.device))[0, -1].float().cpu()
    kinds = ("text",) if text_only else ("text", "speech")
    return int(logits.masked_fill(~model.vocab.mask(*kinds), -torch.inf).argmax())
