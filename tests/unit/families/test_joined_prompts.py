"""Prompts with completions in each family's format, as ids by hand; `N` as in the other prompts."""

import pytest
import torch
from folders import N

import slm_lens
from slm_lens import Units, VocabError

# Units sound from 0, 0.04 and 0.12 s on, to 0.16 s.
UNITS = Units(torch.tensor([3, 9, 3]), torch.tensor([1, 2, 1]), 25.0)


def frames(units, rate=12.5):
    return Units(torch.tensor(units), torch.ones(len(units), dtype=torch.int64), rate)


def text(model, written):
    return model.vocab.encode_text(written)


def parts(joined):
    """Token ids of the prompt and of the completion."""
    tokens = joined.sequence.tokens.tolist()
    return tokens[: joined.start], tokens[joined.start :]


class TestSims:
    SPEECH, TEXT, SPOKEN = N + 20, N + 21, [N + 3, N + 9, N + 3]

    @pytest.fixture
    def model(self, loaded):
        return loaded("SIMS, Qwen2 base")

    def test_speech_then_text(self, model):
        the_lion = text(model, " the lion")
        joined = slm_lens.join_segments(model, UNITS, "the lion")
        assert parts(joined) == ([*self.SPOKEN, self.TEXT], the_lion)
        marked = slm_lens.join_segments(model, UNITS, "the lion", marked=True)
        assert parts(marked) == ([self.SPEECH, *self.SPOKEN, self.TEXT], the_lion)
        words = [(w.word, w.modality, w.start) for w in marked.sequence.words]
        start = marked.start
        assert words == [
            ("the", "text", start),
            ("lion", "text", start + len(text(model, " the"))),
        ]
        assert marked.sequence.kinds == ("marker", *["speech"] * 3, "marker") + ("text",) * len(
            the_lion
        )

    def test_text_then_speech(self, model):
        joined = slm_lens.join_segments(model, "the lion", UNITS)
        expected = [self.TEXT, *text(model, " the lion"), self.SPEECH]
        assert parts(joined) == (expected, self.SPOKEN)
        bare = slm_lens.join_segments(model, "the lion", UNITS, marked=False)
        assert parts(bare) == (expected[1:], self.SPOKEN)

    def test_text_then_text_is_the_text_in_one(self, model):
        joined = slm_lens.join_segments(model, "the zebra", "lives in")
        assert parts(joined) == (
            [self.TEXT, *text(model, " the zebra")],
            text(model, " lives in"),
        )
        whole = model.sequence_from_text("the zebra lives in")
        assert joined.sequence.tokens.tolist() == whole.tokens.tolist()
        assert joined.sequence.words == whole.words

    @pytest.mark.parametrize(
        ("prompt_s", "n_of_prompt"),
        # A unit that sounds across the prompt's end is of the prompt: 9 lasts from 0.04 to 0.12.
        [(0.001, 1), (0.04, 1), (0.041, 2), (0.12, 2), (0.12 + 1e-9, 2), (3 * 0.04, 2)],
    )
    def test_speech_in_speech(self, model, prompt_s, n_of_prompt):
        joined = slm_lens.join_speech(model, UNITS, prompt_s=prompt_s)
        assert parts(joined) == (self.SPOKEN[:n_of_prompt], self.SPOKEN[n_of_prompt:])
        marked = slm_lens.join_speech(model, UNITS, prompt_s=prompt_s, marked=True)
        assert parts(marked) == ([self.SPEECH, *parts(joined)[0]], parts(joined)[1])

    @pytest.mark.parametrize(("prompt_s", "n"), [(0.0, 0), (-1.0, 0), (0.13, 3), (40.0, 3)])
    def test_a_prompt_or_completion_without_speech_is_refused(self, model, prompt_s, n):
        match = rf"join_speech: got prompt_s={prompt_s:g}, before which {n} of 3 speech tokens"
        with pytest.raises(ValueError, match=match):
            slm_lens.join_speech(model, UNITS, prompt_s=prompt_s)

    def test_what_is_no_prompt_is_refused(self, model):
        with pytest.raises(ValueError, match=r"got speech as prompt and as completion.*join_speec"):
            slm_lens.join_segments(model, UNITS, UNITS)
        with pytest.raises(ValueError, match=r"join_segments: got ' ' as completion, expected at"):
            slm_lens.join_segments(model, "the", " ")
        fifty = Units(UNITS.ids, UNITS.durations_frames, 50.0)
        with pytest.raises(ValueError, match=r"units at 50.0 Hz, expected 25 Hz"):
            slm_lens.join_segments(model, "the", fifty)

    @pytest.mark.usefixtures("untyped")
    def test_what_is_neither_words_nor_units_is_refused(self, model):
        with pytest.raises(TypeError, match=r"join_segments: got a list as prompt, expected words"):
            slm_lens.join_segments(model, [3, 9], "the")  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=r"got a str, expected Units"):
            slm_lens.join_speech(model, "the", prompt_s=1.0)  # pyright: ignore[reportArgumentType]

    def test_a_joined_trial_is_scored_from_its_completion_on(self, model):
        right = slm_lens.join_segments(model, UNITS, "the lion")
        wrong = slm_lens.join_segments(model, UNITS, "lives")
        trial = slm_lens.Trial("t", "", right.sequence, wrong.sequence, right.start, wrong.start)
        table = slm_lens.score_trials(model, [trial]).table
        n_right, n_wrong = len(text(model, " the lion")), len(text(model, " lives"))
        assert table["n_tokens"].to_list() == [3 + n_right, 3 + n_wrong, n_right, n_wrong]


