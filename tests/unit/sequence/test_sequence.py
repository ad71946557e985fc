"""Sequences against the string that slamkit would write, and against hand counts."""

import dataclasses
from bisect import bisect_left, bisect_right
from itertools import accumulate

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slamkit_folders import WORDS, word_tokenizer

from slm_lens import (
    AlignedWord,
    Alignment,
    AlignmentError,
    SpeechTextSequence,
    SpeechTextVocab,
    Units,
    VocabError,
    WordSpan,
    word_unit_spans,
)

# 38 tokens of control, words and letters (tests/unit/slamkit_folders.py), 20 units, 2 markers.
THE, ZEBRA, LIVES, IN, UN0, SPEECH, TEXT = 3, 4, 6, 7, 38, 58, 59
TOKENIZER = word_tokenizer()
TOKENIZER.add_tokens([*(f"<Un{u}>" for u in range(20)), "<speech>", "<text>"])
VOCAB = SpeechTextVocab(
    d_vocab=60,
    text=range(3, 38),
    streams={"units": range(38, 58)},
    markers={"speech": SPEECH, "text": TEXT},
    specials={"<pad>": 0, "<eos>": 1, "<unk>": 2},
    encode_text=lambda text: TOKENIZER.encode(text, add_special_tokens=False),
)

# Ends: 0.08, 0.12, 0.24, 0.32, 0.36, 0.40 s.
UNITS = Units(torch.tensor([4, 7, 1, 0, 9, 3]), torch.tensor([2, 1, 3, 2, 1, 1]), 25.0)
ALIGNMENT = Alignment(
    (
        AlignedWord("the", 0.0, 0.08),
        AlignedWord("zebra", 0.10, 0.30),  # unit 3 runs past its end
        AlignedWord("lives", 0.30, 0.32),
        AlignedWord("in", 0.38, 0.39),  # unit 4 ends in the pause before it, none in it
    )
)


def spans(sequence):
    return [(w.word, w.modality, w.start, w.end) for w in sequence.words]


class TestSpeech:
    def test_by_hand(self):
        sequence = SpeechTextSequence.from_speech(UNITS, ALIGNMENT, VOCAB, marker=False)
        assert sequence.tokens.tolist() == [UN0 + u for u in (4, 7, 1, 0, 9, 3)]
        assert sequence.kinds == ("speech",) * 6
        assert spans(sequence) == [
            ("the", "speech", 0, 1),
            ("zebra", "speech", 1, 3),
            ("lives", "speech", 3, 4),
            ("in", "speech", 5, 5),
        ]
        assert (sequence.words[1].start_s, sequence.words[1].end_s) == (0.10, 0.30)

    def test_what_stands_before_shifts_the_words(self):
        sequence = SpeechTextSequence.from_speech(UNITS, ALIGNMENT, VOCAB, marker=True, before=[1])
        assert sequence.tokens[:3].tolist() == [1, SPEECH, UN0 + 4]
        assert sequence.kinds[:3] == ("special", "marker", "speech")
        assert spans(sequence)[1] == ("zebra", "speech", 3, 5)

    def test_without_an_alignment_there_are_no_words(self):
        sequence = SpeechTextSequence.from_speech(UNITS, None, VOCAB, marker=False)
        assert len(sequence) == 6
        assert sequence.words == ()

    def test_times_past_the_units_are_refused(self):
        # 2 frames of grace after 0.40 s: an encoder drops the end of a clip.
        for end_s, fits in ((0.48, True), (0.49, False)):
            late = Alignment((AlignedWord("the", 0.0, end_s),))
            if fits:
                SpeechTextSequence.from_speech(UNITS, late, VOCAB, marker=False)
                continue
            with pytest.raises(AlignmentError, match=r"'the' ends at 0.490 s, .* stop at 0.400 s"):
                SpeechTextSequence.from_speech(UNITS, late, VOCAB, marker=False)
            with pytest.raises(AlignmentError, match=r"before 0.480 s"):
                SpeechTextSequence.interleave(UNITS, late, VOCAB, spoken=[True])

    def test_a_unit_on_the_boundary_stays_with_the_word_it_sounds_in(self):
        meeting = Alignment((AlignedWord("the", 0.0, 0.12), AlignedWord("zebra", 0.12, 0.24)))
        assert word_unit_spans(UNITS.ends_s.tolist(), meeting) == ((0, 2), (2, 3))


