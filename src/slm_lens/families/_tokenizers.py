"""What each token of a fast text tokenizer is, and what the tokenizer adds by itself."""

import re
from collections.abc import Mapping

from transformers import PreTrainedTokenizerFast

from slm_lens.errors import VocabError

# SentencePiece's fallback for a byte. Next to another byte it decodes to something else than alone.
BYTE = re.compile("<0x[0-9A-F]{2}>")


def control_tokens(
    tokenizer: PreTrainedTokenizerFast, token_ids: Mapping[str, int]
) -> dict[str, int]:
    """Tokens that are not written text, by written form.

    Those that the tokenizer calls special, its token for unknown words, and added tokens in
    angle brackets, which some tokenizers leave unflagged (Qwen2.5 ``<tool_call>``). Added runs of
    spaces (GPT-NeoX) are text.
    """
    unknown: str | None = getattr(tokenizer.backend_tokenizer.model, "unk_token", None)
    added = {
        token_id: token.content
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special or (token.content[:1] == "<" and token.content[-1:] == ">")
    }
    named_ids = set(tokenizer.all_special_ids)
    if unknown is not None and unknown in token_ids:
        named_ids.add(token_ids[unknown])
    named = {i: str(tokenizer.convert_ids_to_tokens(i)) for i in named_ids}
    return {written: i for i, written in sorted((added | named).items())}


def written_forms(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> dict[int, str]:
    """Written form of each text token, with the space that starts a word.

    A token is decoded after a known one, and that one's letters are taken off again: alone,
    SentencePiece decoders drop the space (``▁the``), and WordPiece decoders keep their ``##``.
    Without a decoder the tokens are literally what they write. A piece of a character comes out
    as U+FFFD; a token that writes nothing is left out.

    Raises:
        VocabError: the decoder does not just append.
    """
    backend = tokenizer.backend_tokenizer
    names = [str(name) for name in tokenizer.convert_ids_to_tokens(ids)]
    if backend.decoder is None:
        return {i: name for i, name in zip(ids, names, strict=True) if name}
    alone = backend.decode_batch([[i] for i in ids], skip_special_tokens=False)
    anchors = (
        i
        for i, name, s in zip(ids, names, alone, strict=True)
        if s.isascii() and s.strip().isalnum() and not BYTE.fullmatch(name)
    )
    anchor = next(anchors, None)
    if anchor is None:
        raise VocabError(
            "load: no text token of the tokenizer decodes to letters or digits, expected at "
            f"least one among {len(ids)}. Is its decoder the one that it was trained with?"
        )
    start = backend.decode([anchor], skip_special_tokens=False)
    pairs = backend.decode_batch([[anchor, i] for i in ids], skip_special_tokens=False)
    odd = [i for i, pair in zip(ids, pairs, strict=True) if not pair.startswith(start)]
    if odd:
        raise VocabError(
            f"load: tokens {odd[:8]} change the text before them when decoded, expected decoding "
            "to append. Does the tokenizer's decoder clean up spaces?"
        )
    forms = ((i, pair[len(start) :]) for i, pair in zip(ids, pairs, strict=True))
    return {i: form for i, form in forms if form}


def added_around(tokenizer: PreTrainedTokenizerFast, probe: str) -> tuple[int | None, bool]:
    """The token that the tokenizer puts before a text by itself, and whether it puts one after."""
    bare = tokenizer.encode(probe, add_special_tokens=False)
    full = tokenizer.encode(probe, add_special_tokens=True)
    for n_before in (0, 1):
        if full[n_before : n_before + len(bare)] == bare:
            bos = full[0] if n_before else None
            return bos, len(full) > n_before + len(bare)
    raise VocabError(
        f"load: the tokenizer turns {probe!r} into {full}, and into {bare} without special "
        "tokens; expected the same with at most one token before it. Check its post-processor."
    )
