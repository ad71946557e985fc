"""The sequence that a speech-text model reads, and where its words are.

Three ways to make one, all after slamkit (Maimon et al. 2025, arXiv:2504.02398):

| from | tokens |
|---|---|
| `SpeechTextSequence.from_speech` | ``<Un3><Un49>...`` |
| `SpeechTextSequence.from_text` | `` the zebra`` |
| `SpeechTextSequence.interleave` | ``<text> the<speech><Un3><Un49><text> lives`` |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens.sequence._build import (
    Spans,
    check_times,
    marker_token,
    speech_run,
    text_run,
)
from slm_lens.sequence.spans import select_spoken_words, word_unit_spans
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab, TokenKind

Modality = Literal["speech", "text"]


@dataclass(frozen=True)
class WordSpan:
    """A word and the positions that carry it.

    Attributes:
        word: the word as written, without surrounding spaces.
        modality: whether it is spoken or written here.
        start: first position.
        end: one past the last position; equal to ``start`` when no token carries the word.
        start_s: start in seconds from the start of the clip; None for written words.
        end_s: end in seconds; None for written words.
    """

    word: str
    modality: Modality
    start: int
    end: int
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, eq=False)
class SpeechTextSequence:
    """Token ids with their kind and the words that they carry.

    Attributes:
        tokens: token ids.
        kinds: kind of every position, in step with `tokens`.
        words: the words in order; their spans do not overlap.

    Raises:
        ValueError: there is no token; `kinds` is not in step with `tokens`; a word's span runs
            backwards, leaves the sequence, overlaps the word before it, or covers a position
            that is not of the word's modality.
    """

    tokens: Int[Tensor, " n_tokens"]
    kinds: tuple[TokenKind, ...]
    words: tuple[WordSpan, ...]

    def __post_init__(self) -> None:
        n_tokens = self.tokens.numel()
        if n_tokens == 0 or len(self.kinds) != n_tokens:
            raise ValueError(
                f"SpeechTextSequence: got {n_tokens} tokens and {len(self.kinds)} kinds, expected "
                "at least one token and one kind for each."
            )
        previous_end = 0
        for i, w in enumerate(self.words):
            where = f"SpeechTextSequence: word {i} {w.word!r} at positions [{w.start}, {w.end})"
            if not previous_end <= w.start <= w.end <= n_tokens:
                raise ValueError(
                    f"{where}: expected {previous_end} <= start <= end <= {n_tokens}, so that "
                    "words are in order, without overlap, inside the sequence."
                )
            kinds = set(self.kinds[w.start : w.end])
            if not kinds <= {w.modality}:
                raise ValueError(
                    f"{where}: covers positions of kind {sorted(kinds)}, expected only "
                    f"{w.modality!r}. Was the span counted without the marker before it?"
                )
            previous_end = w.end

    def __len__(self) -> int:
        return self.tokens.numel()

    @classmethod
    def from_speech(
        cls,
        units: Units,
        alignment: Alignment | None,
        vocab: SpeechTextVocab,
        *,
        marker: bool,
        bos: int | None = None,
    ) -> "SpeechTextSequence":
        """A spoken utterance: all its units.

        Word spans follow the slamkit rule (`word_unit_spans`): a unit belongs to the word in
        whose time it ends. So a short word can be without a unit, units of pauses belong to no
        word, and those after the last word are never given to one.

        Args:
            units: units of the clip.
            alignment: its words with times; None when they are unknown.
            vocab: the model's vocabulary.
            marker: start with the speech marker. slamkit's speech-only prompts do not.
            bos: token to put first, for a text tokenizer that adds one by itself.

        Returns:
            The sequence; without words when there is no alignment.

        Raises:
            AlignmentError: a word ends after the units.
            VocabError: a unit or the marker is not in the vocabulary.
        """  # noqa: DOC502 (raised by the parts)
        tokens = [] if bos is None else [bos]
        if marker:
            tokens.append(marker_token(vocab, "speech"))
        words: list[WordSpan] = []
        if alignment is not None:
            check_times(units, alignment)
            spans = word_unit_spans(units.ends_s.tolist(), alignment)
            words = _spoken(alignment.words, list(spans), len(tokens))
        tokens += vocab.unit_to_token(units.ids).tolist()
        return cls._of(tokens, words, vocab)

    @classmethod
    def from_text(
        cls,
        words: Sequence[str],
        vocab: SpeechTextVocab,
        *,
        marker: bool,
        bos: int | None = None,
    ) -> "SpeechTextSequence":
        """A written utterance, with a space before every word, as in slamkit's alignments.

        The words are encoded in one piece. A word's span ends where the encoding of the text up
        to that word ends, which is exact for tokenizers that split at spaces (GPT-2, Qwen,
        Llama) and for any other where each beginning of the text is encoded as in the whole.

        Args:
            words: the words, without surrounding spaces.
            vocab: the model's vocabulary.
            marker: start with the text marker. slamkit's text prompts do, its text-only
                training rows do not.
            bos: token to put first, for a text tokenizer that adds one by itself.

        Returns:
            The sequence.

        Raises:
            ValueError: a word is empty or has spaces around it.
            VocabError: the vocabulary has no text, the marker is missing, a word cannot be
                written, or a token would carry parts of two words.
        """  # noqa: DOC502 (raised by the parts)
        vocab.require_text("SpeechTextSequence.from_text")
        tokens = [] if bos is None else [bos]
        if marker:
            tokens.append(marker_token(vocab, "text"))
        pieces, spans = text_run(words, vocab)
        return cls._of(tokens + pieces, _written(words, spans, len(tokens)), vocab)

    @classmethod
    def interleave(
        cls,
        units: Units,
        alignment: Alignment,
        vocab: SpeechTextVocab,
        *,
        spoken: Sequence[bool],
        bos: int | None = None,
    ) -> "SpeechTextSequence":
        """A sentence of which some words are spoken and the others written.

        Starts with a modality marker and has one at every switch, none at the end. A run of
        spoken words takes the units from its first word's span to its last word's span, pauses
        included; units before, between and after runs are left out. Word spans as in
        `from_speech` and `from_text`.

        Args:
            units: units of the clip.
            alignment: its words with times.
            vocab: the model's vocabulary.
            spoken: for each word, True to take it as units and False to write it.
            bos: token to put first, for a text tokenizer that adds one by itself.

        Returns:
            The sequence.

        Raises:
            ValueError: `spoken` is not in step with the words.
            AlignmentError: a word ends after the units.
            VocabError: a marker, unit or written word is not in the vocabulary (a unit-only one
                has no words), or a token would carry parts of two words.

        Source:
            slamkit ``_create_interleaved_text``; Maimon et al. 2025, arXiv:2504.02398.
        """  # noqa: DOC502 (raised by the parts)
        if len(spoken) != len(alignment):
            raise ValueError(
                f"SpeechTextSequence.interleave: got {len(spoken)} choices for "
                f"{len(alignment)} words, expected one for each word of the alignment."
            )
        if not all(spoken):
            vocab.require_text("SpeechTextSequence.interleave")
        check_times(units, alignment)
        tokens = [] if bos is None else [bos]
        words: list[WordSpan] = []
        choices = zip(alignment.words, spoken, strict=True)
        for is_spoken, group in groupby(choices, key=lambda choice: bool(choice[1])):
            run = [word for word, _ in group]
            tokens.append(marker_token(vocab, "speech" if is_spoken else "text"))
            if is_spoken:
                pieces, spans = speech_run(units, run, vocab)
                words += _spoken(run, spans, len(tokens))
            else:
                written = [w.word for w in run]
                pieces, spans = text_run(written, vocab)
                words += _written(written, spans, len(tokens))
            tokens += pieces
        return cls._of(tokens, words, vocab)

    @classmethod
    def interleave_at_random(
        cls,
        units: Units,
        alignment: Alignment,
        vocab: SpeechTextVocab,
        *,
        mean_span_words: float,
        speech_share: float,
        generator: np.random.Generator,
        bos: int | None = None,
    ) -> "SpeechTextSequence":
        """`interleave` with the spoken words drawn by `select_spoken_words`.

        Args:
            units: units of the clip.
            alignment: its words with times.
            vocab: the model's vocabulary.
            mean_span_words: mean length of a spoken run in words (SIMS: 10).
            speech_share: share of words to be spoken, in [0, 1] (SIMS: 0.3).
            generator: source of randomness.
            bos: token to put first, for a text tokenizer that adds one by itself.

        Returns:
            The sequence.
        """
        spoken = select_spoken_words(
            len(alignment),
            mean_span_words=mean_span_words,
            speech_share=speech_share,
            generator=generator,
        )
        return cls.interleave(units, alignment, vocab, spoken=spoken, bos=bos)

    @classmethod
    def _of(
        cls, tokens: list[int], words: list[WordSpan], vocab: SpeechTextVocab
    ) -> "SpeechTextSequence":
        ids = torch.tensor(tokens, dtype=torch.int64)
        kinds = tuple(TOKEN_KINDS[k] for k in vocab.kind_of[ids].tolist())
        return cls(tokens=ids, kinds=kinds, words=tuple(words))


def _spoken(words: Sequence[AlignedWord], spans: Spans, first: int) -> list[WordSpan]:
    """Spoken words whose spans count from position `first`."""
    return [
        WordSpan(w.word, "speech", first + start, first + end, w.start_s, w.end_s)
        for w, (start, end) in zip(words, spans, strict=True)
    ]


def _written(words: Sequence[str], spans: Spans, first: int) -> list[WordSpan]:
    """Written words whose spans count from position `first`."""
    return [
        WordSpan(word, "text", first + start, first + end)
        for word, (start, end) in zip(words, spans, strict=True)
    ]