class TestText:
    def test_by_hand(self):
        sequence = SpeechTextSequence.from_text(
            ["the", "zebra", "is"], VOCAB, marker=True, before=[1]
        )
        assert sequence.tokens.tolist() == [1, TEXT, THE, ZEBRA, 10]
        assert sequence.kinds == ("special", "marker", "text", "text", "text")
        assert spans(sequence) == [
            ("the", "text", 2, 3),
            ("zebra", "text", 3, 4),
            ("is", "text", 4, 5),
        ]
        assert sequence.words[0].start_s is None

    def test_no_words(self):
        assert SpeechTextSequence.from_text([], VOCAB, marker=True).tokens.tolist() == [TEXT]

    def test_a_word_of_several_pieces(self):
        # Not a word of the vocabulary, so " t" and letters.
        sequence = SpeechTextSequence.from_text(["tiralli", "lion"], VOCAB, marker=False)
        names = TOKENIZER.convert_ids_to_tokens(sequence.tokens.tolist())
        assert names == [" t", "i", "r", "a", "l", "l", "i", " lion"]
        assert [(w.start, w.end) for w in sequence.words] == [(0, 7), (7, 8)]

    @pytest.mark.parametrize("word", ["", " the", "the "])
    def test_spaces_around_words_are_refused(self, word):
        with pytest.raises(ValueError, match="as word 1, expected a word without surrounding"):
            SpeechTextSequence.from_text(["the", word], VOCAB, marker=False)

    def test_a_word_that_cannot_be_written_is_refused(self):
        with pytest.raises(VocabError, match=r"word 'quiz' becomes \['<unk>'\]"):
            SpeechTextSequence.from_text(["the", "quiz"], VOCAB, marker=False)
        with pytest.raises(VocabError, match=r"'<Un3>' becomes .*'<Un3>'"):
            SpeechTextSequence.from_text(["<Un3>"], VOCAB, marker=False)

    def test_a_word_of_no_token_is_refused(self):
        silent = SpeechTextVocab(
            d_vocab=1, text=[0], streams={"units": []}, encode_text=lambda _text: []
        )
        with pytest.raises(VocabError, match="word 'the' becomes no token at all"):
            SpeechTextSequence.from_text(["the"], silent, marker=False)

    def test_a_token_over_two_words_is_refused(self):
        # A tokenizer with a token for " the zebra", as BPE without splitting at spaces makes.
        ids = {" the zebra": [0], " the": [1], " zebra": [2]}
        greedy = SpeechTextVocab(
            d_vocab=3, text=range(3), streams={"units": []}, encode_text=ids.__getitem__
        )
        with pytest.raises(VocabError, match="end of word 0 'the' lies inside a token"):
            SpeechTextSequence.from_text(["the", "zebra"], greedy, marker=False)

    def test_a_vocabulary_without_tokenizer_is_refused(self):
        mute = SpeechTextVocab(d_vocab=1, text=[0], streams={"units": []})
        with pytest.raises(VocabError, match="cannot encode text, expected `encode_text`"):
            SpeechTextSequence.from_text(["the"], mute, marker=False)
        deaf = SpeechTextVocab(d_vocab=1, text=[], streams={"units": [0]})
        with pytest.raises(VocabError, match=r"has no text tokens.*unit-only"):
            SpeechTextSequence.from_text(["the"], deaf, marker=False)

    def test_a_missing_marker_is_refused(self):
        unmarked = SpeechTextVocab(d_vocab=1, text=[0], streams={"units": []})
        with pytest.raises(VocabError, match=r"has no 'text' marker \(it has \[\]\)"):
            SpeechTextSequence.from_text(["the"], unmarked, marker=True)


