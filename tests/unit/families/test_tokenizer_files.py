"""Tokenizers read from their files write the ids that ``sentencepiece`` and ``tiktoken`` write."""

import base64
from typing import Any

import pytest
import sentencepiece
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import import_protobuf

from slm_lens.families._read_tokenizer import read_tokenizer

# Pattern of ChatGLM4Tokenizer (zai-org/glm-4-voice-9b, tokenization_chatglm.py).
GLM_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = st.sampled_from(
    ["the", "zebra", " ", "  ", "li", "on", "\n", "é", "1234", "'s", "日本", "."]
)
# Surrogates are no text; U+2581 is SentencePiece's own sign for a space.
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581\0"), max_size=12)
TEXTS = st.one_of(st.lists(WORDS, max_size=8).map("".join), ANY)


@pytest.fixture(scope="module")
def spirit(published):
    """Our reader, and sentencepiece on the same file without the space that it puts first."""
    folder = published("Spirit LM expressive").path
    pb2: Any = import_protobuf()
    proto = pb2.ModelProto()
    proto.ParseFromString((folder / "tokenizer.model").read_bytes())
    proto.normalizer_spec.add_dummy_prefix = False
    oracle = sentencepiece.SentencePieceProcessor()
    oracle.LoadFromSerializedProto(proto.SerializeToString())
    return read_tokenizer(folder), oracle


@pytest.fixture(scope="module")
def glm(published):
    """Our reader, and tiktoken on the same ranks."""
    folder = published("GLM-4-Voice").path
    lines = (folder / "tokenizer.model").read_text("ascii").splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(str.split, lines)}
    tokenizer = read_tokenizer(folder)
    named = {t.content: i for i, t in tokenizer.added_tokens_decoder.items()}
    oracle = tiktoken.Encoding(
        "glm", pat_str=GLM_PATTERN, mergeable_ranks=ranks, special_tokens=named
    )
    return tokenizer, oracle


@given(text=TEXTS)
def test_sentencepiece(spirit, text):
    tokenizer, oracle = spirit
    assert tokenizer.encode(text, add_special_tokens=False) == oracle.EncodeAsIds(text)


def test_sentencepiece_with_speech_tokens(spirit):
    tokenizer, oracle = spirit
    text = "[Text] the zebra[Speech][St71][Pi39][Hu99][Hu500] lives"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == oracle.EncodeAsIds(text)
    assert tokenizer.encode(text) == [1, *ids]  # <s>, as LlamaTokenizer puts it


@given(text=TEXTS)
def test_tiktoken(glm, text):
    tokenizer, oracle = glm
    assert tokenizer.encode(text, add_special_tokens=False) == oracle.encode(text)


def test_tiktoken_with_audio_tokens(glm):
    tokenizer, oracle = glm
    text = "[gMASK]<sop><|user|>\n<|begin_of_audio|><|audio_3|><|audio_63|><|end_of_audio|> the"
    assert tokenizer.encode(text) == oracle.encode(text, allowed_special="all")
