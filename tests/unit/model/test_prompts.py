"""Prompts of the published families in small, token by token.

The shapes are those of each family's own code or paper; the vocabularies are made up, with words
at the low ids. A name in the comments is the published token.
"""

import inspect
import re

import pytest
import torch

from slm_lens import (
    AlignedWord,
    Alignment,
    PromptFormat,
    SpeechTextVocab,
    Turn,
    Units,
    VocabError,
)
from slm_lens.model._prompts import (
    _check_choices,
    interleaved_prompt,
    spoken_prompt,
    written_prompt,
)

# Words with a space before them, and the same three without; a line break.
TEXT = {" the": 0, " zebra": 1, " lives": 2, "the": 3, "zebra": 4, "lives": 5, "\n": 6}
ALIGNMENT = Alignment(
    (
        AlignedWord("the", 0.0, 0.08),
        AlignedWord("zebra", 0.09, 0.16),
        AlignedWord("lives", 0.17, 0.25),
    )
)


def vocabulary(d_vocab, streams, markers=None, specials=None, text=TEXT):
    def encode_text(written):
        return [text[piece] for piece in re.findall(r" ?[a-z]+|\n", written)]

    owned = [*text.values(), *(markers or {}).values(), *(specials or {}).values()]
    owned += [t for ids in streams.values() for t in ids]
    return SpeechTextVocab(
        d_vocab=d_vocab,
        text=list(text.values()),
        streams=streams,
        markers=markers or {},
        specials=specials or {},
        padding=sorted(set(range(d_vocab)) - set(owned)),
        encode_text=encode_text if text else None,
    )


def units(*ids, durations=None, hz=12.5):
    return Units(torch.tensor(ids), torch.tensor(durations or [1] * len(ids)), hz)


class Family:
    """A vocabulary with its prompt format, and the three kinds of prompt as plain ids."""

    def __init__(self, vocab, prompt):
        self.vocab, self.prompt = vocab, prompt

    def speech(self, speech, continue_in=None, chat=False):
        made = spoken_prompt(
            speech, None, self.vocab, self.prompt, continue_in=continue_in, chat=chat
        )
        return made.tokens.tolist()

    def text(self, continue_in=None, chat=False, text="the zebra"):
        made = written_prompt(text, self.vocab, self.prompt, continue_in=continue_in, chat=chat)
        return made.tokens.tolist()

    def mixed(self, speech, spoken, continue_in=None):
        made = interleaved_prompt(
            speech, ALIGNMENT, self.vocab, self.prompt, spoken=spoken, continue_in=continue_in
        )
        return made.tokens.tolist()


def bare_format(**changes):
    plain = {
        "before": (),
        "after": (),
        "mark_speech_only": False,
        "mark_text_only": False,
        "repeat_marker": False,
    }
    return PromptFormat(**plain | changes)


class TestSims:
    """slamkit, ``interleaving_tokeniser.py``: units from 10, then <speech> and <text>."""

    SPEECH, TEXT = 18, 19
    vocab = vocabulary(20, {"units": range(10, 18)}, {"speech": SPEECH, "text": TEXT})
    sims = Family(vocab, bare_format(mark_text_only=True, repeat_marker=True))
    clip = units(3, 7, 1)

    def test_whole(self):
        assert self.sims.speech(self.clip) == [13, 17, 11]
        assert self.sims.text() == [self.TEXT, 0, 1]
        mixed = self.sims.mixed(self.clip, [False, True, False])
        assert mixed == [self.TEXT, 0, self.SPEECH, 17, self.TEXT, 2]

    def test_generation_appends_the_marker_even_of_the_same_modality(self):
        assert self.sims.speech(self.clip, "speech") == [13, 17, 11, self.SPEECH]
        assert self.sims.speech(self.clip, "text") == [13, 17, 11, self.TEXT]
        assert self.sims.text("text") == [self.TEXT, 0, 1, self.TEXT]
        assert self.sims.text("speech") == [self.TEXT, 0, 1, self.SPEECH]
        mixed = self.sims.mixed(self.clip, [False, False, True], "speech")
        assert mixed == [self.TEXT, 0, 1, self.SPEECH, 11, self.SPEECH]

    def test_a_bos_of_the_text_tokenizer_comes_first(self):
        # The Llama bases; id 9 is <|begin_of_text|>.
        vocab = vocabulary(
            20, {"units": range(10, 18)}, {"speech": 18, "text": 19}, {"<|begin_of_text|>": 9}
        )
        llama = Family(vocab, bare_format(before=(9,), mark_text_only=True, repeat_marker=True))
        assert llama.speech(self.clip, "text") == [9, 13, 17, 11, 19]
        assert llama.text() == [9, 19, 0, 1]