class TestInterleaved:
    def test_by_hand(self):
        sequence = SpeechTextSequence.interleave(
            UNITS, ALIGNMENT, VOCAB, spoken=[False, True, True, False], before=[1]
        )
        expected = [1, TEXT, THE, SPEECH, UN0 + 7, UN0 + 1, UN0 + 0, TEXT, IN]
        assert sequence.tokens.tolist() == expected
        assert spans(sequence) == [
            ("the", "text", 2, 3),
            ("zebra", "speech", 4, 6),
            ("lives", "speech", 6, 7),
            ("in", "text", 8, 9),
        ]
        assert [w.start_s for w in sequence.words] == [None, 0.10, 0.30, None]

    def test_pauses_within_a_run_are_kept_and_the_end_is_not(self):
        sequence = SpeechTextSequence.interleave(UNITS, ALIGNMENT, VOCAB, spoken=[True] * 4)
        assert sequence.tokens.tolist() == [SPEECH, *(UN0 + u for u in (4, 7, 1, 0, 9))]

    def test_a_spoken_word_without_units_leaves_its_marker(self):
        sequence = SpeechTextSequence.interleave(
            UNITS, ALIGNMENT, VOCAB, spoken=[False, False, False, True]
        )
        assert sequence.tokens.tolist() == [TEXT, THE, ZEBRA, LIVES, SPEECH]
        assert spans(sequence)[-1] == ("in", "speech", 5, 5)

    def test_one_choice_for_each_word(self):
        with pytest.raises(ValueError, match="got 2 choices for 4 words"):
            SpeechTextSequence.interleave(UNITS, ALIGNMENT, VOCAB, spoken=[True, False])

    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_the_tokens_of_slamkits_string(self, data):
        # Times in ms; frames of 40 ms. The string is written by the published rule, in integers,
        # and encoded by the tokenizer itself, markers and units included.
        n_words = data.draw(st.integers(1, 6))
        cuts = sorted(
            data.draw(st.lists(st.integers(0, 80), min_size=2 * n_words, max_size=2 * n_words))
        )
        times_ms = [(10 * cuts[2 * i], 10 * cuts[2 * i + 1]) for i in range(n_words)]
        words = data.draw(st.lists(st.sampled_from(WORDS), min_size=n_words, max_size=n_words))
        spoken = data.draw(st.lists(st.booleans(), min_size=n_words, max_size=n_words))
        durations = data.draw(st.lists(st.integers(1, 4), min_size=20, max_size=24))
        ids = data.draw(st.lists(st.integers(0, 19), min_size=24, max_size=24))[: len(durations)]

        ends_ms = [40 * frames for frames in accumulate(durations)]
        written = ""
        i = 0
        while i < n_words:
            j = i
            while j + 1 < n_words and spoken[j + 1] == spoken[i]:
                j += 1
            if spoken[i]:
                first = bisect_left(ends_ms, times_ms[i][0])
                last = bisect_right(ends_ms, times_ms[j][1])
                written += "<speech>" + "".join(f"<Un{u}>" for u in ids[first:last])
            else:
                written += "<text>" + "".join(f" {w}" for w in words[i : j + 1])
            i = j + 1

        sequence = SpeechTextSequence.interleave(
            Units(torch.tensor(ids), torch.tensor(durations), 25.0),
            Alignment(
                tuple(
                    AlignedWord(w, start / 1000, end / 1000)
                    for w, (start, end) in zip(words, times_ms, strict=True)
                )
            ),
            VOCAB,
            spoken=spoken,
        )
        assert sequence.tokens.tolist() == TOKENIZER.encode(written, add_special_tokens=False)
        assert [w.word for w in sequence.words] == words
        assert [w.modality == "speech" for w in sequence.words] == spoken

    def test_random_choices_come_from_the_generator(self):
        def draw(seed, share):
            return SpeechTextSequence.interleave_at_random(
                UNITS,
                ALIGNMENT,
                VOCAB,
                mean_span_words=1.0,
                speech_share=share,
                generator=np.random.default_rng(seed),
                before=[1, 0],
                after=[1],
            )

        assert torch.equal(draw(0, 0.5).tokens, draw(0, 0.5).tokens)
        assert {w.modality for w in draw(0, 0.0).words} == {"text"}
        n_spoken = sum(w.modality == "speech" for w in draw(1, 0.5).words)
        assert n_spoken >= 2
        assert draw(0, 0.5).tokens[:2].tolist() == [1, 0]
        assert draw(0, 0.5).tokens[-1] == 1


