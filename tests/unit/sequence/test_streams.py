"""Several speech streams in one sequence, by hand and against sorting by exact times."""

import dataclasses
from fractions import Fraction
from itertools import groupby, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens import (
    AlignedWord,
    Alignment,
    AlignmentError,
    SpeechTextSequence,
    SpeechTextVocab,
    Units,
    VocabError,
    word_unit_spans,
)
from slm_lens.sequence.streams import merge_streams

# Spirit LM in small: 10 units, 6 pitches, 3 styles, listed in the order of its ties.
HU, PI, ST, THE, SPEECH, TEXT = 2, 12, 18, 21, 0, 1
WORDS = {" the": THE, " zebra": 22, " lives": 23, " in": 24}
VOCAB = SpeechTextVocab(
    d_vocab=25,
    text=range(THE, 25),
    streams={"style": range(ST, 21), "pitch": range(PI, 18), "units": range(HU, 12)},
    markers={"speech": SPEECH, "text": TEXT},
    encode_text=lambda text: [WORDS[f" {w}"] for w in text.split()],
)


def units(ids, durations_frames, frame_rate_hz):
    return Units(torch.tensor(ids), torch.tensor(durations_frames), frame_rate_hz)


# Starts: 0, 0.08, 0.12, 0.24, 0.32, 0.36 s; ends: 0.08, 0.12, 0.24, 0.32, 0.36, 0.40 s.
UNITS = units([4, 7, 1, 0, 9, 3], [2, 1, 3, 2, 1, 1], 25.0)
STREAMS = {
    "units": UNITS,
    "pitch": units([2, 5, 3], [2, 1, 2], 12.5),  # starts 0, 0.16, 0.24 s
    "style": units([1], [1], 1.0),
}
MERGED = [ST + 1, PI + 2, HU + 4, HU + 7, HU + 1, PI + 5, PI + 3, HU + 0, HU + 9, HU + 3]
ALIGNMENT = Alignment(
    (
        AlignedWord("the", 0.0, 0.12),  # units 0 and 1
        AlignedWord("zebra", 0.20, 0.33),  # units 2 and 3, with pitches that start between them
        AlignedWord("lives", 0.33, 0.335),  # no unit ends in it
        AlignedWord("in", 0.34, 0.37),  # unit 4
    )
)


def spans(sequence):
    return [(w.word, w.modality, w.start, w.end) for w in sequence.words]


def unit_tokens(streams):
    return VOCAB.unit_to_token(streams["units"].ids).tolist()


