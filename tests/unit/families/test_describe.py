"""What `describe_model` says of each family, beside ids that the writers of the folders gave."""

import dataclasses

import pytest
from folders import WRITERS, N

import slm_lens


@pytest.fixture
def described(loaded):
    return lambda layout: slm_lens.describe_model(loaded(layout))


def test_every_family_is_described_and_its_prompts_can_be_written(loaded, described):
    for layout, (family, _) in WRITERS.items():
        rows = described(layout)
        assert rows["model"]["family"] == family
        assert rows["model"]["adapter"] == "none"
        assert rows["model"]["unit tokenizer"].startswith("none")
        assert rows["model"]["tokens of a word"] == loaded(layout).word_policy
        text = ["text only", "interleaved"] if loaded(layout).vocab.text else []
        chat = [f"chat in {m}" for m in loaded(layout).prompt_format.chat]
        assert list(rows["prompts"]) == ["speech only", *text, *chat]
        assert not [p for p in rows["prompts"].values() if p.startswith("cannot")]


def test_streams_have_their_rate_and_deduplication(described):
    rows = described("Spirit LM expressive")["vocabulary"]
    assert rows["speech stream 'units'"] == "501 rows: 332-832; 24.99 Hz, deduplicated"
    assert rows["speech stream 'style'"] == "100 rows: 897-996; 1 Hz, not deduplicated"
    assert rows["padding"] == "9 rows: 997-1005"
    # Ichigo's rate is not published.
    (units,) = (v for k, v in described("Ichigo")["vocabulary"].items() if "stream" in k)
    assert units == f"512 rows: {N}-{N + 511}; not deduplicated"


def test_markers_have_the_name_that_the_tokenizer_gives_them(described):
    rows = described("GLM-4-Voice")["prompt format"]
    assert rows["speech marker"] == "<speech> (276), written <|begin_of_audio|>"
    assert rows["speech end marker"] == "<speech_end> (277), written <|end_of_audio|>"
    assert rows["text marker"] == "none"
    assert rows["chat turn in text"].startswith(r'"<|system|>\nUser will provide you with a text')
    assert rows["chat turn in text"].endswith(r'<|user|>\n" ... "<|assistant|>streaming_'
                                              r'transcription\n"')  # fmt: skip


def test_prompts_by_hand(described):
    sims = described("SIMS, Qwen2 base")["prompts"]
    assert sims["speech only"] == f"<Un0> ({N}) <Un1> ({N + 1})"
    assert sims["text only"].startswith(f'<text> ({N + 21}) " " (')
    assert sims["interleaved"].endswith(f'"t" (86) <speech> ({N + 20}) <Un1> ({N + 1})')
    assert described("Slam")["prompts"] == {"speech only": "<S> (1) <Un0> (2) <Un1> (3) <S> (1)"}
    # Style and pitch start with the first unit; a second of pitch takes two units.
    assert described("Spirit LM expressive")["prompts"]["speech only"] == (
        "<s> (1) <speech> (331) <style 0> (897) <pitch 0> (833) <Un0> (332) <Un1> (333)"
    )


def test_a_long_turn_is_cut_but_never_the_words(described):
    spoken = described("GLM-4-Voice")["prompts"]["chat in speech"]
    start, system, words_and_answer = spoken.split(" ... ", 2)[0], *spoken.split(" ... ", 2)[1:]
    assert start == '[gMASK] (268) <sop> (270) <|system|> (272) "\\n" (10)'
    assert system.endswith(" more")
    assert (
        '<|user|> (273) "\\n" (10) <speech> (276) <Un0> (300) <Un1> (301) <speech_end> (277) '
        "<|assistant|> (274)" in words_and_answer
    )
    assert spoken.endswith('"\\n" (10)')


def test_a_prompt_that_cannot_be_written_says_why(own_model):
    own_model.prompt_format = dataclasses.replace(own_model.prompt_format, mark_speech_only=True)
    own_model.vocab = dataclasses.replace(
        own_model.vocab, markers={}, specials={**own_model.vocab.specials, "a": 58, "b": 59}
    )
    shown = slm_lens.describe_model(own_model)["prompts"]
    assert shown["speech only"].startswith("cannot be written: SpeechTextSequence: the vocabulary")


def test_a_unit_tokenizer_is_described():
    rows = slm_lens.describe_model(slm_lens.load("organism"))["model"]
    assert rows["unit tokenizer"] == "MfccKMeans: 100 units, 25 Hz, deduplicated"
    assert rows["family"] == "sims"
