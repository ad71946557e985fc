"""The organism's text tokenizer: whole words with their leading space, and letters."""

import string
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from slm_lens.organism.language import vocabulary

SPECIALS = ("<pad>", "<eos>", "<unk>")


def text_tokenizer() -> PreTrainedTokenizerFast:
    """A fresh text tokenizer.

    Ids: ``<pad>`` 0, ``<eos>`` 1, ``<unk>`` 2, then every word (`` zebra``), the letters that
    begin a word (`` z``) and the letters inside one (``z``). A word that is not in the language
    is spelled in letters.

    Returns:
        The tokenizer, without speech units.
    """
    letters = string.ascii_lowercase
    written = [*SPECIALS, *(f" {w}" for w in vocabulary() if w != "a"),
               *(f" {c}" for c in letters), *letters]  # fmt: skip
    ids = {piece: i for i, piece in enumerate(written)}
    model = models.WordPiece(ids, unk_token="<unk>", continuing_subword_prefix="")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[^ ]+"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


@cache
def n_text_tokens() -> int:
    """Rows of the text vocabulary, special tokens included.

    Returns:
        Number of rows; the first unit has this id.
    """
    return len(text_tokenizer())


def speech_text_tokenizer(n_units: int) -> PreTrainedTokenizerFast:
    """The text tokenizer extended as slamkit extends one.

    Args:
        n_units: how many speech units to append.

    Returns:
        The tokenizer with ``<Un0>`` ..., ``<speech>`` and ``<text>`` after the text.

    Source:
        slamkit ``InterleavingTokeniser``; Maimon et al. 2025, arXiv:2504.02398.
    """
    tokenizer = text_tokenizer()
    tokenizer.add_tokens([*(f"<Un{u}>" for u in range(n_units)), "<speech>", "<text>"])
    return tokenizer
