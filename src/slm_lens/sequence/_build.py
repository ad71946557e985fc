"""The parts of a sequence: runs of units, runs of written words, and markers between them."""

from collections.abc import Sequence

from slm_lens.errors import AlignmentError, VocabError
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab

# A convolutional encoder drops up to one hop plus its receptive field at the end of a clip.
END_TOLERANCE_FRAMES = 2

Spans = list[tuple[int, int]]


def marker_token(vocab: SpeechTextVocab, name: str) -> int:
    """Token that announces a modality."""
    if name not in vocab.markers:
        raise VocabError(
            f"SpeechTextSequence: the vocabulary has no {name!r} marker (it has "
            f"{sorted(vocab.markers)}), expected one. Build the sequence with marker=False, or "
            "use a model that marks its modalities."
        )
    return vocab.markers[name]


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


def speech_run(
    units: Units, words: Sequence[AlignedWord], vocab: SpeechTextVocab
) -> tuple[list[int], Spans]:
    """Unit tokens of a spoken run, and each word's span within them.

    The run goes from the first word's first unit to the last word's last one, pauses included.
    """
    spans = word_unit_spans(units.ends_s.tolist(), Alignment(tuple(words)))
    first, last = spans[0][0], spans[-1][1]
    tokens = vocab.unit_to_token(units.ids[first:last]).tolist()
    return tokens, [(start - first, end - first) for start, end in spans]


def text_run(words: Sequence[str], vocab: SpeechTextVocab) -> tuple[list[int], Spans]:
    """Tokens of written words, each with a space before it, and each word's span.

    The run is encoded in one piece, as in training. A word's span ends where the encoding of
    the text up to that word ends; so the joint encoding has to begin with the encoding of each
    of its beginnings, or a token would carry parts of two words.

    Raises:
        ValueError: a word is empty or has spaces around it.
        VocabError: a word cannot be written, or does not end at a token's end.
    """
    if vocab.encode_text is None:
        raise VocabError(
            "SpeechTextSequence: this vocabulary cannot encode text, expected `encode_text`. "
            "Give it when the vocabulary is built, e.g. from the model's text tokenizer."
        )
    joint = vocab.encode_text("".join(f" {word}" for word in words))
    spans: Spans = []
    start = 0
    for i, word in enumerate(words):
        if not word.strip() or word != word.strip():
            raise ValueError(
                f"SpeechTextSequence: got {word!r} as word {i}, expected a word without "
                "surrounding spaces. A space is put before every word."
            )
        head = vocab.encode_text("".join(f" {w}" for w in words[: i + 1]))
        if joint[: len(head)] != head:
            raise VocabError(
                f"SpeechTextSequence: the tokenizer writes {' '.join(words)!r} so that the end "
                f"of word {i} {word!r} lies inside a token or depends on the next word; expected "
                "every word to end at a token's end. This word cannot have a span."
            )
        spans.append((start, len(head)))
        _check_written(word, joint[start : len(head)], vocab)
        start = len(head)
    return joint, spans


def _check_written(word: str, tokens: list[int], vocab: SpeechTextVocab) -> None:
    """Refuse a word that the vocabulary cannot write."""
    text = TOKEN_KINDS.index("text")
    foreign = [vocab.label(t) for t in tokens if vocab.kind_of[t] != text]
    if foreign or not tokens:
        raise VocabError(
            f"SpeechTextSequence: word {word!r} becomes {foreign or 'no token at all'}, expected "
            "tokens of written text. Is the word outside the model's vocabulary?"
        )