class TestByHand:
    def test_by_start_and_ties_in_the_order_of_the_vocabulary(self):
        merged = merge_streams(STREAMS, VOCAB)
        assert list(merged.tokens) == MERGED
        # Units 0 and 3 start together with other streams, which come first.
        assert merged.unit_spans == ((0, 3), (3, 4), (4, 5), (6, 8), (8, 9), (9, 10))

    def test_the_order_in_which_streams_are_given_does_not_matter(self):
        backwards = dict(reversed(STREAMS.items()))
        assert merge_streams(backwards, VOCAB) == merge_streams(STREAMS, VOCAB)
        units_first = {name: VOCAB.streams[name] for name in ("units", "pitch", "style")}
        other = dataclasses.replace(VOCAB, streams=units_first)
        first = [HU + 4, PI + 2, ST + 1, HU + 7]
        assert list(merge_streams(STREAMS, other).tokens[:4]) == first

    def test_words_go_from_first_to_last_unit_with_what_starts_together(self):
        sequence = SpeechTextSequence.from_speech(STREAMS, ALIGNMENT, VOCAB, marker=True)
        assert sequence.tokens.tolist() == [SPEECH, *MERGED]
        assert spans(sequence) == [
            ("the", "speech", 1, 5),  # style and pitch start with its first unit
            ("zebra", "speech", 5, 9),
            ("lives", "speech", 9, 9),
            ("in", "speech", 9, 10),
        ]
        assert sequence.kinds == ("marker", *["speech"] * 10)

    def test_a_token_that_starts_inside_the_last_unit_is_of_no_word(self):
        short = Alignment((AlignedWord("the", 0.0, 0.25), AlignedWord("in", 0.25, 0.33)))
        sequence = SpeechTextSequence.from_speech(STREAMS, short, VOCAB, marker=False)
        # Units 0 to 2, then unit 3 with pitch 3; pitch 5 starts while unit 2 sounds.
        assert spans(sequence) == [("the", "speech", 0, 5), ("in", "speech", 6, 8)]
        assert sequence.tokens[5] == PI + 5

    def test_interleaved_runs_are_cut_at_their_words(self):
        sequence = SpeechTextSequence.interleave(
            STREAMS, ALIGNMENT, VOCAB, spoken=[False, True, True, False]
        )
        zebra = [HU + 1, PI + 5, PI + 3, HU + 0]
        assert sequence.tokens.tolist() == [TEXT, THE, SPEECH, *zebra, TEXT, 24]
        assert spans(sequence) == [
            ("the", "text", 1, 2),
            ("zebra", "speech", 3, 7),
            ("lives", "speech", 7, 7),
            ("in", "text", 8, 9),
        ]

    def test_a_frame_of_a_flat_codec_stays_whole(self):
        # Four codebooks of two codes; token id 4 x code + codebook, as Llama-Mimi numbers them.
        names = ("units", "codebook_1", "codebook_2", "codebook_3")
        mimi = SpeechTextVocab(
            d_vocab=8, text=[], streams={n: range(q, 8, 4) for q, n in enumerate(names)}
        )
        codes = [[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]]  # codebook by frame
        streams = {n: units(c, [1, 1, 1], 12.5) for n, c in zip(names, codes, strict=True)}
        words = Alignment((AlignedWord("the", 0.0, 0.08), AlignedWord("in", 0.09, 0.24)))
        sequence = SpeechTextSequence.from_speech(streams, words, mimi, marker=False)
        assert sequence.tokens.tolist() == [0, 5, 2, 7, 4, 5, 2, 3, 4, 1, 2, 7]
        assert spans(sequence) == [("the", "speech", 0, 4), ("in", "speech", 4, 12)]


class TestRefusals:
    def test_every_stream_of_the_vocabulary_is_needed(self):
        for some, missing in (
            (UNITS, ["style", "pitch"]),
            ({"units": UNITS, "pitch": STREAMS["pitch"]}, ["style"]),
            ({n: STREAMS[n] for n in ("style", "pitch")}, ["units"]),
        ):
            with pytest.raises(VocabError, match=rf"missing: \{missing}. Give"):
                merge_streams(some, VOCAB)

    def test_a_vocabulary_without_units(self):
        other = SpeechTextVocab(d_vocab=6, text=[], streams={"pitch": range(6)})
        with pytest.raises(VocabError, match=r"missing: \['units'\]"):
            merge_streams({"pitch": STREAMS["pitch"]}, other)

    def test_an_unknown_stream(self):
        with pytest.raises(VocabError, match=r"\['style', 'pitch', 'units'\]; unknown: \['f0'\]"):
            merge_streams({**STREAMS, "f0": UNITS}, VOCAB)

    def test_a_unit_outside_its_stream(self):
        high = {**STREAMS, "pitch": units([6], [5], 12.5)}
        with pytest.raises(VocabError, match=r"got units \[6\].*< 6 for stream 'pitch'"):
            merge_streams(high, VOCAB)

    def test_streams_of_two_clips(self):
        # 0.40 s of units; two pitch frames more or less are 0.16 s.
        for frames, fits in ((3, True), (7, True), (2, False), (8, False)):
            pitch = {**STREAMS, "pitch": units([2], [frames], 12.5)}
            if fits:
                merge_streams(pitch, VOCAB)
                continue
            message = rf"stream 'pitch' lasts {frames * 0.08:.3f} s and the units 0.400 s.*0.160 s"
            with pytest.raises(ValueError, match=message):
                merge_streams(pitch, VOCAB)

    def test_words_past_the_units_whatever_the_others_last(self):
        late = Alignment((AlignedWord("the", 0.0, 0.49),))
        with pytest.raises(AlignmentError, match=r"'the' ends at 0.490 s, .* stop at 0.400 s"):
            SpeechTextSequence.from_speech(STREAMS, late, VOCAB, marker=False)


