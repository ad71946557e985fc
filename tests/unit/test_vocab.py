"""The partition of the embedding's rows, and the maps between units, words and ids."""

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm_lens.errors import VocabError
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab

# Twelve rows in the order text, units, markers, special, padding, and a second speech stream.
LABELS = {0: "the", 1: " the", 2: " c", 3: "at", 4: "c"}
LAYOUT = {
    "d_vocab": 14,
    "text": range(5),
    "streams": {"units": [5, 6, 7], "pitch": [12, 13]},
    "markers": {"speech": 8, "text": 9},
    "specials": {"<s>": 10},
    "padding": [11],
}


def encode_text(text: str) -> list[int]:
    """Greedy: the longest label that fits; characters that no label covers are the special 10."""
    ids = []
    while text:
        fits = [t for t, s in LABELS.items() if text.startswith(s)]
        token = max(fits, key=lambda t: len(LABELS[t])) if fits else 10
        ids.append(token)
        text = text[len(LABELS.get(token, "?")) :]
    return ids


def vocab(**changes) -> SpeechTextVocab:
    return SpeechTextVocab(**LAYOUT | {"encode_text": encode_text, "labels": LABELS} | changes)


def test_every_row_has_its_kind():
    kinds = [TOKEN_KINDS[k] for k in vocab().kind_of.tolist()]
    special_rows = ["marker", "marker", "special", "padding"]
    assert kinds == ["text"] * 5 + ["speech"] * 3 + special_rows + ["speech"] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"markers": {"speech": 7, "text": 9}}, r"id 7 is claimed twice.*'units'.*by marker"),
        ({"text": [0, 1, 2, 3, 4, 4]}, r"id 4 is claimed twice, by text and by text"),
        (
            {"streams": {"units": [5, 6, 7], "pitch": [12, 7]}},
            r"id 7 is claimed twice, by speech stream 'units' and by speech stream 'pitch'",
        ),
        ({"padding": [8, 11]}, r"id 8 is claimed twice, by marker and by padding"),
        ({"padding": []}, r"1 of 14 rows have no kind \(11\).*as `padding`"),
        ({"text": []}, r"5 of 14 rows have no kind \(0, 1, 2, 3, 4\)"),
        ({"d_vocab": 40}, r"26 of 40 rows have no kind \(14, 15, .*, 21, \.\.\.\)"),
        ({"d_vocab": 13}, r"'pitch' has ids \[13\] outside the embedding.*d_vocab=13"),
        ({"specials": {"<s>": -1}}, r"special has ids \[-1\] outside the embedding"),
        ({"markers": {"speech": 8, "audio": 9}}, r"markers \['speech', 'audio'\], expected names"),
        ({"markers": {"speech": 8, "text_end": 9}}, r"an end only with its beginning"),
        ({"recycled": [5, 4]}, r"recycled has ids \[4\], expected only rows of speech, marker"),
        ({"recycled": [11, 14, -1]}, r"recycled has ids \[11, 14, -1\]"),
    ],
)
def test_what_is_no_partition_is_refused_with_the_ids(changes, message):
    with pytest.raises(VocabError, match=r"SpeechTextVocab: .*" + message):
        vocab(**changes)


def test_markers_may_come_in_pairs_and_recycled_rows_are_any_that_speech_added():
    paired = vocab(markers={"speech": 8, "speech_end": 9}, recycled=[5, 6, 8, 10, 12])
    assert [paired.label(t) for t in (8, 9)] == ["<speech>", "<speech_end>"]
    assert list(paired.recycled) == [5, 6, 8, 10, 12]


@given(st.lists(st.sampled_from(["text", "units", "padding"]), min_size=1, max_size=30))
def test_any_assignment_of_rows_is_a_partition_whose_masks_add_up(kinds):
    def rows(kind):
        return [i for i, k in enumerate(kinds) if k == kind]

    made = SpeechTextVocab(
        d_vocab=len(kinds),
        text=rows("text"),
        streams={"units": rows("units")},
        padding=rows("padding"),
    )
    assert made.mask("text").nonzero().flatten().tolist() == rows("text")
    assert made.mask("speech").nonzero().flatten().tolist() == rows("units")
    assert made.mask(*TOKEN_KINDS).all()
    masks = torch.stack([made.mask(kind) for kind in TOKEN_KINDS])
    assert masks.sum(0).tolist() == [1] * len(kinds)


