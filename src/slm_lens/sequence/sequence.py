"""The sequence that a speech-text model reads, and where its words are.

Three ways to make one; with slamkit's markers (Maimon et al. 2025, arXiv:2504.02398):

| from | tokens |
|---|---|
| `SpeechTextSequence.from_speech` | ``<Un3><Un49>...`` |
| `SpeechTextSequence.from_text` | `` the zebra`` |
| `SpeechTextSequence.interleave` | ``<text> the<speech><Un3><Un49><text> lives`` |

Other families put markers in pairs, mark one modality alone, or read several speech streams; what
a model was taught is in its prompt format, and ``HookedSLM.sequence_from_...`` follow it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens._pictured import Pictured
from slm_lens.sequence._build import (
    Run,
    assemble,
    check_marker,
    check_times,
    check_tokens,
    spoken_run,
    spoken_utterance,
    written_run,
)
from slm_lens.sequence.spans import select_spoken_words
from slm_lens.sequence.streams import SpeechUnits, merge_streams, phonetic_units
from slm_lens.sequence.word_span import WordSpan
from slm_lens.speech.alignment import Alignment
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab, TokenKind


@dataclass(frozen=True, eq=False)
class SpeechTextSequence(Pictured):
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
        units: SpeechUnits,
        alignment: Alignment | None,
        vocab: SpeechTextVocab,
        *,
        marker: bool,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        closed: bool = True,
    ) -> "SpeechTextSequence":
        """A spoken utterance: all its units.

        Word spans follow the slamkit rule (`word_unit_spans`): a unit belongs to the word in
        whose time it ends. So a short word can be without a unit, units of pauses belong to no
        word, and those after the last word are never given to one.

        Several streams are merged by `merge_streams`. A word then goes from its first unit to its
        last one, with what starts together with either: in a codec, all codes of both frames.

        Args:
            units: units of the clip, or all its speech streams by name.
            alignment: its words with times; None when they are unknown.
            vocab: the model's vocabulary.
            marker: start with the speech marker, and end with its end marker if there is one.
                slamkit's speech-only prompts do not.
            before: token ids to put first, of any kind.
            after: token ids to put last.
            closed: False leaves out the end marker, for a model that is to speak on.

        Returns:
            The sequence; without words when there is no alignment.

        Raises:
            AlignmentError: a word ends after the units.
            VocabError: a stream, unit, marker or token id is not in the vocabulary.
            ValueError: the streams are of different length.
        """  # noqa: DOC502 (raised by the parts)
        if marker:
            check_marker(vocab, "speech")
        run = spoken_utterance(units, alignment, vocab)
        return cls._of([run], vocab, marker, before, after, closed)

    @classmethod
    def from_text(
        cls,
        words: Sequence[str],
        vocab: SpeechTextVocab,
        *,
        marker: bool,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        closed: bool = True,
        leading_space: bool = True,
    ) -> "SpeechTextSequence":
        """A written utterance.

        The words are encoded in one piece. A word's span ends where the encoding of the text up
        to that word ends, which is exact for tokenizers that split at spaces (GPT-2, Qwen,
        Llama) and for any other where each beginning of the text is encoded as in the whole.

        Args:
            words: the words, without surrounding spaces.
            vocab: the model's vocabulary.
            marker: start with the text marker, and end with its end marker if there is one.
                slamkit's text prompts do, its text-only training rows do not.
            before: token ids to put first, of any kind.
            after: token ids to put last.
            closed: False leaves out the end marker, for a model that is to write on.
            leading_space: a space before the first word too, as in slamkit's alignments.

        Returns:
            The sequence.

        Raises:
            ValueError: a word is empty or has spaces around it.
            VocabError: the vocabulary has no text, the marker is missing, a word cannot be
                written, a token would carry parts of two words, or a token id is not in the
                vocabulary.
        """  # noqa: DOC502 (raised by the parts)
        vocab.require_text("SpeechTextSequence.from_text")
        if marker:
            check_marker(vocab, "text")
        run = written_run(words, vocab, leading_space=leading_space)
        return cls._of([run], vocab, marker, before, after, closed)

    @classmethod
    def interleave(
        cls,
        units: SpeechUnits,
        alignment: Alignment,
        vocab: SpeechTextVocab,
        *,
        spoken: Sequence[bool],
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        closed: bool = True,
        leading_space: bool = True,
    ) -> "SpeechTextSequence":
        """A sentence of which some words are spoken and the others written.

        Every run starts with the marker of its modality and ends with its end marker, as far as
        the vocabulary has them. A run of spoken words takes the units from its first word's span
        to its last word's span, pauses included; units before, between and after runs are left
        out, and so are the tokens of other streams before the first unit and after the last one.
        Word spans as in `from_speech` and `from_text`.

        Args:
            units: units of the clip, or all its speech streams by name.
            alignment: its words with times.
            vocab: the model's vocabulary.
            spoken: for each word, True to take it as units and False to write it.
            before: token ids to put first, of any kind.
            after: token ids to put last.
            closed: False leaves out the last run's end marker, for a model that is to go on.
            leading_space: a space before the first word of every written run, as in slamkit's.

        Returns:
            The sequence.

        Raises:
            ValueError: `spoken` is not in step with the words, or the streams are of different
                length.
            AlignmentError: a word ends after the units.
            VocabError: a stream, unit, written word or token id is not in the vocabulary (a
                unit-only one has no words), or a token would carry parts of two words.

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
        merged, of_units = merge_streams(units, vocab), phonetic_units(units)
        check_times(of_units, alignment)
        ends_s = of_units.ends_s.tolist()
        runs: list[Run] = []
        choices = zip(alignment.words, spoken, strict=True)
        for is_spoken, group in groupby(choices, key=lambda choice: bool(choice[1])):
            words = [word for word, _ in group]
            if is_spoken:
                runs.append(spoken_run(merged, ends_s, words))
            else:
                written = [w.word for w in words]
                runs.append(written_run(written, vocab, leading_space=leading_space))
        return cls._of(runs, vocab, True, before, after, closed)

    @classmethod
    def interleave_at_random(
        cls,
        units: SpeechUnits,
        alignment: Alignment,
        vocab: SpeechTextVocab,
        *,
        mean_span_words: float,
        speech_share: float,
        generator: np.random.Generator,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        closed: bool = True,
        leading_space: bool = True,
    ) -> "SpeechTextSequence":
        """`interleave` with the spoken words drawn by `select_spoken_words`.

        Args:
            units: units of the clip, or all its speech streams by name.
            alignment: its words with times.
            vocab: the model's vocabulary.
            mean_span_words: mean length of a spoken run in words (SIMS: 10).
            speech_share: share of words to be spoken, in [0, 1] (SIMS: 0.3).
            generator: source of randomness.
            before: token ids to put first, of any kind.
            after: token ids to put last.
            closed: as in `interleave`.
            leading_space: as in `interleave`.

        Returns:
            The sequence.
        """
        spoken = select_spoken_words(
            len(alignment),
            mean_span_words=mean_span_words,
            speech_share=speech_share,
            generator=generator,
        )
        return cls.interleave(
            units,
            alignment,
            vocab,
            spoken=spoken,
            before=before,
            after=after,
            closed=closed,
            leading_space=leading_space,
        )

    @classmethod
    def _of(
        cls,
        runs: Sequence[Run],
        vocab: SpeechTextVocab,
        marked: bool,
        before: Sequence[int],
        after: Sequence[int],
        closed: bool,
    ) -> "SpeechTextSequence":
        check_tokens([*before, *after], vocab)
        tokens, words = assemble(
            runs, vocab, marked=marked, before=before, after=after, closed=closed
        )
        ids = torch.tensor(tokens, dtype=torch.int64)
        kinds = tuple(TOKEN_KINDS[k] for k in vocab.kind_of[ids].tolist())
        return cls(tokens=ids, kinds=kinds, words=tuple(words))