class TestSlam:
    """slamkit, ``unit_tokeniser.py``: <PAD> 0, <S> 1, unit u is 2 + u; nothing else."""

    vocab = vocabulary(10, {"units": range(2, 10)}, specials={"<PAD>": 0, "<S>": 1}, text={})
    slam = Family(vocab, bare_format(before=(1,), after=(1,)))

    def test_s_at_both_ends_and_at_one_for_generation(self):
        assert self.slam.speech(units(3, 7)) == [1, 5, 9, 1]
        assert self.slam.speech(units(3, 7), "speech") == [1, 5, 9]

    def test_there_is_no_text(self):
        with pytest.raises(VocabError, match=r"continue_in='text', but .* has no text tokens"):
            self.slam.speech(units(3, 7), "text")
        with pytest.raises(VocabError, match=r"has no text tokens.*unit-only"):
            self.slam.text()


# 24.99 Hz, deduplicated: units start at 0, 0.08, 0.12 s; pitch at 0 and 0.08 s, the second just
# before the unit there (2 / 24.99 > 1 / 12.5); style at 0.
SPIRIT_CLIP = {
    "units": units(4, 9, 4, durations=[2, 1, 2], hz=24.99),
    "pitch": units(5, 0),
    "style": units(2, hz=1.0),
}


class TestSpiritLm:
    """spiritlm, ``_build_prompt`` and ``units_to_string``, the expressive model."""

    BOS, TEXT, SPEECH, HU, PI, ST = 7, 8, 9, 10, 20, 26
    vocab = vocabulary(
        29,
        {"style": range(ST, ST + 3), "pitch": range(PI, PI + 6), "units": range(HU, HU + 10)},
        {"speech": SPEECH, "text": TEXT},
        {"<s>": BOS},
    )
    spirit = Family(vocab, bare_format(before=(BOS,), mark_speech_only=True, mark_text_only=True))
    merged = (ST + 2, PI + 5, HU + 4, PI + 0, HU + 9, HU + 4)

    def test_whole(self):
        assert self.spirit.speech(SPIRIT_CLIP) == [self.BOS, self.SPEECH, *self.merged]
        assert self.spirit.text() == [self.BOS, self.TEXT, 0, 1]

    def test_a_prefix_only_where_the_modality_changes(self):
        prompt = [self.BOS, self.SPEECH, *self.merged]
        assert self.spirit.speech(SPIRIT_CLIP, "speech") == prompt
        assert self.spirit.speech(SPIRIT_CLIP, "text") == [*prompt, self.TEXT]
        assert self.spirit.text("text") == [self.BOS, self.TEXT, 0, 1]
        assert self.spirit.text("speech") == [self.BOS, self.TEXT, 0, 1, self.SPEECH]

    def test_interleaved(self):
        mixed = self.spirit.mixed(SPIRIT_CLIP, [False, True, True], "text")
        # The first unit ends after "the", at 2 / 24.99 s, and before "zebra": it is of no word.
        speech = [self.HU + 9, self.HU + 4]
        assert mixed == [self.BOS, self.TEXT, 0, self.SPEECH, *speech, self.TEXT]

    def test_all_three_streams_are_needed(self):
        with pytest.raises(VocabError, match=r"missing: \['style'\]"):
            self.spirit.speech({n: SPIRIT_CLIP[n] for n in ("units", "pitch")})


