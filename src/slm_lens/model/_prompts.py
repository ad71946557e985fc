"""Prompts in a model's own format: which tokens stand around the words, and where they stop."""

from collections.abc import Sequence
from typing import TypedDict

from slm_lens.errors import VocabError
from slm_lens.families.prompt import PromptFormat
from slm_lens.model._inputs import words_of
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import MODALITIES, Modality
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import SpeechUnits
from slm_lens.vocab import SpeechTextVocab


class _Around(TypedDict):
    """Arguments of `SpeechTextSequence` that say what stands around the words."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    closed: bool


def spoken_prompt(
    units: SpeechUnits,
    alignment: Alignment | None,
    vocab: SpeechTextVocab,
    prompt: PromptFormat,
    *,
    continue_in: Modality | None,
    chat: bool,
) -> SpeechTextSequence:
    """A clip; see `HookedSLM.sequence_from_units`."""
    around = _around(vocab, prompt, "speech", continue_in, chat)
    return SpeechTextSequence.from_speech(
        units, alignment, vocab, marker=prompt.mark_speech_only, **around
    )


def written_prompt(
    text: str,
    vocab: SpeechTextVocab,
    prompt: PromptFormat,
    *,
    continue_in: Modality | None,
    chat: bool,
) -> SpeechTextSequence:
    """A text; see `HookedSLM.sequence_from_text`."""
    around = _around(vocab, prompt, "text", continue_in, chat)
    return SpeechTextSequence.from_text(
        words_of(text),
        vocab,
        marker=prompt.mark_text_only,
        leading_space=prompt.leading_space,
        **around,
    )


def interleaved_prompt(
    units: SpeechUnits,
    alignment: Alignment,
    vocab: SpeechTextVocab,
    prompt: PromptFormat,
    *,
    spoken: Sequence[bool],
    continue_in: Modality | None,
) -> SpeechTextSequence:
    """A clip of which some words are written; see `HookedSLM.sequence_interleaved`."""
    last: Modality = "speech" if any(spoken[-1:]) else "text"
    around = _around(vocab, prompt, last, continue_in, chat=False)
    return SpeechTextSequence.interleave(
        units,
        alignment,
        vocab,
        spoken=spoken,
        leading_space=prompt.leading_space,
        **around,
    )


def _around(
    vocab: SpeechTextVocab,
    prompt: PromptFormat,
    last: Modality,
    continue_in: Modality | None,
    chat: bool,
) -> _Around:
    """What stands around a prompt whose last run is of the modality `last`."""
    _check_choices(vocab, continue_in, chat)
    if chat:
        if last not in prompt.chat:
            raise ValueError(
                f"sequence_from_...: got chat=True, but the prompt format has no turn for {last} "
                f"(it has turns for {list(prompt.chat)}), expected chat=False. Only models taught "
                "to answer have turns; the others go on with a text or a clip."
            )
        turn = prompt.chat[last]
        return {"before": prompt.before + turn.before, "after": turn.after, "closed": True}
    if continue_in is None:
        return {"before": prompt.before, "after": prompt.after, "closed": True}
    same = continue_in == last
    announced = continue_in in vocab.markers and (prompt.repeat_marker or not same)
    marker = (vocab.markers[continue_in],) if announced else ()
    return {"before": prompt.before, "after": marker, "closed": not same}


def _check_choices(vocab: SpeechTextVocab, continue_in: Modality | None, chat: bool) -> None:
    if continue_in not in (None, *MODALITIES):
        raise ValueError(
            f"sequence_from_...: got continue_in={continue_in!r}, expected one of {MODALITIES}, "
            "or None for a whole utterance."
        )
    if continue_in is not None and chat:
        raise ValueError(
            f"sequence_from_...: got continue_in={continue_in!r} with chat=True, expected one of "
            "both. A turn says itself how the answer begins; leave continue_in at None."
        )
    if continue_in == "text" and not len(vocab.text):
        raise VocabError(
            "sequence_from_...: got continue_in='text', but this vocabulary has no text tokens, "
            "expected 'speech' or None. A unit-only model goes on in speech alone."
        )
