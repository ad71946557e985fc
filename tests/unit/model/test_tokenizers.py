"""Every kind of text tokenizer gives the same written forms, with the space that starts a word."""

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from slm_lens.errors import VocabError
from slm_lens.families._tokenizers import added_around, control_tokens, written_forms

# What ids 3 to 6 write, whatever the tokenizer calls them.
FORMS = {3: " the", 4: " zebra", 5: "s", 6: "a"}


def literal_spaces(decoder):
    backend = Tokenizer(
        models.WordLevel(
            {"<unk>": 0, "<pad>": 1, "<eos>": 2, " the": 3, " zebra": 4, "s": 5, "a": 6},
            unk_token="<unk>",
        )
    )
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[a-z]+"), behavior="isolated")
    if decoder is not None:
        backend.decoder = decoder
    return backend


def byte_level():
    backend = Tokenizer(
        models.BPE({"<pad>": 0, "b": 1, "c": 2, "Ġthe": 3, "Ġzebra": 4, "s": 5, "a": 6}, [])
    )
    backend.decoder = decoders.ByteLevel()
    return backend


def sentencepiece():
    pieces = ["<unk>", "<s>", "</s>", "▁the", "▁zebra", "s", "a"]
    backend = Tokenizer(models.Unigram([(p, -1.0) for p in pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    return backend


def bert():
    pieces = ["[UNK]", "[PAD]", "[CLS]", "the", "zebra", "##s", "##a"]
    backend = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    backend.decoder = decoders.WordPiece(cleanup=False)
    return backend


@pytest.mark.parametrize(
    "backend",
    [
        literal_spaces(None),
        literal_spaces(decoders.Fuse()),
        byte_level(),
        sentencepiece(),
        bert(),
    ],
    ids=["literal spaces", "literal spaces, Fuse", "byte level", "Metaspace", "WordPiece"],
)
def test_written_forms_keep_the_space_of_a_word(backend):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert written_forms(tokenizer, list(FORMS)) == FORMS


def test_a_piece_of_a_character_is_shown_as_such():
    backend = Tokenizer(models.BPE({"a": 0, "Ã": 1, "©": 2, "Ġ": 3}, []))
    backend.decoder = decoders.ByteLevel()
    forms = written_forms(PreTrainedTokenizerFast(tokenizer_object=backend), [0, 1, 2, 3])
    assert forms == {0: "a", 1: "\ufffd", 2: "\ufffd", 3: " "}


def test_no_token_with_letters_is_refused():
    backend = Tokenizer(models.BPE({"!": 0, "?": 1}, []))
    backend.decoder = decoders.ByteLevel()
    with pytest.raises(VocabError, match=r"decodes to letters or digits.*among 2"):
        written_forms(PreTrainedTokenizerFast(tokenizer_object=backend), [0, 1])


def test_a_decoder_that_rewrites_what_came_before_is_refused():
    backend = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    backend.decoder = decoders.Sequence([decoders.Fuse(), decoders.Replace("ab", "c")])
    with pytest.raises(VocabError, match=r"tokens \[1\] change the text before them"):
        written_forms(PreTrainedTokenizerFast(tokenizer_object=backend), [0, 1])


def test_control_tokens_are_not_text():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=literal_spaces(None), pad_token="<pad>", eos_token="<eos>"
    )
    tokenizer.backend_tokenizer.add_special_tokens(["<|reserved|>"])
    tokenizer.add_tokens(["<tool_call>", "    "])
    # <unk> is named only by the model inside; the run of spaces is text, as in GPT-NeoX.
    assert control_tokens(tokenizer, tokenizer.get_vocab()) == {
        "<unk>": 0,
        "<pad>": 1,
        "<eos>": 2,
        "<|reserved|>": 7,
        "<tool_call>": 8,
    }


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$A", (None, False)),
        ("<pad> $A", (1, False)),
        ("$A <eos>", (None, True)),
        ("<pad> $A <eos>", (1, True)),
    ],
)
def test_what_the_tokenizer_adds_by_itself(template, expected):
    backend = literal_spaces(None)
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("<pad>", 1), ("<eos>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert added_around(tokenizer, " the") == expected


def test_two_tokens_before_a_text_are_refused():
    backend = literal_spaces(None)
    backend.post_processor = processors.TemplateProcessing(
        single="<pad> <eos> $A", special_tokens=[("<pad>", 1), ("<eos>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    with pytest.raises(VocabError, match=r"into \[1, 2, 3\], and into \[3\]"):
        added_around(tokenizer, " the")