def test_slam_closes_what_it_says(loaded):
    model = loaded("Slam")
    joined = slm_lens.join_speech(model, UNITS, prompt_s=0.04)
    assert parts(joined) == ([1, 5], [11, 5, 1])
    with pytest.raises(VocabError, match=r"join_segments: .* has no text tokens"):
        slm_lens.join_segments(model, UNITS, "the")
    with pytest.raises(VocabError, match=r"has no 'speech' marker"):
        slm_lens.join_speech(model, UNITS, prompt_s=0.04, marked=True)


def test_spirit_lm_expressive_begins_with_whatever_token_starts_first(loaded):
    """Style at 0 s; pitch at 0 and 0.08 s; units at 0, 0.04 and 0.12 s (frames of 24.99 Hz)."""
    model = loaded("Spirit LM expressive")
    speech, hu, pi, st = 331, 332, 833, 897
    streams = {
        "units": Units(torch.tensor([3, 9, 3]), torch.tensor([1, 2, 1]), 24.99),
        "pitch": Units(torch.tensor([39, 48]), torch.tensor([1, 1]), 12.5),
        "style": frames([71], 1.0),
    }
    joined = slm_lens.join_speech(model, streams, prompt_s=0.06)
    assert parts(joined) == (
        [1, speech, st + 71, pi + 39, hu + 3, hu + 9],
        [pi + 48, hu + 3],
    )


def test_llama_mimi_marks_speech_alone_and_in_pairs(loaded):
    model = loaded("Llama-Mimi")
    streams = {
        "units": frames([2, 5]),
        "codebook_1": frames([0, 1]),
        "codebook_2": frames([3, 3]),
        "codebook_3": frames([7, 15]),
    }
    codes = [N + 8, N + 1, N + 14, N + 31, N + 20, N + 5, N + 14, N + 63]
    begin, end, the_lion = N + 64, N + 65, text(model, "the lion")
    joined = slm_lens.join_segments(model, streams, "the lion")
    assert parts(joined) == ([1, begin, *codes, end], the_lion)
    joined = slm_lens.join_segments(model, "the lion", streams)
    assert parts(joined) == ([1, *the_lion, begin], [*codes, end])
    # A frame stays whole: its codes start together.
    joined = slm_lens.join_speech(model, streams, prompt_s=0.08)
    assert parts(joined) == ([1, begin, *codes[:4]], [*codes[4:], end])
    with pytest.raises(VocabError, match=r"has no 'text' marker"):
        slm_lens.join_segments(model, "the lion", streams, marked=True)


def test_soda_marks_both_in_pairs(loaded):
    model = loaded("SODA")
    names = ["units", *(f"codebook_{q}" for q in range(1, 8))]
    streams = {name: frames([10 + q]) for q, name in enumerate(names)}
    codes = [N + 6 + 2048 * q + 10 + q for q in range(8)]
    begin, text_start, text_end, audio_start, audio_end = N, N + 2, N + 3, N + 4, N + 5
    the_lion = text(model, "the lion")
    joined = slm_lens.join_segments(model, "the lion", streams)
    assert parts(joined) == (
        [begin, text_start, *the_lion, text_end, audio_start],
        [*codes, audio_end],
    )
    joined = slm_lens.join_segments(model, streams, "the lion")
    assert parts(joined) == (
        [begin, audio_start, *codes, audio_end, text_start],
        [*the_lion, text_end],
    )


def test_a_format_without_markers_cannot_change_the_modality(loaded):
    from dataclasses import replace

    model = loaded("SIMS, Qwen2 base")
    vocab = model.vocab
    bare = replace(vocab, markers={}, specials={**vocab.specials, "<a>": N + 20, "<b>": N + 21})
    model.vocab = bare
    try:
        for prompt, completion in ((UNITS, "the"), ("the", UNITS)):
            with pytest.raises(ValueError, match=r"no marker between the prompt and it"):
                slm_lens.join_segments(model, prompt, completion, marked=False)
    finally:
        model.vocab = vocab
