"""The positions of a sequence as views show them: units under their words, in seconds.

Every view of positions sends the same description of them, which ``views/js/tokens.js`` draws; so a
unit looks alike everywhere, and a word that is selected in one view is selected in all.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.speech.alignment import Alignment
from slm_lens.speech.units import Units
from slm_lens.vocab import SpeechTextVocab


def described_positions(
    sequence: SpeechTextSequence,
    vocab: SpeechTextVocab | None,
    *,
    units: Units | None = None,
    phones: Alignment | None = None,
) -> dict[str, Any]:
    """What views say of each position and word.

    Args:
        sequence: what the model reads.
        vocab: the model's vocabulary, for the names of tokens; None for their ids.
        units: the units of the clip, for the time of each one; without them only words have times.
        phones: phonemes of the clip with their times; needs `units`.

    Returns:
        JSON values: ``positions``, for each one its token id, kind, label, unit, stream, word,
        times and phoneme (what is not known is left out), ``words`` and `groups_of` them.

    Raises:
        ValueError: the units are not those of the sequence, or phonemes come without units.
        VocabError: a token is not of this vocabulary.
    """  # noqa: DOC502 (VocabError is raised by label)
    if vocab is None and units is not None:
        raise ValueError(
            f"speech_tokens: got {len(units)} units without a vocabulary, expected both: which "
            "positions hold units is looked up in it. Give vocab=model.vocab."
        )
    streams = {} if vocab is None else vocab.streams
    stream_of = {t: (name, u) for name, ids in streams.items() for u, t in enumerate(ids)}
    word_of = {p: i for i, w in enumerate(sequence.words) for p in range(w.start, w.end)}
    ids = sequence.tokens.tolist()
    spoken = [p for p, t in enumerate(ids) if stream_of.get(t, ("", 0))[0] == "units"]
    times = _times(sequence, [stream_of[ids[p]][1] for p in spoken], units, phones)
    time_of = dict(zip(spoken, times, strict=True)) if times else {}
    positions = []
    for p, (token, kind) in enumerate(zip(ids, sequence.kinds, strict=True)):
        label = str(token) if vocab is None else vocab.label(token)
        found: dict[str, Any] = {"token": token, "kind": kind, "label": label}
        if token in stream_of:
            found["stream"], found["unit"] = stream_of[token]
        if p in word_of:
            found["word"] = word_of[p]
        if p in time_of:
            found["start_s"], found["end_s"] = time_of[p]
            phone = _phone_at(phones, sum(time_of[p]) / 2)
            found |= {"phone": phone} if phone else {}
        positions.append(found)
    words = [
        {
            "word": w.word,
            "modality": w.modality,
            "start": w.start,
            "end": w.end,
            "start_s": w.start_s,
            "end_s": w.end_s,
        }
        for w in sequence.words
    ]
    return {"positions": positions, "words": words, "groups": groups_of(sequence)}


def groups_of(sequence: SpeechTextSequence) -> list[dict[str, Any]]:
    """Words, and what lies between them, in order; together they are all positions once.

    Args:
        sequence: what the model reads.

    Returns:
        ``word`` (its number, or None), ``kind``, and the span of each group. Units between words
        are one group, other positions one each. A word without a position has an empty span.
    """
    groups: list[dict[str, Any]] = []

    def outside(start: int, end: int) -> None:
        first = len(groups)
        for p in range(start, end):
            kind = sequence.kinds[p]
            if len(groups) > first and kind == "speech" == groups[-1]["kind"]:
                groups[-1]["end"] = p + 1
            else:
                groups.append({"word": None, "kind": kind, "start": p, "end": p + 1})

    at = 0
    for i, word in enumerate(sequence.words):
        outside(at, word.start)
        span = {"start": word.start, "end": word.end}
        groups.append({"word": i, "kind": word.modality, **span})
        at = word.end
    outside(at, len(sequence))
    return groups


def _times(
    sequence: SpeechTextSequence,
    spoken: Sequence[int],
    units: Units | None,
    phones: Alignment | None,
) -> list[tuple[float, float]]:
    """Start and end of each unit of the sequence; nothing where they are not known."""
    if units is None:
        if phones is not None:
            raise ValueError(
                "speech_tokens: got phones without units, expected both: the phoneme of a unit "
                "is found by the unit's time. Give units=model.unit_tokenizer.encode(waveform)."
            )
        return []
    if units.ids.tolist() != list(spoken):
        raise ValueError(
            f"speech_tokens: got {len(units)} units for a sequence with {len(spoken)}, or others; "
            f"expected those that the sequence of {len(sequence)} positions was made from. Leave "
            "units out for a sequence in which only some words are spoken."
        )
    return list(zip(units.starts_s.tolist(), units.ends_s.tolist(), strict=True))


def _phone_at(phones: Alignment | None, time_s: float) -> str | None:
    """The phoneme at a time; None in silence."""
    if phones is None:
        return None
    at = bisect_right([p.start_s for p in phones], time_s) - 1
    return phones.words[at].word if at >= 0 and time_s < phones.words[at].end_s else None