class TestMarkersInPairs:
    """Both ends around speech, none around text, as GLM-4-Voice and Llama-Mimi have them."""

    vocab = dataclasses.replace(VOCAB, markers={"speech": SPEECH, "speech_end": TEXT})
    both = dataclasses.replace(
        VOCAB,
        specials={"<pad>": 0},
        markers={"speech": SPEECH, "speech_end": TEXT, "text": 1, "text_end": 2},
    )

    @pytest.mark.parametrize(("closed", "end"), [(True, [TEXT]), (False, [])])
    def test_a_marked_run_is_closed_unless_it_is_to_go_on(self, closed, end):
        marked = SpeechTextSequence.from_speech(
            UNITS, ALIGNMENT, self.vocab, marker=True, before=[1], after=[THE, 0], closed=closed
        )
        units = [UN0 + u for u in (4, 7, 1, 0, 9, 3)]
        assert marked.tokens.tolist() == [1, SPEECH, *units, *end, THE, 0]
        assert spans(marked)[1] == ("zebra", "speech", 3, 5)
        bare = SpeechTextSequence.from_speech(UNITS, None, self.vocab, marker=False, closed=closed)
        assert bare.tokens.tolist() == units
        written = SpeechTextSequence.from_text(["the"], self.both, marker=True, closed=closed)
        assert written.tokens.tolist() == [1, THE] + [2] * closed
        written = SpeechTextSequence.from_text(["the"], self.vocab, marker=False, closed=closed)
        assert written.tokens.tolist() == [THE]

    @pytest.mark.parametrize("closed", [True, False])
    def test_only_the_last_run_can_stay_open(self, closed):
        def mixed(vocab, *spoken):
            words = Alignment(ALIGNMENT.words[:3])
            return SpeechTextSequence.interleave(UNITS, words, vocab, spoken=spoken, closed=closed)

        the, lives = [SPEECH, UN0 + 4, TEXT], [SPEECH, UN0 + 0] + [TEXT] * closed
        sequence = mixed(self.vocab, True, False, True)
        assert sequence.tokens.tolist() == [*the, ZEBRA, *lives]
        assert spans(sequence) == [
            ("the", "speech", 1, 2),
            ("zebra", "text", 3, 4),
            ("lives", "speech", 5, 6),
        ]
        assert mixed(self.vocab, True, False, False).tokens.tolist() == [*the, ZEBRA, LIVES]
        written = mixed(self.both, False, False, False).tokens.tolist()
        assert written == [1, THE, ZEBRA, LIVES] + [2] * closed

    def test_a_vocabulary_without_markers_interleaves(self):
        bare = dataclasses.replace(
            VOCAB, markers={}, specials={"x": 0, "y": 1, "z": 2, "s": 58, "t": 59}
        )
        sequence = SpeechTextSequence.interleave(
            UNITS, ALIGNMENT, bare, spoken=[False, True, True, False]
        )
        assert sequence.tokens.tolist() == [THE, UN0 + 7, UN0 + 1, UN0 + 0, IN]
        assert spans(sequence)[2:] == [("lives", "speech", 3, 4), ("in", "text", 4, 5)]

    def test_ids_outside_the_embedding_are_refused(self):
        message = r"ids \[(60|-1)\] in `before` or `after`, expected 0 <= id < d_vocab=60"
        with pytest.raises(VocabError, match=message):
            SpeechTextSequence.from_speech(UNITS, None, VOCAB, marker=False, before=[1, 60])
        with pytest.raises(VocabError, match=message):
            SpeechTextSequence.from_text(["the"], VOCAB, marker=False, after=[-1])


class TestLeadingSpace:
    def test_the_first_word_of_a_run_goes_without(self):
        # " the" is one token; "the" is spelled, since the tokenizer has words with a space alone.
        spelled = [TOKENIZER.get_vocab()[c] for c in "lives"]
        sequence = SpeechTextSequence.from_text(
            ["lives", "in"], VOCAB, marker=True, leading_space=False
        )
        assert sequence.tokens.tolist() == [TEXT, *spelled, IN]
        assert spans(sequence) == [("lives", "text", 1, 6), ("in", "text", 6, 7)]

    def test_in_every_run(self):
        two = Alignment((AlignedWord("lives", 0.0, 0.08), AlignedWord("in", 0.10, 0.30)))
        sequence = SpeechTextSequence.interleave(
            UNITS, two, VOCAB, spoken=[True, False], leading_space=False
        )
        in_letters = [TOKENIZER.get_vocab()[c] for c in "in"]
        assert sequence.tokens.tolist() == [SPEECH, UN0 + 4, TEXT, *in_letters]


class TestRefusals:
    tokens = torch.tensor([TEXT, THE, SPEECH, UN0])
    kinds = ("marker", "text", "marker", "speech")

    def make(self, *words, kinds=kinds):
        return SpeechTextSequence(self.tokens, kinds, words)

    def test_kinds_out_of_step(self):
        with pytest.raises(ValueError, match="got 4 tokens and 1 kinds"):
            self.make(kinds=("text",))
        with pytest.raises(ValueError, match="got 0 tokens and 0 kinds, expected at least one"):
            SpeechTextSequence(torch.tensor([], dtype=torch.int64), (), ())

    @pytest.mark.parametrize(
        ("start", "end"), [(2, 1), (-1, 1), (3, 5)], ids=["backwards", "before", "after"]
    )
    def test_spans_outside(self, start, end):
        with pytest.raises(ValueError, match=rf"\[{start}, {end}\).*0 <= start <= end <= 4"):
            self.make(WordSpan("the", "text", start, end))

    def test_spans_that_overlap(self):
        with pytest.raises(ValueError, match=r"word 1 'a' .*expected 2 <= start"):
            self.make(WordSpan("the", "text", 1, 2), WordSpan("a", "text", 1, 2))

    def test_spans_over_another_kind(self):
        with pytest.raises(ValueError, match=r"kind \['marker', 'text'\], expected only 'text'"):
            self.make(WordSpan("the", "text", 0, 2))