# The three rates of Spirit LM with exact ties at 25 Hz, and the rate that its tokenizer assumes.
RATES_HZ = st.sampled_from([("1", "12.5", "25"), ("1", "12.5", "24.99"), ("12.5", "12.5", "12.5")])


@given(
    rates_hz=RATES_HZ, seed=st.integers(0, 2**16), n_units=st.integers(1, 60), dedup=st.booleans()
)
def test_tokens_are_sorted_by_exact_time(rates_hz, seed, n_units, dedup):
    rates = dict(zip(VOCAB.streams, map(Fraction, rates_hz), strict=True))
    n_frames = {n: max(1, round(n_units * r / rates["units"])) for n, r in rates.items()}
    generator = torch.Generator().manual_seed(seed)
    frames = {
        n: torch.randint(0, min(2, VOCAB.n_units(n)), (k,), generator=generator).tolist()
        for n, k in n_frames.items()
    }
    # Every run of one code once, at the exact time of its first frame.
    timed = []
    for place, name in enumerate(VOCAB.streams):
        numbered = list(enumerate(frames[name]))
        if dedup and name != "style":
            numbered = [next(iter(run)) for _, run in groupby(numbered, key=lambda x: x[1])]
        timed += [
            (frame / rates[name], place, VOCAB.streams[name][code]) for frame, code in numbered
        ]
    streams = {
        n: Units.from_frames(
            torch.tensor(f), frame_rate_hz=float(rates[n]), dedup=dedup and n != "style"
        )
        for n, f in frames.items()
    }
    merged = merge_streams(streams, VOCAB)
    assert list(merged.tokens) == [token for _, _, token in sorted(timed)]
    for name, ids in VOCAB.streams.items():  # each stream keeps its tokens and their order
        mine = [t for t in merged.tokens if t in ids]
        assert mine == VOCAB.unit_to_token(streams[name].ids, name).tolist()
    previous_end = 0
    for (start, end), token in zip(merged.unit_spans, unit_tokens(streams), strict=True):
        assert previous_end <= start
        assert [t for t in merged.tokens[start:end] if t in VOCAB.streams["units"]] == [token]
        previous_end = end


@given(
    edges=st.lists(st.integers(0, 40), min_size=2, max_size=8).map(sorted),
    durations=st.lists(st.integers(1, 4), min_size=10, max_size=20),
    seed=st.integers(0, 2**16),
)
def test_words_carry_their_units_in_order_without_overlap(edges, durations, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 10, (len(durations),), generator=generator)
    n_pitches = max(1, sum(durations) // 2)
    pitches = torch.randint(0, 6, (n_pitches,), generator=generator)
    streams = {
        "units": Units(ids, torch.tensor(durations), 25.0),
        "pitch": Units.from_frames(pitches, frame_rate_hz=12.5, dedup=True),
        "style": Units.from_frames(torch.zeros(1).long(), frame_rate_hz=1.0, dedup=False),
    }
    top_s = streams["units"].duration_s
    times_s = [min(e / 25, top_s) for e in edges]
    words = Alignment(tuple(AlignedWord("w", a, b) for a, b in pairwise(times_s)))
    sequence = SpeechTextSequence.from_speech(streams, words, VOCAB, marker=False)
    expected = word_unit_spans(streams["units"].ends_s.tolist(), words)
    for word, (first, last) in zip(sequence.words, expected, strict=True):
        carried = [t for t in sequence.tokens[word.start : word.end].tolist() if t < PI]
        assert carried == unit_tokens(streams)[first:last]
        assert (word.start == word.end) == (first == last)
    one_stream = dataclasses.replace(
        VOCAB, streams={"units": range(HU, PI)}, padding=range(PI, THE)
    )
    alone = SpeechTextSequence.from_speech(streams["units"], words, one_stream, marker=False)
    assert [(w.start, w.end) for w in alone.words] == list(expected)