class TestGlm4Voice:
    """GLM-4-Voice, ``web_demo.py``: [gMASK]<sop> first, audio in a pair, text bare, turns."""

    GMASK, SOP, SYSTEM, USER, ASSISTANT, BEGIN, END = 7, 8, 9, 10, 11, 12, 13
    vocab = vocabulary(
        24,
        {"units": range(14, 24)},
        {"speech": BEGIN, "speech_end": END},
        {"[gMASK]": 7, "<sop>": 8, "<|system|>": 9, "<|user|>": 10, "<|assistant|>": 11},
    )
    # <|system|>\n{system}<|user|>\n ... <|assistant|>streaming_transcription\n, with "the" for
    # the system's words and "lives" for the name of the answer.
    turn = Turn(before=(SYSTEM, 6, 3, USER, 6), after=(ASSISTANT, 5, 6))
    glm = Family(
        vocab,
        bare_format(
            before=(GMASK, SOP),
            mark_speech_only=True,
            chat={"speech": turn, "text": turn},
            leading_space=False,
        ),
    )
    clip = units(3, 3, 9)
    audio = (17, 17, 23)

    def test_whole(self):
        start = [self.GMASK, self.SOP]
        assert self.glm.speech(self.clip) == [*start, self.BEGIN, *self.audio, self.END]
        assert self.glm.text() == [*start, 3, 1]  # "the zebra"
        mixed = self.glm.mixed(self.clip, [False, True, False])
        assert mixed == [*start, 3, self.BEGIN, 17, self.END, 5]

    def test_continued(self):
        start = [self.GMASK, self.SOP, self.BEGIN, *self.audio]
        assert self.glm.speech(self.clip, "speech") == start
        assert self.glm.speech(self.clip, "text") == [*start, self.END]
        assert self.glm.text("speech") == [self.GMASK, self.SOP, 3, 1, self.BEGIN]
        assert self.glm.text("text") == [self.GMASK, self.SOP, 3, 1]

    def test_chat(self):
        start = [self.GMASK, self.SOP, self.SYSTEM, 6, 3, self.USER, 6]
        end = [self.ASSISTANT, 5, 6]
        spoken = [*start, self.BEGIN, *self.audio, self.END, *end]
        assert self.glm.speech(self.clip, chat=True) == spoken
        assert self.glm.text(chat=True) == [*start, 3, 1, *end]

    def test_chat_has_no_other_continuation(self):
        with pytest.raises(ValueError, match=r"continue_in='speech' with chat=True"):
            self.glm.speech(self.clip, "speech", chat=True)


# Two frames: <3_0><0_1><1_2><4_3> and <2_0><2_1><0_2><1_3>.
MIMI_CLIP = {
    "units": units(3, 2),
    "codebook_1": units(0, 2),
    "codebook_2": units(1, 0),
    "codebook_3": units(4, 1),
}


class TestLlamaMimi:
    """llama-mimi: <{code}_{codebook}> is 4 x code + codebook, between <audio> and </audio>."""

    AUDIO, END = 7, 8
    vocab = vocabulary(
        29,
        {name: range(9 + q, 29, 4) for q, name in enumerate(MIMI_CLIP)},
        {"speech": AUDIO, "speech_end": END},
    )
    mimi = Family(vocab, bare_format(mark_speech_only=True))
    codes = (21, 10, 15, 28, 17, 18, 11, 16)  # 9 + 4 x code + codebook

    def test_speech(self):
        assert self.mimi.speech(MIMI_CLIP) == [self.AUDIO, *self.codes, self.END]
        assert self.mimi.speech(MIMI_CLIP, "speech") == [self.AUDIO, *self.codes]

    def test_text_is_bare(self):
        assert self.mimi.text() == [0, 1]
        assert self.mimi.text("speech") == [0, 1, self.AUDIO]


