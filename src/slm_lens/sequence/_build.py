"""The parts of a sequence: runs of units, runs of written words, and markers around them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from slm_lens.errors import AlignmentError, VocabError
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.sequence.streams import SpeechTokens, SpeechUnits, merge_streams, phonetic_units
from slm_lens.sequence.word_span import Modality, WordSpan
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab

# A convolutional encoder drops up to one hop plus its receptive field at the end of a clip.
END_TOLERANCE_FRAMES = 2


@dataclass(frozen=True)
class Run:
    """Tokens of one modality, and the words that they carry, counted from the run's start."""

    modality: Modality
    tokens: tuple[int, ...]
    words: tuple[WordSpan, ...]


def assemble(
    runs: Sequence[Run],
    vocab: SpeechTextVocab,
    *,
    marked: bool,
    before: Sequence[int],
    after: Sequence[int],
    closed: bool,
) -> tuple[list[int], list[WordSpan]]:
    """Tokens and words of runs in a row, each between its markers as far as it has any."""
    tokens, words = list(before), list[WordSpan]()
    for i, run in enumerate(runs):
        tokens += _marker(vocab, run.modality, marked)
        shift = len(tokens)
        words += [replace(w, start=w.start + shift, end=w.end + shift) for w in run.words]
        tokens += run.tokens
        ends = marked and (closed or i < len(runs) - 1)
        tokens += _marker(vocab, f"{run.modality}_end", ends)
    return [*tokens, *after], words


def _marker(vocab: SpeechTextVocab, name: str, wanted: bool) -> list[int]:
    return [vocab.markers[name]] if wanted and name in vocab.markers else []


def check_marker(vocab: SpeechTextVocab, modality: Modality) -> None:
    """Refuse to mark a modality that has no marker."""
    if modality not in vocab.markers:
        raise VocabError(
            f"SpeechTextSequence: the vocabulary has no {modality!r} marker (it has "
            f"{sorted(vocab.markers)}), expected one. Build the sequence with marker=False, or "
            "use a model that marks its modalities."
        )


def check_tokens(tokens: Sequence[int], vocab: SpeechTextVocab) -> None:
    """Refuse ids around the runs that no row has."""
    outside = [t for t in tokens if not 0 <= t < vocab.d_vocab]
    if outside:
        raise VocabError(
            f"SpeechTextSequence: got token ids {outside} in `before` or `after`, expected "
            f"0 <= id < d_vocab={vocab.d_vocab}."
        )


def check_times(units: Units, alignment: Alignment) -> None:
    """Refuse word times that run past the units."""
    last = max(alignment, key=lambda w: w.end_s)
    limit_s = units.duration_s + END_TOLERANCE_FRAMES / units.frame_rate_hz
    if last.end_s > limit_s:
        raise AlignmentError(
            f"SpeechTextSequence: word {last.word!r} ends at {last.end_s:.3f} s, but the units "
            f"stop at {units.duration_s:.3f} s; expected an end before {limit_s:.3f} s "
            f"({END_TOLERANCE_FRAMES} frames later). Are the times in seconds, the frame rate "
            f"({units.frame_rate_hz} Hz) right, and both of the same clip?"
        )


def spoken_utterance(
    speech: SpeechUnits, alignment: Alignment | None, vocab: SpeechTextVocab
) -> Run:
    """All of a clip, with its words where they are known."""
    merged = merge_streams(speech, vocab)
    if alignment is None:
        return Run("speech", merged.tokens, ())
    units = phonetic_units(speech)
    check_times(units, alignment)
    spans = word_unit_spans(units.ends_s.tolist(), alignment)
    words = [_spoken(w, merged.positions(*s)) for w, s in zip(alignment, spans, strict=True)]
    return Run("speech", merged.tokens, tuple(words))


def spoken_run(merged: SpeechTokens, unit_ends_s: list[float], words: Sequence[AlignedWord]) -> Run:
    """Some neighbouring words of a clip.

    The run goes from the first word's first unit to the last word's last one, pauses included.
    """
    spans = word_unit_spans(unit_ends_s, Alignment(tuple(words)))
    first, last = spans[0][0], spans[-1][1]
    part = merged.cut(first, last)
    placed = [
        _spoken(w, part.positions(start - first, end - first))
        for w, (start, end) in zip(words, spans, strict=True)
    ]
    return Run("speech", part.tokens, tuple(placed))


def _spoken(word: AlignedWord, positions: tuple[int, int]) -> WordSpan:
    return WordSpan(word.word, "speech", *positions, word.start_s, word.end_s)


def written_run(words: Sequence[str], vocab: SpeechTextVocab, *, leading_space: bool) -> Run:
    """Tokens of written words with spaces between them, and each word's span.

    The run is encoded in one piece, as in training. A word's span ends where the encoding of
    the text up to that word ends; so the joint encoding has to begin with the encoding of each
    of its beginnings, or a token would carry parts of two words.

    Raises:
        ValueError: a word is empty or has spaces around it.
        VocabError: a word cannot be written, or does not end at a token's end.
    """
    encode = _encoder(words, vocab, leading_space)
    joint = encode(len(words))
    spans: list[WordSpan] = []
    start = 0
    for i, word in enumerate(words):
        if not word.strip() or word != word.strip():
            raise ValueError(
                f"SpeechTextSequence: got {word!r} as word {i}, expected a word without "
                "surrounding spaces. Spaces are put between words."
            )
        head = encode(i + 1)
        if joint[: len(head)] != head:
            raise VocabError(
                f"SpeechTextSequence: the tokenizer writes {' '.join(words)!r} so that the end "
                f"of word {i} {word!r} lies inside a token or depends on the next word; expected "
                "every word to end at a token's end. This word cannot have a span."
            )
        spans.append(WordSpan(word, "text", start, len(head)))
        _check_written(word, joint[start : len(head)], vocab)
        start = len(head)
    return Run("text", tuple(joint), tuple(spans))


def _encoder(
    words: Sequence[str], vocab: SpeechTextVocab, leading_space: bool
) -> Callable[[int], list[int]]:
    """What encodes the first n of the words."""
    encode_text = vocab.encode_text
    if not len(vocab.text):
        raise VocabError(
            "SpeechTextSequence: this vocabulary has no text tokens, expected some to write words "
            "with. It is that of a unit-only model, which reads speech alone: give it units."
        )
    if encode_text is None:
        raise VocabError(
            "SpeechTextSequence: this vocabulary cannot encode text, expected `encode_text`. "
            "Give it when the vocabulary is built, e.g. from the model's text tokenizer."
        )

    def encode(n_words: int) -> list[int]:
        written = " ".join(words[:n_words])
        return encode_text(f" {written}" if leading_space and n_words else written)

    return encode


def _check_written(word: str, tokens: list[int], vocab: SpeechTextVocab) -> None:
    """Refuse a word that the vocabulary cannot write."""
    text = TOKEN_KINDS.index("text")
    foreign = [vocab.label(t) for t in tokens if vocab.kind_of[t] != text]
    if foreign or not tokens:
        raise VocabError(
            f"SpeechTextSequence: word {word!r} becomes {foreign or 'no token at all'}, expected "
            "tokens of written text. Is the word outside the model's vocabulary?"
        )
