"""The table of families: what it says is what loading does, and what was published."""

import pytest
from folders import WRITERS

import slm_lens
from slm_lens.families.family import Family
from slm_lens.families.overview import as_markdown, family_rows, in_backticks
from slm_lens.families.registry import BUILT_IN, recognise
from slm_lens.families.vocab_spec import StreamSpec, VocabSpec

# Units of each stream, from the papers and model cards that the families name.
PUBLISHED_UNITS = {
    "sims": {"units": 500},
    "slam": {"units": 500},
    "twist": {"units": 500},
    "spirit-lm": {"style": 100, "pitch": 64, "units": 501},
    "glm-4-voice": {"units": 16_384},
    "llama-mimi": {"units": 2048} | {f"codebook_{q}": 2048 for q in (1, 2, 3)},
    "orpheus": {"units": 4096} | {f"slot_{s}": 4096 for s in range(1, 7)},
    "soda": {"units": 2048} | {f"codebook_{q}": 2048 for q in range(1, 8)},
    "ichigo": {"units": 512},
    "speech-gpt": {"units": 1000},
}
FAMILIES = pytest.mark.parametrize("family", BUILT_IN, ids=[f.name for f in BUILT_IN])


@FAMILIES
def test_a_specimen_is_of_its_own_family_and_no_other(family):
    specimen = family.specimen()
    assert recognise(specimen, None) is family
    assert specimen.name == "this config"
    assert not specimen.weights


@FAMILIES
def test_a_specimen_has_the_published_number_of_units(family):
    specimen = family.specimen()
    spec = family.spec(specimen)
    n_units = {n: len(s.ids(n, specimen.token_ids)) for n, s in spec.streams.items()}
    assert n_units == PUBLISHED_UNITS[family.name]


@pytest.mark.parametrize("layout", [layout for layout in WRITERS if layout != "Spirit LM base"])
def test_a_row_says_what_a_loaded_model_does(published, loaded, layout):
    (family,) = [f for f in BUILT_IN if f.name == WRITERS[layout][0]]
    (row,) = family_rows([family])
    vocab, prompt = loaded(layout).vocab, loaded(layout).prompt_format
    assert (row["text"] == "yes") == bool(published(layout).n_text)
    ids = loaded(layout).tokenizer
    for name, token in published(layout).markers.items():
        assert ids.convert_ids_to_tokens(token) in row["markers"], name
    assert (row["markers"] == "none") == (not published(layout).markers)
    assert ("interleaved" in row["prompts"]) == bool(vocab.text)
    assert ("speech (marked)" in row["prompts"]) == prompt.mark_speech_only
    assert ("text (marked)" in row["prompts"]) == prompt.mark_text_only
    assert ("chat" in row["prompts"]) == bool(prompt.chat)
    specimen = family.specimen()
    assert specimen is not None
    assert list(family.spec(specimen).streams) == list(vocab.streams)


def test_own_tokenizers_are_classes_of_the_package():
    for family in BUILT_IN:
        if family.own_tokenizer is not None:
            name = family.own_tokenizer.split(",")[0]
            assert hasattr(getattr(slm_lens, name), "encode")


class Unknown(Family):
    name = "unknown"
    title = "A family of somebody else"
    models = ("me/mine",)
    unit_tokenizer = "mine"
    source = "nowhere"

    def why_not(self, files):
        return f"{files} is not looked at"

    def spec(self, files):
        return VocabSpec(streams={"units": StreamSpec(offset=1, count=len(files.config))})


def test_a_family_without_specimen_says_what_it_has():
    (row,) = family_rows([Unknown()])
    assert row["family"] == "unknown"
    assert row["speech streams"] == row["markers"] == row["prompts"] == row["text"] == "not said"
    assert row["unit tokenizer in slm-lens"] == "none"
    assert row["source"] == "A family of somebody else: nowhere"


def test_streams_and_prompts_by_hand():
    rows = {row["family"]: row for row in family_rows(BUILT_IN)}
    assert rows["spirit-lm"]["speech streams"] == (
        "style: 100, 1 Hz, not deduplicated; pitch: 64, 12.5 Hz, deduplicated; "
        "units: 501, 24.99 Hz, deduplicated"
    )
    assert rows["llama-mimi"]["speech streams"] == (
        "units and codebook_1 to codebook_3, each: 2,048, 12.5 Hz, not deduplicated"
    )
    assert rows["ichigo"]["speech streams"] == "units: 512, not deduplicated"
    assert rows["soda"]["markers"] == (
        "speech <|audio_start|> ... <|audio_end|>; text <|text_start|> ... <|text_end|>"
    )
    assert rows["glm-4-voice"]["prompts"] == (
        "speech (marked), text (bare), interleaved, chat (from speech or text)"
    )
    assert rows["slam"]["prompts"] == "speech (bare)"


def test_bars_in_tokens_do_not_end_a_cell():
    table = as_markdown(family_rows(BUILT_IN, in_backticks)).splitlines()
    assert {line.replace("\\|", "").count("|") for line in table} == {10}
    assert len(table) == 2 + len(BUILT_IN)
    (glm,) = [line for line in table if line.startswith("| `glm-4-voice` |")]
    assert r"speech `<\|begin_of_audio\|>` ... `<\|end_of_audio\|>`" in glm