def test_masks_take_unions_of_kinds():
    assert vocab().mask("marker", "special").nonzero().flatten().tolist() == [8, 9, 10]
    unchecked = inspect.unwrap(SpeechTextVocab.mask)  # beartype would be first to refuse the kind
    for kinds in ((), ("text", "units")):
        with pytest.raises(ValueError, match=r"got kinds \(.*\), expected one or more of \('text'"):
            unchecked(vocab(), *kinds)


def test_units_become_tokens_and_come_back():
    units = torch.tensor([[2, 0, 1], [1, 1, 0]])
    tokens = vocab().unit_to_token(units)
    assert tokens.tolist() == [[7, 5, 6], [6, 6, 5]]
    assert vocab().token_to_unit(tokens).tolist() == units.tolist()
    pitch = torch.tensor([1, 0])
    assert vocab().unit_to_token(pitch, "pitch").tolist() == [13, 12]
    assert vocab().token_to_unit(torch.tensor([13, 12]), "pitch").tolist() == [1, 0]
    assert (vocab().n_units(), vocab().n_units("pitch")) == (3, 2)


@given(st.permutations(range(20)), st.lists(st.integers(0, 19), max_size=20))
def test_the_order_of_a_stream_is_the_order_of_its_units(ids, units):
    made = SpeechTextVocab(d_vocab=20, text=[], streams={"units": ids})
    tokens = made.unit_to_token(torch.tensor(units, dtype=torch.int64))
    assert tokens.tolist() == [ids[u] for u in units]
    assert made.token_to_unit(tokens).tolist() == units


def test_units_and_tokens_outside_the_stream_are_named():
    with pytest.raises(VocabError, match=r"got units \[-1, 3\], expected 0 <= unit < 3 for stream"):
        vocab().unit_to_token(torch.tensor([0, 3, -1, 3]))
    with pytest.raises(VocabError, match=r"got token ids \[4, 12\] that are not of stream 'units'"):
        vocab().token_to_unit(torch.tensor([5, 12, 4]))
    for ask in (
        lambda v: v.n_units("style"),
        lambda v: v.unit_to_token(torch.tensor([0]), "style"),
        lambda v: v.token_to_unit(torch.tensor([5]), "style"),
    ):
        with pytest.raises(LookupError, match=r"'style', expected one of \['pitch', 'units'\]"):
            ask(vocab())


def test_every_row_has_a_label():
    text = [*LABELS.values()]
    others = ["<Un0>", "<Un1>", "<Un2>", "<speech>", "<text>", "<s>", "<padding 11>"]
    assert [vocab().label(t) for t in range(14)] == [*text, *others, "<pitch 0>", "<pitch 1>"]
    assert vocab(labels={}).label(3) == "<id 3>"
    for token in (-1, 14):
        with pytest.raises(VocabError, match=rf"got token {token}, expected 0 <= token < 14"):
            vocab().label(token)


@pytest.mark.parametrize(
    ("word", "policy", "expected"),
    [
        # "the" and " the" are one token each; "The" and " The" begin with the special 10.
        ("the", "whole_word", (0, 1)),
        ("the", "first_piece", (0, 1)),
        (" the ", "first_piece", (0, 1)),
        ("THE", "whole_word", (0, 1)),  # by its lower case
        # "cat" is c + at, " cat" is " c" + at: no single token, two first pieces.
        ("cat", "whole_word", ()),
        ("cat", "first_piece", (2, 4)),
        ("cat", "prefixes", (2, 4)),
        # Beginnings of "then" and " then": the whole words 0 and 1.
        ("then", "prefixes", (0, 1)),
        ("dog", "first_piece", ()),
        ("dog", "prefixes", ()),
    ],
)
def test_token_ids_of_a_word_by_each_policy(word, policy, expected):
    assert vocab().word_tokens(word, policy) == expected


def test_words_that_cannot_be_looked_up_are_refused():
    unchecked = inspect.unwrap(SpeechTextVocab.word_tokens)  # as above
    with pytest.raises(ValueError, match=r"policy 'any', expected one of \('whole_word', 'first_"):
        unchecked(vocab(), "the", "any")
    with pytest.raises(ValueError, match=r"got ' ', expected a word with letters"):
        vocab().word_tokens(" ", "first_piece")
    with pytest.raises(ValueError, match=r"cannot encode text. Give `encode_text`"):
        vocab(encode_text=None).word_tokens("the", "first_piece")
    with pytest.raises(ValueError, match=r"'prefixes' needs the written form.*Give `labels`"):
        vocab(labels={}).word_tokens("the", "prefixes")
    assert vocab(encode_text=None).word_tokens("the", "prefixes") == (0, 1)