class TestSoda:
    """SODA: <|begin_of_text|>, both modalities between a start and an end."""

    BOS, TEXT, TEXT_END, AUDIO, AUDIO_END = 7, 8, 9, 10, 11
    names = ("units", *(f"codebook_{q}" for q in range(1, 8)))
    vocab = vocabulary(
        28,
        {name: range(12 + 2 * q, 14 + 2 * q) for q, name in enumerate(names)},
        {"speech": AUDIO, "speech_end": AUDIO_END, "text": TEXT, "text_end": TEXT_END},
        {"<|begin_of_text|>": BOS},
    )
    soda = Family(
        vocab,
        bare_format(before=(BOS,), mark_speech_only=True, mark_text_only=True, leading_space=False),
    )
    # Codebook q has its two codes at 12 + 2q and 13 + 2q.
    frames = (range(12, 28, 2), range(13, 28, 2), range(13, 28, 2))

    @property
    def clip(self):
        return dict.fromkeys(self.names, units(0, 1, 1))

    def test_whole(self):
        codes = [t for frame in self.frames for t in frame]
        assert self.soda.speech(self.clip) == [self.BOS, self.AUDIO, *codes, self.AUDIO_END]
        assert self.soda.text() == [self.BOS, self.TEXT, 3, 1, self.TEXT_END]

    def test_interleaved(self):
        written, heard = [self.TEXT, 3, self.TEXT_END], [self.AUDIO, *self.frames[1]]
        spoken = [False, True, False]
        mixed = self.soda.mixed(self.clip, spoken)
        last = [self.TEXT, 5, self.TEXT_END]
        assert mixed == [self.BOS, *written, *heard, self.AUDIO_END, *last]
        mixed = self.soda.mixed(self.clip, spoken, "text")
        assert mixed == [self.BOS, *written, *heard, self.AUDIO_END, self.TEXT, 5]
        mixed = self.soda.mixed(self.clip, spoken, "speech")
        assert mixed == [self.BOS, *written, *heard, self.AUDIO_END, *last, self.AUDIO]


class TestOrpheus:
    """Orpheus: <human><bos> text <eot></human><ai>, then the answer in speech; 7 codes a frame."""

    HUMAN, BOS, EOT, HUMAN_END, AI, SPEECH, SPEECH_END = range(7, 14)
    names = ("units", *(f"code_{i}" for i in range(1, 7)))
    vocab = vocabulary(
        35,
        {name: range(14 + 3 * i, 17 + 3 * i) for i, name in enumerate(names)},
        {"speech": SPEECH, "speech_end": SPEECH_END},
        {"<human>": 7, "<|begin_of_text|>": 8, "<|eot_id|>": 9, "</human>": 10, "<ai>": 11},
    )
    orpheus = Family(
        vocab,
        bare_format(
            before=(HUMAN, BOS),
            mark_speech_only=True,
            chat={"text": Turn(before=(), after=(EOT, HUMAN_END, AI, SPEECH))},
            leading_space=False,
        ),
    )

    def test_what_is_to_be_said(self):
        asked = [self.HUMAN, self.BOS, 3, 1, self.EOT, self.HUMAN_END, self.AI, self.SPEECH]
        assert self.orpheus.text(chat=True) == asked

    def test_a_frame(self):
        clip = {name: units(i % 3) for i, name in enumerate(self.names)}
        codes = [14, 18, 22, 23, 27, 31, 32]  # 14 + 3i + i % 3
        start = [self.HUMAN, self.BOS, self.SPEECH]
        assert self.orpheus.speech(clip) == [*start, *codes, self.SPEECH_END]

    def test_a_modality_without_a_turn_is_refused(self):
        clip = dict.fromkeys(self.names, units(0))
        with pytest.raises(ValueError, match=r"no turn for speech \(it has turns for \['text'\]\)"):
            self.orpheus.speech(clip, chat=True)


def test_words_keep_their_place_in_a_turn():
    made = spoken_prompt(
        TestGlm4Voice.clip,
        ALIGNMENT,
        TestGlm4Voice.vocab,
        TestGlm4Voice.glm.prompt,
        continue_in=None,
        chat=True,
    )
    # 2 + 5 tokens and the marker come first; a word is a frame of 0.08 s.
    assert [(w.word, w.start, w.end) for w in made.words] == [
        ("the", 8, 9),
        ("zebra", 9, 10),
        ("lives", 10, 11),
    ]
    assert made.kinds[6:9] == ("text", "marker", "speech")


def test_an_unknown_modality_is_refused():
    unchecked = inspect.unwrap(_check_choices)  # beartype would be first to refuse it
    with pytest.raises(ValueError, match=r"continue_in='audio', expected one of \('speech', 'te"):
        unchecked(TestSims.vocab, "audio", False)


def test_one_choice_for_each_word():
    for spoken in ([], [True]):
        with pytest.raises(ValueError, match=f"got {len(spoken)} choices for 3 words"):
            TestSims.sims.mixed(TestSims.clip, spoken)
