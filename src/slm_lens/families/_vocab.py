"""From a description and a tokenizer to the partition of the embedding's rows."""

from collections.abc import Iterator, Mapping
from functools import cached_property

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from slm_lens.errors import VocabError
from slm_lens.families._tokenizers import control_tokens, written_forms
from slm_lens.families.vocab_spec import Token, Tokens, VocabSpec
from slm_lens.vocab import SpeechTextVocab


class Labels(Mapping[int, str]):
    """Written forms of text tokens, decoded when first asked for (150,000 take a second)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, text: list[int]) -> None:
        self._tokenizer, self._text = tokenizer, text

    @cached_property
    def _forms(self) -> dict[int, str]:
        return written_forms(self._tokenizer, self._text)

    def __getitem__(self, token: int) -> str:
        return self._forms[token]

    def __iter__(self) -> Iterator[int]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)


def make_vocab(
    spec: VocabSpec, tokenizer: PreTrainedTokenizerFast | None, d_vocab: int, where: str
) -> SpeechTextVocab:
    """The partition that a description gives.

    Args:
        spec: the description.
        tokenizer: the text tokenizer; None without one. Its speech tokens are made whole tokens.
        d_vocab: rows of the embedding.
        where: whose vocabulary it is, for messages.

    Returns:
        The partition.

    Raises:
        VocabError: tokens are missing or do not fit the embedding, or there is text and no
            tokenizer for it.
    """
    if spec.has_text and tokenizer is None:
        raise VocabError(
            f"load: {where} has no tokenizer, expected text_tokenizer=. Give the folder of the "
            "text tokenizer that the model was trained with."
        )
    token_ids = {} if tokenizer is None else tokenizer.get_vocab()
    streams = {name: stream.ids(name, token_ids) for name, stream in spec.streams.items()}
    markers = {name: token_id(t, token_ids, where) for name, t in spec.markers.items()}
    speech = {i for ids in streams.values() for i in ids} | set(markers.values())
    if isinstance(spec.specials, Mapping):
        specials = dict(spec.specials)
    else:
        specials = {t: token_id(t, token_ids, where) for t in spec.specials}
    if tokenizer is not None:
        _make_whole(tokenizer, speech | set(specials.values()))
        specials |= {t: i for t, i in control_tokens(tokenizer).items() if i not in speech}
    used = set(token_ids.values()) | speech | set(specials.values())
    text = sorted(used - speech - set(specials.values())) if spec.has_text else []
    used_rows = speech | set(specials.values()) | set(text)
    if used_rows and max(used_rows) >= d_vocab:
        outside = sorted(i for i in used_rows if i >= d_vocab)
        raise VocabError(
            f"load: {where} has {d_vocab} rows in its embedding, and {len(outside)} tokens have "
            f"ids outside them ({outside[:8]}); expected 0 <= id < {d_vocab}. Is the tokenizer "
            "that of this checkpoint, and the embedding resized to it?"
        )
    return SpeechTextVocab(
        d_vocab=d_vocab,
        text=text,
        streams=streams,
        markers=markers,
        specials=specials,
        padding=sorted(set(range(d_vocab)) - used_rows),
        encode_text=_encoder(tokenizer) if tokenizer is not None and spec.has_text else None,
        labels=Labels(tokenizer, text) if tokenizer is not None and text else {},
        recycled=sorted(i for i in speech if spec.base_rows is not None and i < spec.base_rows),
    )


def token_id(token: Token, token_ids: Mapping[str, int], where: str) -> int:
    """Id of a token given by written form or by id."""
    if isinstance(token, int):
        return token
    if token not in token_ids:
        raise VocabError(
            f"load: the tokenizer of {where} has no token {token!r}, expected the one that the "
            "model was trained with. Give it as text_tokenizer=, or give ids."
        )
    return token_ids[token]


def encode_tokens(
    tokens: Tokens, tokenizer: PreTrainedTokenizerFast | None, where: str
) -> tuple[int, ...]:
    """Ids of tokens given as text, as written forms, or as ids."""
    if isinstance(tokens, str):
        if tokenizer is None:
            raise VocabError(
                f"load: {where} has no tokenizer to write {tokens!r} with, expected ids."
            )
        return tuple(tokenizer.encode(tokens, add_special_tokens=False))
    token_ids = {} if tokenizer is None else tokenizer.get_vocab()
    return tuple(token_id(t, token_ids, where) for t in tokens)


def _encoder(tokenizer: PreTrainedTokenizerFast):
    return lambda written: tokenizer.encode(written, add_special_tokens=False)


def _make_whole(tokenizer: PreTrainedTokenizerFast, ids: set[int]) -> None:
    """Have speech and control tokens read whole, where a file lists them as ordinary pieces."""
    whole = set(tokenizer.added_tokens_decoder)
    pieces = [str(tokenizer.convert_ids_to_tokens(i)) for i in sorted(ids - whole)]
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([AddedToken(p, normalized=False) for p in pieces if p in known])
